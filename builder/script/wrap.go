package script

import (
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// wrapCommands are those that run others. They are in a function, since what
// they run is found in the tables that they are part of.
func wrapCommands() map[string]command {
	shell := command{run: runShell, check: checkShell, native: true}
	return map[string]command{
		"sh": shell, "ash": shell, "bash": shell, "dash": shell,
		"busybox": {run: runBusybox, check: checkBusybox},
		"env":     {run: runEnv, check: checkEnv},
		"xargs":   {run: runXargs, check: checkXargs},
		"timeout": {run: runSkip, check: checkSkip("timeout")},
		"nice":    {run: runSkip, check: checkSkip("nice")},
		"nohup":   {run: runSkip, check: checkSkip("nohup")},
		"stdbuf":  {run: runSkip, check: checkSkip("stdbuf")},
		"time":    {run: runSkip, check: checkSkip("time")},
		"which":   {run: runWhich, flags: flagSpec{short: "a"}},
		"find":    findCommand(),
	}
}

// checkShell takes text, not files: what is in one is not known.
func checkShell(c *checker, args []word) *refusal {
	texts := []string{"sh"}
	for _, a := range args {
		if !a.known {
			texts = append(texts, "\x00")
			continue
		}
		texts = append(texts, a.text)
	}
	_, rest, ok := shellFlags(texts)
	if !ok || len(rest) == 0 {
		return &refusal{"a script whose text is not in the Dockerfile", "write it into the RUN, as a here-document"}
	}
	if rest[0] == "\x00" {
		return &refusal{"commands that are only known when they run: sh -c", "quote them with '…'"}
	}
	return c.inner(rest[0])
}

func runShell(c *call) int {
	set, rest, ok := shellFlags(append([]string{c.name}, c.args...))
	if !ok || len(rest) == 0 {
		return c.errorf(2, "there is no -c")
	}
	p, err := parseText(rest[0], c.name, set, func(int) int { return 0 })
	if err != nil {
		return c.errorf(2, "%v", err)
	}
	p.named(rest[1:])
	inner := c.inner(p)
	r, err := inner.runner(p, c.hc.Stdout, c.hc.Stderr)
	if err == nil && c.hc.Stdin != nil {
		err = interp.StdIO(c.hc.Stdin, c.hc.Stdout, watch{c.hc.Stderr, inner})(r)
	}
	if err == nil {
		err = r.Run(c.ctx, p.file)
	}
	var status interp.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	c.fatal = err
	return 1
}

// inner is a machine for a script in this one, with what it is given of it.
func (c *call) inner(p *program) *machine {
	m := &machine{
		stage: c.stage, host: c.host, opts: c.opts, prog: p, dir: c.hc.Dir, user: c.user, umask: uint32(c.mask()),
		functions: map[string]bool{}, redirects: map[string]syntax.Pos{}, params: map[string]syntax.Pos{}, shown: map[int]string{},
	}
	vars := c.exported()
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		m.env = append(m.env, name+"="+vars[name])
	}
	m.prepare(p.file)
	return m
}

func checkBusybox(c *checker, args []word) *refusal {
	if len(args) == 0 {
		return nil
	}
	return c.nested(args)
}

func runBusybox(c *call) int {
	if len(c.args) == 0 {
		return 0
	}
	return c.nested(c.args, nil)
}

// envArgs divides the arguments of env.
func envArgs(args []word) (clear bool, unset []string, assigns, rest []word, err error) {
	f, err := flagSpec{short: "iu:0", long: map[string]string{"ignore-environment": "i", "unset": "u", "null": "0"}, stop: true}.parse(args)
	if err != nil {
		return false, nil, nil, nil, err
	}
	rest = f.operands
	for len(rest) > 0 && strings.Contains(rest[0].text, "=") {
		assigns, rest = append(assigns, rest[0]), rest[1:]
	}
	return f.has('i'), f.all('u'), assigns, rest, nil
}

func checkEnv(c *checker, args []word) *refusal {
	_, _, assigns, rest, err := envArgs(args)
	if err != nil {
		return &refusal{"env that knows more: " + err.Error(), ""}
	}
	if len(rest) == 0 {
		return nil
	}
	outer := c.vars
	c.vars = maps.Clone(outer)
	defer func() { c.vars = outer }()
	for _, a := range assigns {
		name, value, _ := strings.Cut(a.text, "=")
		c.vars[name] = word{value, a.known}
	}
	return c.nested(rest)
}

