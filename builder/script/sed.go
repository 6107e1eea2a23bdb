package script

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var sedFlags = flagSpec{
	short: "nErie:f:sz",
	long:  map[string]string{"quiet": "n", "silent": "n", "regexp-extended": "E", "in-place": "i", "expression": "e", "separate": "s"},
}

func checkSed(_ *checker, args []word) *refusal {
	f, err := sedFlags.parse(sedArgs(args))
	if err == nil && f.any("fz") {
		err = errors.New("-f and -z")
	}
	if err == nil {
		texts := f.values['e']
		if len(texts) == 0 && len(f.operands) > 0 {
			texts = f.operands[:1]
		}
		for _, w := range texts {
			if !w.known {
				continue
			}
			if _, parseErr := parseSed(w.text, f.any("Er")); parseErr != nil {
				err = parseErr
			}
		}
	}
	if err != nil {
		return &refusal{"sed that knows more: " + err.Error(), ""}
	}
	return nil
}

// sedArgs leaves the suffix of a backup out, which -i may have glued to it.
func sedArgs(args []word) []word {
	out := make([]word, len(args))
	for i, a := range args {
		if a.known && strings.HasPrefix(a.text, "-i.") {
			a.text = "-i"
		}
		out[i] = a
	}
	return out
}

// sedCommand is one command of a script.
type sedCommand struct {
	from, to *sedAddress
	negated  bool
	name     byte
	// of s and y
	re      *regexp.Regexp
	text    string
	global  bool
	print   bool
	nth     int
	mapping map[rune]rune
	// in is set within the range of two addresses.
	in bool
}

type sedAddress struct {
	line int
	last bool
	re   *regexp.Regexp
}

// sedParser reads a script.
type sedParser struct {
	rest     string
	extended bool
}

func parseSed(script string, extended bool) ([]*sedCommand, error) {
	p := &sedParser{script, extended}
	var all []*sedCommand
	for {
		p.rest = strings.TrimLeft(p.rest, " \t\n;")
		if p.rest == "" {
			return all, nil
		}
		c, err := p.command()
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
}

func (p *sedParser) command() (*sedCommand, error) {
	c := &sedCommand{}
	var err error
	if c.from, err = p.address(); err != nil {
		return nil, err
	}
	if c.from != nil && strings.HasPrefix(p.rest, ",") {
		p.rest = p.rest[1:]
		if c.to, err = p.address(); err != nil {
			return nil, err
		}
		if c.to == nil {
			return nil, errors.New("an address is missing")
		}
	}
	p.rest = strings.TrimLeft(p.rest, " \t")
	if strings.HasPrefix(p.rest, "!") {
		c.negated = true
		p.rest = strings.TrimLeft(p.rest[1:], " \t")
	}
	if p.rest == "" {
		return nil, errors.New("a command is missing")
	}
	c.name = p.rest[0]
	p.rest = p.rest[1:]
	switch c.name {
	case 's':
		err = p.substitute(c)
	case 'y':
		err = p.transliterate(c)
	case 'a', 'i', 'c':
		text, rest, _ := strings.Cut(strings.TrimLeft(p.rest, " \t"), "\n")
		if text == `\` {
			text, rest, _ = strings.Cut(rest, "\n")
		}
		c.text, p.rest = strings.TrimPrefix(text, `\`), rest
	case 'd', 'p', 'q', '=':
		rest := strings.TrimLeft(p.rest, " \t")
		if rest != "" && rest[0] != ';' && rest[0] != '\n' {
			err = fmt.Errorf("unexpected %q", rest)
		}
	default:
		err = fmt.Errorf("the command %q", c.name)
	}
	return c, err
}

func (p *sedParser) address() (*sedAddress, error) {
	switch {
	case p.rest == "":
		return nil, nil
	case p.rest[0] == '$':
		p.rest = p.rest[1:]
		return &sedAddress{last: true}, nil
	case p.rest[0] >= '0' && p.rest[0] <= '9':
		n := digits(p.rest)
		line, err := strconv.Atoi(p.rest[:n])
		p.rest = p.rest[n:]
		return &sedAddress{line: line}, err
	case p.rest[0] == '/':
		p.rest = p.rest[1:]
		text, err := p.field('/', true)
		if err != nil {
			return nil, err
		}
		re, err := compileRegex(text, p.extended, false)
		return &sedAddress{re: re}, err
	}
	return nil, nil
}

// field reads up to the next delimiter, which is taken, too. In a pattern, one in
// brackets is a character like others.
func (p *sedParser) field(d byte, pattern bool) (string, error) {
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch ch := p.rest[i]; {
		case ch == d:
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case ch == '\\' && i+1 < len(p.rest) && p.rest[i+1] == d:
			i++
			b.WriteByte(d)
		case ch == '\\' && i+1 < len(p.rest):
			b.WriteString(p.rest[i : i+2])
			i++
		case ch == '[' && pattern:
			_, n := bracket(p.rest[i:])
			b.WriteString(p.rest[i : i+n])
			i += n - 1
		default:
			b.WriteByte(ch)
		}
	}
	return "", fmt.Errorf("a %q is missing", d)
}

// substitute reads the rest of s/pattern/text/flags.
func (p *sedParser) substitute(c *sedCommand) error {
	if p.rest == "" || p.rest[0] == '\\' || p.rest[0] == '\n' {
		return errors.New("s without a delimiter")
	}
	d := p.rest[0]
	p.rest = p.rest[1:]
	pattern, err := p.field(d, true)
	if err != nil {
		return err
	}
	if c.text, err = p.field(d, false); err != nil {
		return err
	}
	fold := false
	for p.rest != "" && !strings.ContainsRune("; \t\n", rune(p.rest[0])) {
		switch ch := p.rest[0]; {
		case ch == 'g':
			c.global = true
		case ch == 'p':
			c.print = true
		case ch == 'i' || ch == 'I':
			fold = true
		case ch >= '1' && ch <= '9':
			n := digits(p.rest)
			c.nth, _ = strconv.Atoi(p.rest[:n])
			p.rest = p.rest[n-1:]
		default:
			return fmt.Errorf("the flag %q of s", ch)
		}
		p.rest = p.rest[1:]
	}
	if pattern == "" {
		return errors.New("an empty pattern, which stands for the one before")
	}
	c.re, err = compileRegex(pattern, p.extended, fold)
	return err
}

// transliterate reads the rest of y/from/to/.
func (p *sedParser) transliterate(c *sedCommand) error {
	if p.rest == "" {
		return errors.New("y without a delimiter")
	}
	d := p.rest[0]
	p.rest = p.rest[1:]
	from, err := p.field(d, false)
	if err != nil {
		return err
	}
	to, err := p.field(d, false)
	if err != nil {
		return err
	}
	a, b := []rune(from), []rune(to)
	if len(a) != len(b) {
		return errors.New("y with two texts that are not equally long")
	}
	c.mapping = map[rune]rune{}
	for i := range a {
		c.mapping[a[i]] = b[i]
	}
	return nil
}
