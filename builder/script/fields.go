package script

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// span is a range of a list such as "1,3-5,7-", from 1; to is 0 for the end.
type span struct{ from, to int }

func parseSpans(s string) ([]span, error) {
	var all []span
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		sp := span{1, 0}
		var errs [2]error
		if from != "" {
			sp.from, errs[0] = strconv.Atoi(from)
		}
		switch {
		case !isRange:
			sp.to = sp.from
		case to != "":
			sp.to, errs[1] = strconv.Atoi(to)
		}
		if errs[0] != nil || errs[1] != nil || sp.from < 1 || part == "" || part == "-" || sp.to != 0 && sp.to < sp.from {
			return nil, fmt.Errorf("invalid list %q", s)
		}
		all = append(all, sp)
	}
	return all, nil
}

func inSpans(spans []span, n int) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return n >= s.from && (s.to == 0 || n <= s.to) })
}

func runCut(c *call) int {
	list, byField := c.value('f'), true
	if c.any("cb") {
		list, byField = c.value('c')+c.value('b'), false
	}
	spans, err := parseSpans(list)
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	delim := "\t"
	if c.has('d') {
		delim = c.value('d')
	}
	if delim == "" {
		return c.errorf(1, "the delimiter is empty")
	}
	return c.inputs(c.flags.args(), func(_ string, r io.Reader) error {
		return eachLine(r, func(text string, _ bool) error {
			sep := ""
			parts := strings.Split(text, "")
			if byField {
				parts, sep = strings.Split(text, delim), delim
				if len(parts) == 1 {
					if !c.has('s') {
						c.printf("%s\n", text)
					}
					return nil
				}
			}
			var kept []string
			for i, p := range parts {
				if inSpans(spans, i+1) {
					kept = append(kept, p)
				}
			}
			c.printf("%s\n", strings.Join(kept, sep))
			return nil
		})
	})
}

// classes of characters, as of [:alpha:].
var classes = map[string]string{
	"upper": "A-Z", "lower": "a-z", "digit": "0-9", "alpha": "A-Za-z", "alnum": "A-Za-z0-9", "space": " \t\n\v\f\r", "blank": " \t",
	"punct": "!-/:-@[-`{-~", "xdigit": "0-9A-Fa-f", "print": " -~", "graph": "!-~", "cntrl": "\x01-\x1f\x7f",
}

// trSet is the bytes that an argument of tr stands for.
func trSet(s string) ([]byte, error) {
	var set []byte
	for i := 0; i < len(s); {
		if strings.HasPrefix(s[i:], "[:") {
			name, _, ok := strings.Cut(s[i+2:], ":]")
			class, known := classes[name]
			if !ok || !known {
				return nil, fmt.Errorf("unknown class in %q", s)
			}
			inner, err := trSet(class)
			if err != nil {
				return nil, err
			}
			set = append(set, inner...)
			i += len(name) + 4
			continue
		}
		b, n := trByte(s[i:])
		i += n
		if i+1 < len(s) && s[i] == '-' {
			end, n := trByte(s[i+1:])
			if end < b {
				return nil, fmt.Errorf("the range in %q is the wrong way round", s)
			}
			for x := int(b); x <= int(end); x++ {
				set = append(set, byte(x))
			}
			i += 1 + n
			continue
		}
		set = append(set, b)
	}
	return set, nil
}

// trByte reads a byte, or the backslash that stands for one.
func trByte(s string) (b byte, n int) {
	if s[0] != '\\' || len(s) == 1 {
		return s[0], 1
	}
	for n = 1; n < 4 && n < len(s) && s[n] >= '0' && s[n] <= '7'; n++ {
		b = b<<3 | s[n] - '0'
	}
	if n > 1 {
		return b, n
	}
	if i := strings.IndexByte("abfnrtv", s[1]); i >= 0 {
		return "\a\b\f\n\r\t\v"[i], 2
	}
	return s[1], 2
}

func runTr(c *call) int {
	args := c.flags.args()
	if len(args) == 0 || len(args) == 1 && !c.any("ds") || len(args) > 2 {
		return c.errorf(1, "it takes two sets, or one to delete or squeeze")
	}
	from, err := trSet(args[0])
	var to []byte
	if err == nil && len(args) == 2 {
		to, err = trSet(args[1])
	}
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	if c.any("cC") {
		from = complement(from)
	}
	raw, err := io.ReadAll(c.stdin())
	if err != nil {
		return c.fail(err)
	}
	if _, err := c.hc.Stdout.Write(c.translate(raw, from, to)); err != nil {
		return c.fail(err)
	}
	return 0
}

func complement(set []byte) []byte {
	var rest []byte
	for b := range 256 {
		if !slices.Contains(set, byte(b)) {
			rest = append(rest, byte(b))
		}
	}
	return rest
}

func (c *call) translate(raw, from, to []byte) []byte {
	squeeze := from
	if len(to) > 0 {
		squeeze = to
	}
	var out []byte
	for _, b := range raw {
		if i := slices.Index(from, b); i >= 0 {
			if c.has('d') {
				continue
			}
			if len(to) > 0 {
				b = to[min(i, len(to)-1)]
			}
		}
		if c.has('s') && len(out) > 0 && out[len(out)-1] == b && slices.Contains(squeeze, b) {
			continue
		}
		out = append(out, b)
	}
	return out
}
