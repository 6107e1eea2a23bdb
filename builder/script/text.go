package script

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var textCommands = map[string]command{
	"cat":  {run: runCat, flags: flagSpec{short: "unsvet"}},
	"head": {run: runHead, check: checkCount(headFlags)},
	"tail": {run: runTail, check: checkCount(headFlags)},
	"tee":  {run: runTee, flags: flagSpec{short: "ai", long: map[string]string{"append": "a"}}},
	"sort": {run: runSort, flags: flagSpec{short: "unrVfsb", long: map[string]string{
		"unique": "u", "numeric-sort": "n", "reverse": "r", "version-sort": "V",
	}}},
	"uniq": {run: runUniq, flags: flagSpec{short: "cdu", long: map[string]string{"count": "c", "repeated": "d", "unique": "u"}}},
	"wc":   {run: runWc, flags: flagSpec{short: "lwcm", long: map[string]string{"lines": "l", "words": "w", "bytes": "c", "chars": "m"}}},
	"cut": {run: runCut, flags: flagSpec{short: "d:f:c:b:s", long: map[string]string{
		"delimiter": "d", "fields": "f", "characters": "c", "bytes": "b", "only-delimited": "s",
	}}},
	"tr":  {run: runTr, flags: flagSpec{short: "dscC", long: map[string]string{"delete": "d", "squeeze-repeats": "s", "complement": "c"}}},
	"rev": {run: runRev},
}

// inputs calls fn with each file that the operands name, or the standard input.
func (c *call) inputs(args []string, fn func(name string, r io.Reader) error) int {
	if len(args) == 0 {
		args = []string{"-"}
	}
	status := 0
	for _, name := range args {
		r, err := c.read(name)
		if err == nil {
			err = errors.Join(fn(name, r), r.Close())
		}
		if err != nil {
			status = c.fail(err)
		}
	}
	return status
}

func runCat(c *call) int {
	line := 0
	return c.inputs(c.flags.args(), func(_ string, r io.Reader) error {
		if !c.has('n') {
			_, err := io.Copy(c.hc.Stdout, r)
			return err
		}
		return eachLine(r, func(text string, _ bool) error {
			line++
			c.printf("%6d\t%s\n", line, text)
			return nil
		})
	})
}

// errStop ends eachLine early.
var errStop = errors.New("stop")

