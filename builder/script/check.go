package script

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/stagectl/stagectl/builder/plan"
)

// refusal is why a command needs a container.
type refusal struct{ reason, hint string }

// Check classes each command of a RUN, in the order in which they stand there,
// from the text alone.
func Check(run *plan.Run, o Options) []Finding {
	p, err := parseRun(run)
	if err != nil {
		text := run.Script
		if run.Exec != nil {
			text = strings.Join(run.Exec, " ")
		}
		text, _, _ = strings.Cut(text, "\n")
		class, reason := Container, err.Error()
		if pe, ok := err.(syntax.ParseError); ok { //nolint:errorlint // it is never wrapped
			class, reason = Broken, "syntax error: "+pe.Text
		}
		return []Finding{{Line: errorLine(run, err), Command: text, Class: class, Reason: reason}}
	}
	c := &checker{Options: o, at: p, functions: map[string]bool{}, vars: map[string]word{}}
	switch {
	case run.Security != "":
		c.add(p.file, &refusal{reason: "privileges: --security=" + run.Security}, Container)
	case len(run.Devices) > 0:
		c.add(p.file, &refusal{reason: "devices: --device=" + strings.Join(run.Devices, ",")}, Container)
	}
	c.environ(run.Env)
	c.program(p)
	return c.findings
}

// errorLine is where a script cannot be parsed.
func errorLine(run *plan.Run, err error) int {
	var offset int
	if pe, ok := err.(syntax.ParseError); ok { //nolint:errorlint // it is never wrapped
		offset = int(pe.Pos.Offset())
	}
	return run.LineAt(offset)
}

// checker goes through a script.
type checker struct {
	Options
	// at is the script that is looked at.
	at *program
	// functions are those that the script defines.
	functions map[string]bool
	// vars are the variables whose values matter and are known.
	vars     map[string]word
	findings []Finding
}

func (c *checker) environ(env []string) {
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		c.vars[name] = word{value, true}
	}
}

func (c *checker) program(p *program) {
	c.at = p
	syntax.Walk(p.file, func(n syntax.Node) bool {
		if f, ok := n.(*syntax.FuncDecl); ok && f.Name != nil {
			c.functions[f.Name.Value] = true
		}
		return true
	})
	syntax.Walk(p.file, func(n syntax.Node) bool {
		c.node(n)
		return true
	})
}

func (c *checker) node(n syntax.Node) {
	switch n := n.(type) {
	case *syntax.CallExpr:
		c.assigns(n)
		if len(n.Args) > 0 {
			c.call(n)
		}
	case *syntax.DeclClause:
		for _, a := range n.Args {
			c.assign(a)
		}
		c.add(n, nil, Native)
	case *syntax.ProcSubst:
		c.add(n, &refusal{"process substitution", "write to a file in between"}, Container)
	case *syntax.CoprocClause:
		c.add(n, &refusal{reason: "coprocesses"}, Container)
	case *syntax.Redirect:
		c.redirect(n)
	case *syntax.UnaryTest:
		if n.Op == syntax.TsModif || n.Op == syntax.TsUsrOwn || n.Op == syntax.TsGrpOwn {
			c.add(n, &refusal{reason: "times and users of processes: " + n.Op.String()}, Container)
		}
	case *syntax.Word:
		if name, ok := homeOf(n); ok {
			c.add(n, &refusal{"the home of " + name, "write out the directory"}, Container)
		}
	}
}

// homeOf returns the user of a word like ~user/x.
func homeOf(w *syntax.Word) (string, bool) {
	if len(w.Parts) == 0 {
		return "", false
	}
	lit, ok := w.Parts[0].(*syntax.Lit)
	if !ok || !strings.HasPrefix(lit.Value, "~") {
		return "", false
	}
	name, _, _ := strings.Cut(lit.Value[1:], "/")
	return name, name != "" && name != "+" && name != "-"
}

// assigns notes the variables in front of a command. Those count for the rest
// only where there is no command.
func (c *checker) assigns(n *syntax.CallExpr) {
	if len(n.Args) > 0 {
		return
	}
	for _, a := range n.Assigns {
		c.assign(a)
	}
}

func (c *checker) assign(a *syntax.Assign) {
	if a.Name == nil {
		return
	}
	c.vars[a.Name.Value] = valueOf(a)
}

func valueOf(a *syntax.Assign) word {
	if a.Value == nil {
		return word{known: !a.Naked && a.Array == nil}
	}
	text, ok := known(a.Value)
	return word{text, ok}
}

func (c *checker) redirect(n *syntax.Redirect) {
	if n.N != nil && !slices.Contains([]string{"0", "1", "2"}, n.N.Value) {
		c.add(n, &refusal{reason: "more files than the standard ones: " + n.N.Value}, Container)
		return
	}
	if n.Word == nil {
		return
	}
	if target, ok := known(n.Word); ok && (strings.HasPrefix(target, "/dev/tcp/") || strings.HasPrefix(target, "/dev/udp/")) {
		c.add(n, &refusal{reason: "network connections of the shell"}, Container)
	}
}