func runEnv(c *call) int {
	clear, unset, assigns, rest, err := envArgs(words(c.args))
	if err != nil {
		return c.errorf(125, "%v", err)
	}
	vars := c.environ()
	if len(rest) > 0 {
		vars = c.exported()
	}
	if clear {
		vars = map[string]string{}
	}
	for _, name := range unset {
		delete(vars, name)
	}
	for _, a := range assigns {
		name, value, _ := strings.Cut(a.text, "=")
		vars[name] = value
	}
	if len(rest) == 0 {
		for _, name := range slices.Sorted(maps.Keys(vars)) {
			c.printf("%s=%s\n", name, vars[name])
		}
		return 0
	}
	args := make([]string, len(rest))
	for i, w := range rest {
		args[i] = w.text
	}
	inner := *c
	inner.hc.Env = fixedEnv(vars)
	status := inner.nested(args, nil)
	c.fatal = errors.Join(c.fatal, inner.fatal)
	return status
}

// skipArgs leaves the options of nice, nohup and the like out, and the duration
// of timeout.
func skipArgs(name string, args []word) []word {
	values := map[string]string{"timeout": "ks", "nice": "n", "stdbuf": "ioe"}[name]
	for len(args) > 0 && args[0].known && strings.HasPrefix(args[0].text, "-") {
		glued := len(args[0].text) > 2
		if !glued && strings.Contains(values, args[0].text[1:]) && len(args) > 1 {
			args = args[1:]
		}
		args = args[1:]
	}
	if name == "timeout" && len(args) > 0 {
		args = args[1:]
	}
	return args
}

func checkSkip(name string) func(*checker, []word) *refusal {
	return func(c *checker, args []word) *refusal { return c.nested(skipArgs(name, args)) }
}

func runSkip(c *call) int {
	rest := skipArgs(c.name, words(c.args))
	if len(rest) == 0 {
		return c.errorf(125, "missing operand")
	}
	args := make([]string, len(rest))
	for i, w := range rest {
		args[i] = w.text
	}
	return c.nested(args, nil)
}

var xargsFlags = flagSpec{
	short: "0n:I:rtL:P:d:", stop: true,
	long: map[string]string{"null": "0", "max-args": "n", "no-run-if-empty": "r", "verbose": "t", "max-procs": "P", "delimiter": "d", "replace": "I"},
}

func checkXargs(c *checker, args []word) *refusal {
	f, err := xargsFlags.parse(args)
	if err != nil {
		return &refusal{"xargs that knows more: " + err.Error(), ""}
	}
	return c.nested(f.operands)
}

func runXargs(c *call) int {
	f, err := xargsFlags.parse(words(c.args))
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	c.flags = f
	raw, err := io.ReadAll(c.stdin())
	if err != nil {
		return c.fail(err)
	}
	cmd := f.args()
	if len(cmd) == 0 {
		cmd = []string{"echo"}
	}
	items := c.xargsItems(string(raw))
	size := len(items)
	if n, err := strconv.Atoi(f.value('n') + f.value('L')); err == nil && n > 0 {
		size = n
	}
	if f.has('I') {
		size = 1
	}
	if len(items) == 0 {
		if f.any("rI") {
			return 0
		}
		return c.nested(cmd, strings.NewReader(""))
	}
	status := 0
	for group := range slices.Chunk(items, size) {
		if s := c.nested(c.xargsCall(cmd, group), strings.NewReader("")); s != 0 {
			status = 123
		}
		if c.fatal != nil {
			return 123
		}
	}
	return status
}

func (c *call) xargsItems(text string) []string {
	switch {
	case c.has('0'):
		return splitItems(text, "\x00")
	case c.has('d'):
		return splitItems(text, strings.ReplaceAll(c.value('d'), `\n`, "\n"))
	case c.has('I'):
		var items []string
		for _, line := range splitItems(text, "\n") {
			if line = strings.TrimLeft(line, " \t"); line != "" {
				items = append(items, line)
			}
		}
		return items
	}
	return shellFields(text)
}

func splitItems(text, sep string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, sep), sep)
}

// shellFields divides text by blanks, but not in quotes.
func shellFields(text string) []string {
	var items []string
	var b strings.Builder
	in := false
	var quote byte
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case quote != 0 && ch == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(ch)
		case ch == '\'' || ch == '"':
			quote, in = ch, true
		case ch == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
			in = true
		case strings.IndexByte(" \t\n", ch) >= 0:
			if in {
				items = append(items, b.String())
			}
			b.Reset()
			in = false
		default:
			b.WriteByte(ch)
			in = true
		}
	}
	if in {
		items = append(items, b.String())
	}
	return items
}

func (c *call) xargsCall(cmd, group []string) []string {
	if !c.has('I') {
		return append(slices.Clone(cmd), group...)
	}
	out := make([]string, len(cmd))
	for i, a := range cmd {
		out[i] = strings.ReplaceAll(a, c.value('I'), group[0])
	}
	return out
}