// eachLine calls fn with each line without its newline, and whether it had one.
func eachLine(r io.Reader, fn func(text string, newline bool) error) error {
	br := bufio.NewReader(r)
	for {
		text, err := br.ReadString('\n')
		if text != "" {
			line, newline := strings.CutSuffix(text, "\n")
			if err := fn(line, newline); err != nil {
				if errors.Is(err, errStop) {
					return nil
				}
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var headFlags = flagSpec{short: "n:c:qv", long: map[string]string{"lines": "n", "bytes": "c", "quiet": "q", "verbose": "v"}}

// counts turns the form of old, head -5, into -n 5.
func counts(args []word) []word {
	if len(args) > 0 && args[0].known && len(args[0].text) > 1 && args[0].text[0] == '-' && args[0].text[1] >= '0' && args[0].text[1] <= '9' {
		return append([]word{{"-n", true}, {args[0].text[1:], true}}, args[1:]...)
	}
	return args
}

func checkCount(spec flagSpec) func(*checker, []word) *refusal {
	return func(_ *checker, args []word) *refusal {
		if _, err := spec.parse(counts(args)); err != nil {
			return &refusal{err.Error(), ""}
		}
		return nil
	}
}

// count reads -n or -c: a number, and whether it has a sign in front.
func (c *call) count() (n int, sign byte, isBytes bool, err error) {
	if c.flags, err = headFlags.parse(counts(words(c.args))); err != nil {
		return 0, 0, false, err
	}
	text := "10"
	if isBytes = c.has('c'); isBytes {
		text = c.value('c')
	} else if c.has('n') {
		text = c.value('n')
	}
	if text != "" && (text[0] == '-' || text[0] == '+') {
		sign, text = text[0], text[1:]
	}
	n, err = strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, 0, false, fmt.Errorf("invalid number %q", text)
	}
	return n, sign, isBytes, nil
}

func runHead(c *call) int {
	n, sign, isBytes, err := c.count()
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	return c.inputs(c.flags.args(), func(_ string, r io.Reader) error {
		if isBytes && sign == 0 {
			_, err := io.CopyN(c.hc.Stdout, r, int64(n))
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if sign == '-' {
			parts, err := pieces(r, isBytes)
			c.printf("%s", strings.Join(parts[:max(0, len(parts)-n)], ""))
			return err
		}
		left := n
		return eachLine(r, func(text string, newline bool) error {
			if left == 0 {
				return errStop
			}
			left--
			c.line(text, newline)
			return nil
		})
	})
}

// line prints a line with the newline that it had.
func (c *call) line(text string, newline bool) {
	if newline {
		text += "\n"
	}
	_, _ = io.WriteString(c.hc.Stdout, text)
}

// pieces are the lines, or the bytes, of all there is.
func pieces(r io.Reader, isBytes bool) ([]string, error) {
	raw, err := io.ReadAll(r)
	if isBytes {
		return strings.Split(string(raw), ""), err
	}
	parts := strings.SplitAfter(string(raw), "\n")
	if parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	return parts, err
}

func runTail(c *call) int {
	n, sign, isBytes, err := c.count()
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	return c.inputs(c.flags.args(), func(_ string, r io.Reader) error {
		parts, err := pieces(r, isBytes)
		from := max(0, len(parts)-n)
		if sign == '+' {
			from = min(len(parts), max(0, n-1))
		}
		_, _ = io.WriteString(c.hc.Stdout, strings.Join(parts[from:], ""))
		return err
	})
}

func runTee(c *call) int {
	flag := os.O_TRUNC
	if c.has('a') {
		flag = os.O_APPEND
	}
	outs := []io.Writer{c.hc.Stdout}
	status := 0
	var closers []io.Closer
	for _, name := range c.flags.args() {
		w, err := c.create(name, flag)
		if err != nil {
			status = c.fail(err)
			continue
		}
		outs, closers = append(outs, w), append(closers, w)
	}
	_, err := io.Copy(io.MultiWriter(outs...), c.stdin())
	for _, w := range closers {
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		status = c.fail(err)
	}
	return status
}

// lines are all lines of the inputs.
func (c *call) lines(args []string) (all []string, status int) {
	status = c.inputs(args, func(_ string, r io.Reader) error {
		return eachLine(r, func(text string, _ bool) error {
			all = append(all, text)
			return nil
		})
	})
	return all, status
}

func runSort(c *call) int {
	all, status := c.lines(c.flags.args())
	compare := strings.Compare
	switch {
	case c.has('n'):
		compare = func(a, b string) int { return cmp.Or(cmp.Compare(leading(a), leading(b)), strings.Compare(a, b)) }
	case c.has('V'):
		compare = compareVersions
	case c.has('f'):
		compare = func(a, b string) int { return strings.Compare(strings.ToUpper(a), strings.ToUpper(b)) }
	}
	if c.has('r') {
		straight := compare
		compare = func(a, b string) int { return straight(b, a) }
	}
	slices.SortStableFunc(all, compare)
	if c.has('u') {
		all = slices.CompactFunc(all, func(a, b string) bool { return compare(a, b) == 0 })
	}
	for _, text := range all {
		c.printf("%s\n", text)
	}
	return status
}

// leading is the number that a line starts with.
func leading(s string) float64 {
	s = strings.TrimLeft(s, " \t")
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.' || end == 0 && s[end] == '-') {
		end++
	}
	n, _ := strconv.ParseFloat(s[:end], 64)
	return n
}

// compareVersions compares runs of digits as numbers.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if r := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); r != 0 {
				return r
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func runUniq(c *call) int {
	args := c.flags.args()
	if len(args) > 1 {
		return c.errorf(1, "an output file is not known")
	}
	all, status := c.lines(args)
	for i := 0; i < len(all); {
		n := 1
		for i+n < len(all) && all[i+n] == all[i] {
			n++
		}
		switch {
		case c.has('d') && n == 1, c.has('u') && n > 1:
		case c.has('c'):
			c.printf("%7d %s\n", n, all[i])
		default:
			c.printf("%s\n", all[i])
		}
		i += n
	}
	return status
}

func runWc(c *call) int {
	args := c.flags.args()
	total := make([]int, 4)
	show := func(n []int, name string) {
		var fields []string
		for i, letter := range "lwcm" {
			if c.has(byte(letter)) || !c.any("lwcm") && i < 3 {
				fields = append(fields, strconv.Itoa(n[i]))
			}
		}
		if name != "" {
			fields = append(fields, name)
		}
		c.printf("%s\n", strings.Join(fields, " "))
	}
	status := c.inputs(args, func(name string, r io.Reader) error {
		raw, err := io.ReadAll(r)
		n := []int{bytes.Count(raw, []byte("\n")), len(bytes.Fields(raw)), len(raw), utf8.RuneCount(raw)}
		for i := range n {
			total[i] += n[i]
		}
		if len(args) == 0 {
			name = ""
		}
		show(n, name)
		return err
	})
	if len(args) > 1 {
		show(total, "total")
	}
	return status
}

func runRev(c *call) int {
	return c.inputs(c.flags.args(), func(_ string, r io.Reader) error {
		return eachLine(r, func(text string, newline bool) error {
			runes := []rune(text)
			slices.Reverse(runes)
			c.line(string(runes), newline)
			return nil
		})
	})
}