// add notes what was found of a command; r is nil where nothing is wrong.
func (c *checker) add(n syntax.Node, r *refusal, class Class) {
	f := Finding{Line: c.at.lines(int(n.Pos().Offset())), Command: show(n), Class: class}
	if f.Command == "" {
		f.Command = oneLine(c.at.text[n.Pos().Offset():n.End().Offset()])
	}
	if r != nil {
		f.Class, f.Reason, f.Hint = Container, r.reason, r.hint
	}
	c.findings = append(c.findings, f)
}

func (c *checker) call(n *syntax.CallExpr) {
	args := make([]word, len(n.Args))
	for i, w := range n.Args {
		args[i].text, args[i].known = known(w)
	}
	vars := c.vars
	if len(n.Assigns) > 0 {
		c.vars = map[string]word{}
		for k, v := range vars {
			c.vars[k] = v
		}
		for _, a := range n.Assigns {
			c.assign(a)
		}
	}
	class, r := c.command(args)
	c.vars = vars
	if args[0].known && args[0].text == "export" {
		c.exports(args[1:])
	}
	c.add(n, r, class)
}

// exports notes KEY=VALUE words of a call that is no keyword.
func (c *checker) exports(args []word) {
	for _, a := range args {
		if name, value, ok := strings.Cut(a.text, "="); ok && a.known {
			c.vars[name] = word{value, true}
		}
	}
}

// command classes a command with its arguments.
func (c *checker) command(args []word) (Class, *refusal) {
	if !args[0].known {
		return Container, &refusal{"a command whose name is only known when it runs", "write out the name"}
	}
	name := args[0].text
	if c.functions[name] {
		return Native, nil
	}
	name, ok := programName(name)
	if !ok {
		return Container, &refusal{"a program of the project or of the image: " + args[0].text, ""}
	}
	if r, ok := c.checkBuiltin(name, args[1:]); ok {
		return Native, r
	}
	cmd, ok := commandOf(name)
	if !ok {
		return Container, unknownProgram(name, interp.IsBuiltin(name))
	}
	class := Emulated
	if cmd.native {
		class = Native
	}
	if cmd.check != nil {
		return class, cmd.check(c, args[1:])
	}
	if _, err := cmd.flags.parse(args[1:]); err != nil {
		return class, &refusal{fmt.Sprintf("%s that knows more: %v", name, err), ""}
	}
	return class, nil
}

// programDirs are where the programs of an image are.
var programDirs = []string{
	"/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin", "/usr/local/sbin", "/usr/local/go/bin",
}

// programName returns the name of a program without its directory; false where
// that is none for programs of the image.
func programName(name string) (string, bool) {
	if !strings.Contains(name, "/") {
		return name, true
	}
	dir, base := path.Split(name)
	return base, slices.Contains(programDirs, path.Clean(dir))
}

// nested checks a command that another one runs: env, xargs, find -exec.
func (c *checker) nested(args []word) *refusal {
	if len(args) == 0 {
		return nil
	}
	_, r := c.command(args)
	return r
}

// plainBuiltins are those of the shell that it carries out, whatever their
// arguments are.
var plainBuiltins = strings.Fields(`: true false exit set shift unset echo printf break continue pwd cd wait type hash dirs pushd popd
	return read getopts shopt alias unalias readarray mapfile times umask export readonly local declare typeset let trap`)

// checkBuiltin is false for what is no builtin of the shell, or one that cannot
// be had.
func (c *checker) checkBuiltin(name string, args []word) (*refusal, bool) {
	switch name {
	case "test", "[":
		return checkTest(args), true
	case "eval":
		return checkEval(c, args), true
	case ".", "source":
		return checkSource(args), true
	case "exec", "builtin":
		return c.nested(args), true
	case "command":
		return checkCommand(c, args), true
	}
	return nil, slices.Contains(plainBuiltins, name)
}

func checkTest(args []word) *refusal {
	for i, a := range args {
		if a.known && slices.Contains([]string{"-O", "-G", "-N"}, a.text) && i+1 < len(args) {
			return &refusal{"times and users of processes: " + a.text, ""}
		}
	}
	return nil
}

func checkEval(c *checker, args []word) *refusal {
	var texts []string
	for _, a := range args {
		if !a.known {
			return &refusal{"commands that are only known when they run: eval", ""}
		}
		texts = append(texts, a.text)
	}
	return c.inner(strings.Join(texts, " "))
}

// inner checks a script in a script.
func (c *checker) inner(text string) *refusal {
	p, err := parseText(text, "sh", nil, func(int) int { return 0 })
	if err != nil {
		return &refusal{"a shell that understands it: " + err.Error(), ""}
	}
	sub := &checker{Options: c.Options, functions: c.functions, vars: c.vars}
	sub.program(p)
	if refused := Refused(sub.findings); len(refused) > 0 {
		return &refusal{refused[0].Reason, refused[0].Hint}
	}
	return nil
}

func checkSource(args []word) *refusal {
	if len(args) > 0 && args[0].known && slices.Contains([]string{"/etc/os-release", "/usr/lib/os-release", "/etc/profile"}, args[0].text) {
		return nil
	}
	return &refusal{"commands that are only known when they run: a script of the image", ""}
}

func checkCommand(c *checker, args []word) *refusal {
	for len(args) > 0 && args[0].known && strings.HasPrefix(args[0].text, "-") {
		if strings.ContainsAny(args[0].text, "vV") {
			return nil
		}
		args = args[1:]
	}
	return c.nested(args)
}
