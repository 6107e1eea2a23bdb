package script

import (
	"errors"
	"io"
	"os"
	"strings"
)

func runSed(c *call) int {
	f, err := sedFlags.parse(words(c.args))
	if bare := sedArgs(words(c.args)); err != nil {
		f, err = sedFlags.parse(bare)
	}
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	c.flags = f
	args := f.args()
	script := strings.Join(f.all('e'), "\n")
	if !f.has('e') {
		if len(args) == 0 {
			return c.errorf(1, "missing script")
		}
		script, args = args[0], args[1:]
	}
	if _, err := parseSed(script, f.any("Er")); err != nil {
		return c.errorf(1, "%v", err)
	}
	if f.any("is") {
		return c.sedEach(script, args)
	}
	all, status := c.sedLines(args)
	if err := c.sed(script, all, c.hc.Stdout); err != nil {
		return c.fail(err)
	}
	return status
}

// sedLine is a line, and whether it ends with a newline.
type sedLine struct {
	text    string
	newline bool
}

func (c *call) sedLines(args []string) (all []sedLine, status int) {
	status = c.inputs(args, func(_ string, r io.Reader) error {
		return eachLine(r, func(text string, newline bool) error {
			all = append(all, sedLine{text, newline})
			return nil
		})
	})
	return all, status
}

// sedEach edits each file by itself, with -i in its place.
func (c *call) sedEach(script string, args []string) int {
	for _, name := range args {
		all, status := c.sedLines([]string{name})
		if status != 0 {
			return status
		}
		var b strings.Builder
		if err := c.sed(script, all, &b); err != nil {
			return c.fail(err)
		}
		if !c.has('i') {
			_, _ = io.WriteString(c.hc.Stdout, b.String())
			continue
		}
		w, err := c.stage.OpenFile(c.path(name), os.O_WRONLY|os.O_TRUNC, 0, c.owner())
		if err == nil {
			_, err = io.WriteString(w, b.String())
			err = errors.Join(err, w.Close())
		}
		if err != nil {
			return c.fail(err)
		}
	}
	return 0
}

// sedState is a run over lines.
type sedState struct {
	out      io.Writer
	quiet    bool
	commands []*sedCommand
	number   int
	last     bool
	newline  bool
	after    []string
	deleted  bool
	quit     bool
	err      error
}

func (c *call) sed(script string, all []sedLine, out io.Writer) error {
	commands, err := parseSed(script, c.any("Er"))
	if err != nil {
		return err
	}
	s := &sedState{out: out, quiet: c.has('n'), commands: commands}
	for i, line := range all {
		s.number, s.last, s.newline = i+1, i == len(all)-1, line.newline
		s.line(line.text)
		if s.quit || s.err != nil {
			break
		}
	}
	return s.err
}

func (s *sedState) line(text string) {
	s.after, s.deleted = nil, false
	for _, c := range s.commands {
		if s.selects(c, text) == c.negated {
			continue
		}
		text = s.do(c, text)
		if s.deleted || s.quit {
			break
		}
	}
	if !s.deleted && !s.quiet {
		s.write(text, s.newline)
	}
	for _, t := range s.after {
		s.write(t, true)
	}
}

func (s *sedState) write(text string, newline bool) {
	if newline {
		text += "\n"
	}
	if _, err := io.WriteString(s.out, text); err != nil && s.err == nil {
		s.err = err
	}
}

func (s *sedState) do(c *sedCommand, text string) string {
	switch c.name {
	case 's':
		next, ok := c.replace(text)
		if ok && c.print {
			s.write(next, true)
		}
		return next
	case 'y':
		return strings.Map(func(r rune) rune {
			if to, ok := c.mapping[r]; ok {
				return to
			}
			return r
		}, text)
	case 'd':
		s.deleted = true
	case 'c':
		s.deleted = true
		if c.to == nil || !c.in {
			s.write(c.text, true)
		}
	case 'p':
		s.write(text, true)
	case 'i':
		s.write(c.text, true)
	case 'a':
		s.after = append(s.after, c.text)
	case 'q':
		s.quit = true
	}
	return text
}

// selects tells whether the addresses of a command mean the line.
func (s *sedState) selects(c *sedCommand, text string) bool {
	switch {
	case c.from == nil:
		return true
	case c.to == nil:
		return s.at(c.from, text)
	case c.in:
		c.in = !s.at(c.to, text) && (c.to.line == 0 || s.number < c.to.line)
		return c.to.line == 0 || s.number <= c.to.line
	case s.at(c.from, text):
		c.in = !s.last && (c.to.line == 0 || s.number < c.to.line)
		return true
	}
	return false
}

func (s *sedState) at(a *sedAddress, text string) bool {
	switch {
	case a.re != nil:
		return a.re.MatchString(text)
	case a.last:
		return s.last
	}
	return s.number == a.line
}

// replace carries out an s command.
func (c *sedCommand) replace(text string) (string, bool) {
	var b strings.Builder
	end, n, done := 0, 0, false
	for _, m := range c.re.FindAllStringSubmatchIndex(text, -1) {
		n++
		if c.nth > 0 && (n < c.nth || n > c.nth && !c.global) || c.nth == 0 && !c.global && n > 1 {
			continue
		}
		done = true
		b.WriteString(text[end:m[0]])
		c.expand(&b, text, m)
		end = m[1]
	}
	b.WriteString(text[end:])
	return b.String(), done
}

// expand writes the text that takes the place of a match.
func (c *sedCommand) expand(b *strings.Builder, text string, m []int) {
	group := func(i int) {
		if 2*i+1 < len(m) && m[2*i] >= 0 {
			b.WriteString(text[m[2*i]:m[2*i+1]])
		}
	}
	for i := 0; i < len(c.text); i++ {
		switch ch := c.text[i]; {
		case ch == '&':
			group(0)
		case ch == '\\' && i+1 < len(c.text):
			i++
			switch next := c.text[i]; {
			case next >= '0' && next <= '9':
				group(int(next - '0'))
			case next == 'n':
				b.WriteByte('\n')
			case next == 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(next)
			}
		default:
			b.WriteByte(ch)
		}
	}
}
