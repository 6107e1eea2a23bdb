package script

import (
	"errors"
	"regexp"
	"strings"
)

// errBackReference is the cause where a pattern refers to what it matched itself.
var errBackReference = errors.New("back references in a pattern are not known")

// compileRegex compiles a POSIX regular expression, basic or extended
// (https://pubs.opengroup.org/onlinepubs/9699919799/basedefs/V1_chap09.html).
func compileRegex(pattern string, extended, fold bool) (*regexp.Regexp, error) {
	text, err := translateRegex(pattern, extended)
	if err != nil {
		return nil, err
	}
	if fold {
		text = "(?i)" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	re.Longest()
	return re, nil
}

// translateRegex writes a POSIX expression in Go's syntax.
func translateRegex(p string, extended bool) (string, error) {
	var b strings.Builder
	start := true // of the expression or of a part of it
	for i := 0; i < len(p); i++ {
		atStart := start
		start = false
		switch ch := p[i]; {
		case ch == '[':
			class, n := bracket(p[i:])
			b.WriteString(class)
			i += n - 1
		case ch == '\\' && i+1 < len(p):
			i++
			text, opens, err := escaped(p[i], extended)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			start = opens
		case extended:
			b.WriteByte(ch)
		case ch == '*' && atStart:
			b.WriteString(`\*`)
		case ch == '^' && !atStart, ch == '$' && !endsPart(p[i+1:]):
			b.WriteString(`\` + string(ch))
		case strings.IndexByte("+?(){}|", ch) >= 0:
			b.WriteString(`\` + string(ch))
		default:
			b.WriteByte(ch)
			start = ch == '^'
		}
	}
	return b.String(), nil
}

// endsPart tells whether a $ before rest is an anchor in a basic expression.
func endsPart(rest string) bool {
	return rest == "" || strings.HasPrefix(rest, `\)`) || strings.HasPrefix(rest, `\|`)
}

// escaped is what a backslash with ch stands for; opens where a part begins.
func escaped(ch byte, extended bool) (text string, opens bool, err error) {
	switch {
	case ch >= '1' && ch <= '9':
		return "", false, errBackReference
	case ch == 'n':
		return `\n`, false, nil
	case ch == 't':
		return `\t`, false, nil
	case strings.IndexByte("wWsSbB", ch) >= 0:
		return `\` + string(ch), false, nil
	case ch == '<', ch == '>':
		return `\b`, false, nil
	case !extended && strings.IndexByte("+?(){}|", ch) >= 0:
		return string(ch), ch == '(' || ch == '|', nil
	}
	return regexp.QuoteMeta(string(ch)), false, nil
}

// bracket reads a bracket expression and how much of s it takes. Inside, a
// backslash is a character like others.
func bracket(s string) (string, int) {
	i := 1
	if i < len(s) && s[i] == '^' {
		i++
	}
	if i < len(s) && s[i] == ']' {
		i++
	}
	for i < len(s) && s[i] != ']' {
		if strings.HasPrefix(s[i:], "[:") {
			if end := strings.Index(s[i:], ":]"); end > 0 {
				i += end + 2
				continue
			}
		}
		i++
	}
	if i == len(s) {
		return `\[`, 1
	}
	body := s[1:i]
	negated := strings.HasPrefix(body, "^")
	body = strings.TrimPrefix(body, "^")
	var b strings.Builder
	b.WriteByte('[')
	if negated {
		b.WriteByte('^')
	}
	for j := 0; j < len(body); j++ {
		switch {
		case strings.HasPrefix(body[j:], "[:"):
			end := strings.Index(body[j:], ":]")
			if end < 0 {
				b.WriteString(`\[`)
				continue
			}
			b.WriteString(body[j : j+end+2])
			j += end + 1
		case body[j] == '\\' || body[j] == '[' || body[j] == ']' || body[j] == '^':
			b.WriteString(`\` + string(body[j]))
		default:
			b.WriteByte(body[j])
		}
	}
	b.WriteByte(']')
	return b.String(), i + 1
}
