package script

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"path"
	"strconv"
	"strings"
)

var outputCommands = map[string]command{
	"basename":  {run: runBasename, flags: flagSpec{short: "as:", long: map[string]string{"multiple": "a", "suffix": "s"}}},
	"dirname":   {run: runDirname},
	"seq":       {run: runSeq, flags: flagSpec{short: "s:w"}},
	"base64":    {run: runBase64, flags: flagSpec{short: "dw:", long: map[string]string{"decode": "d", "wrap": "w"}}},
	"sha256sum": {run: runSum(sha256.New), flags: sumFlags},
	"sha512sum": {run: runSum(sha512.New), flags: sumFlags},
	"ls": {run: runLs, flags: flagSpec{short: "laAhR1dFtrSn", long: map[string]string{
		"all": "a", "almost-all": "A", "human-readable": "h", "recursive": "R", "directory": "d", "reverse": "r",
		"classify": "F", "color": "1", // not a terminal, so there are no colours, and one name a line
	}}},
}

func runBasename(c *call) int {
	args := c.flags.args()
	if len(args) == 0 {
		return c.errorf(1, "missing operand")
	}
	suffix := c.value('s')
	if len(args) == 2 && !c.any("as") {
		args, suffix = args[:1], args[1]
	}
	for _, p := range args {
		base := path.Base(p)
		if base != suffix {
			base = strings.TrimSuffix(base, suffix)
		}
		c.printf("%s\n", base)
	}
	return 0
}

func runDirname(c *call) int {
	for _, p := range c.flags.args() {
		dir := path.Dir(strings.TrimRight(p, "/"))
		if strings.Trim(p, "/") == "" && p != "" {
			dir = "/"
		}
		c.printf("%s\n", dir)
	}
	return 0
}

func runSeq(c *call) int {
	var n []int
	for _, a := range c.flags.args() {
		i, err := strconv.Atoi(a)
		if err != nil {
			return c.errorf(1, "invalid number %q", a)
		}
		n = append(n, i)
	}
	from, step, to := 1, 1, 0
	switch len(n) {
	case 1:
		to = n[0]
	case 2:
		from, to = n[0], n[1]
	case 3:
		from, step, to = n[0], n[1], n[2]
	default:
		return c.errorf(1, "it takes one number to three")
	}
	if step == 0 || (to-from)/step > 1<<20 {
		return c.errorf(1, "there are too many numbers")
	}
	sep := "\n"
	if c.has('s') {
		sep = c.value('s')
	}
	var all []string
	for i := from; step > 0 && i <= to || step < 0 && i >= to; i += step {
		all = append(all, strconv.Itoa(i))
	}
	if len(all) > 0 {
		c.printf("%s\n", strings.Join(all, sep))
	}
	return 0
}

func runBase64(c *call) int {
	width := 76
	if c.has('w') {
		width, _ = strconv.Atoi(c.value('w'))
	}
	return c.inputs(c.flags.args(), func(_ string, r io.Reader) error {
		raw, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if c.has('d') {
			out, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(raw)), ""))
			if err != nil {
				return errors.New("invalid input")
			}
			_, err = c.hc.Stdout.Write(out)
			return err
		}
		text := base64.StdEncoding.EncodeToString(raw)
		for width > 0 && len(text) > width {
			c.printf("%s\n", text[:width])
			text = text[width:]
		}
		c.printf("%s", text)
		if width > 0 {
			c.printf("\n")
		}
		return nil
	})
}

var sumFlags = flagSpec{short: "cbtsw", long: map[string]string{"check": "c", "status": "s", "binary": "b", "text": "t", "quiet": "s", "warn": "w", "strict": "w"}}

func runSum(newHash func() hash.Hash) func(*call) int {
	return func(c *call) int {
		sum := func(name string) (string, error) {
			r, err := c.read(name)
			if err != nil {
				return "", err
			}
			h := newHash()
			_, err = io.Copy(h, r)
			return hex.EncodeToString(h.Sum(nil)), errors.Join(err, r.Close())
		}
		if c.has('c') {
			return c.checkSums(sum)
		}
		args := c.flags.args()
		if len(args) == 0 {
			args = []string{"-"}
		}
		for _, name := range args {
			text, err := sum(name)
			if err != nil {
				return c.fail(err)
			}
			c.printf("%s  %s\n", text, name)
		}
		return 0
	}
}

func (c *call) checkSums(sum func(string) (string, error)) int {
	all, status := c.lines(c.flags.args())
	for _, text := range all {
		want, name, ok := strings.Cut(text, " ")
		if !ok {
			return c.errorf(1, "malformed line %q", text)
		}
		name = strings.TrimLeft(name, " *")
		got, err := sum(name)
		verdict := "OK"
		if err != nil || !strings.EqualFold(got, want) {
			verdict, status = "FAILED", 1
		}
		if !c.has('s') || verdict != "OK" {
			c.printf("%s: %s\n", name, verdict)
		}
	}
	return status
}

// runLs lists names, and with -l what matters of them in a fixed form.
