package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
)

// Exec does what a RUN says to a stage. Where Check finds something that needs a
// container, nothing is done, and the error is a *RefusedError. A command that
// fails makes an *Error.
func Exec(ctx context.Context, stage *rootfs.FS, run *plan.Run, host Host, o Options) error {
	if refused := Refused(Check(run, o)); len(refused) > 0 {
		return &RefusedError{refused}
	}
	p, err := parseRun(run)
	if err != nil {
		return err
	}
	m, err := newMachine(stage, run, host, o, p)
	if err != nil {
		return err
	}
	unmount, err := m.mount(ctx, run)
	if err != nil {
		return err
	}
	// As with a container, what still runs in the background ends with the shell.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = m.run(ctx)
	if unmountErr := unmount(); unmountErr != nil {
		return errors.Join(err, unmountErr)
	}
	return err
}

// machine is a script being carried out.
type machine struct {
	stage *rootfs.FS
	host  Host
	opts  Options
	prog  *program
	dir   string
	user  rootfs.User
	env   []string
	// functions and redirects are those of the script.
	functions map[string]bool
	redirects map[string]syntax.Pos
	// params are where each variable is used first.
	params map[string]syntax.Pos

	mu sync.Mutex
	// umask is the shell's, whichever of its subshells set it.
	umask uint32
	// last is the call that was made last, and failed the one that failed last.
	last, failed failure
	shown        map[int]string
}

// failure is a call and its status.
type failure struct {
	pos    syntax.Pos
	status int
}

func newMachine(stage *rootfs.FS, run *plan.Run, host Host, o Options, p *program) (*machine, error) {
	user, err := stage.Login(run.User)
	if err != nil {
		return nil, err
	}
	m := &machine{
		stage: stage, host: host, opts: o, prog: p, dir: run.Dir, user: user, umask: 0o022,
		functions: map[string]bool{}, redirects: map[string]syntax.Pos{}, params: map[string]syntax.Pos{}, shown: map[int]string{},
	}
	if m.dir == "" {
		m.dir = "/"
	}
	var mu sync.Mutex
	m.host.Stdout, m.host.Stderr = &lockedWriter{&mu, orDiscard(host.Stdout)}, &lockedWriter{&mu, orDiscard(host.Stderr)}
	m.env = m.environ(run.Env)
	m.prepare(p.file)
	return m, nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// lockedWriter lets several goroutines write.
type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// environ adds what an engine sets and keeps what would be the host's away.
func (m *machine) environ(env []string) []string {
	vars := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": m.user.Home}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		vars[name] = value
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		all = append(all, name+"="+vars[name])
	}
	return all
}

// hostname is BuildKit's.
const hostname = "buildkitsandbox"

// pidVar stands for what the interpreter takes from the host's processes.
const pidVar = "__pid"

// prepare notes what the interpreter does not tell when it happens, and takes
// the host's process IDs out of the script.
func (m *machine) prepare(file *syntax.File) {
	var stmts []*syntax.Stmt // that n is in
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case nil:
			return true
		case *syntax.FuncDecl:
			if n.Name != nil {
				m.functions[n.Name.Value] = true
			}
		case *syntax.Stmt:
			stmts = append(stmts, n)
			m.prepareStmt(n)
		case *syntax.CallExpr:
			if len(n.Args) > 0 {
				m.shown[int(n.Args[0].Pos().Offset())] = show(n)
			}
		case *syntax.ParamExp:
			m.prepareParam(n, stmts)
		}
		return true
	})
}

func (m *machine) prepareStmt(n *syntax.Stmt) {
	if tc, ok := n.Cmd.(*syntax.TimeClause); ok { // which tells the host's time
		n.Cmd = &syntax.CallExpr{Args: []*syntax.Word{{Parts: []syntax.WordPart{&syntax.Lit{Value: "true", ValuePos: tc.Pos()}}}}}
		if tc.Stmt != nil {
			n.Cmd = &syntax.Block{Lbrace: tc.Pos(), Rbrace: tc.End(), Stmts: []*syntax.Stmt{tc.Stmt}}
		}
	}
	if _, ok := n.Cmd.(*syntax.CallExpr); ok {
		m.shown[int(n.Pos().Offset())] = show(n)
	}
	for _, r := range n.Redirs {
		if r.Word == nil {
			continue
		}
		m.shown[int(r.Pos().Offset())] = show(n)
		if target, ok := known(r.Word); ok {
			m.redirects[target] = r.Pos()
		}
	}
}

func (m *machine) prepareParam(n *syntax.ParamExp, stmts []*syntax.Stmt) {
	if n.Param == nil {
		return
	}
	if n.Param.Value == "$" || n.Param.Value == "PPID" {
		n.Param.Value, n.Short = pidVar, false
	}
	if _, ok := m.params[n.Param.Value]; !ok && len(stmts) > 0 {
		m.params[n.Param.Value] = n.Pos()
		m.shown[int(n.Pos().Offset())] = show(stmts[len(stmts)-1])
	}
}

// unbound is how the interpreter tells of a variable that is not set, with set -u.
const unbound = ": unbound variable\n"

// watch notes where a script ends for want of a variable, which is before there is
// a call.
type watch struct {
	io.Writer
	m *machine
}

func (w watch) Write(p []byte) (int, error) {
	if name, ok := strings.CutSuffix(string(p), unbound); ok {
		at := failure{w.m.params[name], 1}
		w.m.note(&w.m.failed, at)
		w.m.note(&w.m.last, at)
	}
	return w.Writer.Write(p)
}

// variables are those of the shell. Those that are not exported keep the
// interpreter from asking the host.
func (m *machine) variables() expand.Environ {
	uid, gid := fmt.Sprint(m.user.UID), fmt.Sprint(m.user.GID)
	vars := variables{pidVar: "1", "UID": uid, "EUID": uid, "GID": gid}
	if !slices.ContainsFunc(m.env, func(kv string) bool { return strings.HasPrefix(kv, "HOSTNAME=") }) {
		vars["HOSTNAME"] = hostname // shells know it, and do not export it
	}
	return environment{expand.ListEnviron(m.env...), vars}
}

type variables map[string]string

// environment adds variables that are not exported.
type environment struct {
	expand.Environ
	more variables
}

func (e environment) Get(name string) expand.Variable {
	if value, ok := e.more[name]; ok {
		return expand.Variable{Set: true, Kind: expand.String, Str: value}
	}
	if user, ok := strings.CutPrefix(name, "HOME "); ok {
		return expand.Variable{Set: true, Kind: expand.String, Str: "~" + user}
	}
	return e.Environ.Get(name)
}

func (e environment) Each(fn func(string, expand.Variable) bool) {
	for _, name := range slices.Sorted(maps.Keys(e.more)) {
		if !fn(name, e.Get(name)) {
			return
		}
	}
	e.Environ.Each(fn)
}

func (m *machine) run(ctx context.Context) error {
	if info, err := m.stage.Stat(m.dir); err != nil || !info.IsDir() {
		return &Error{Line: m.prog.lines(0), Command: show(m.prog.file), Err: fmt.Errorf("there is no directory %s to run it in", m.dir)}
	}
	r, err := m.runner(m.prog, m.host.Stdout, m.host.Stderr)
	if err != nil {
		return err
	}
	err = r.Run(ctx, m.prog.file)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return m.explain(err)
}

// runner makes an interpreter all of whose ways out lead into the stage.
func (m *machine) runner(p *program, stdout, stderr io.Writer) (*interp.Runner, error) {
	r, err := interp.New(
		interp.Env(m.variables()),
		func(r *interp.Runner) error { r.Dir = m.dir; return nil }, // interp.Dir asks the host
		interp.Params(append(slices.Clone(p.set), append([]string{"--"}, p.args...)...)...),
		interp.StdIO(nil, stdout, watch{stderr, m}),
		interp.OpenHandler(m.openFile),
		interp.StatHandler(m.stat),
		interp.AccessHandler(m.access),
		interp.ReadDirHandler2(m.readDir),
		interp.CallHandler(m.onCall),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return m.onExec }),
	)
	if err != nil {
		return nil, fmt.Errorf("preparing the shell: %w", err)
	}
	return r, nil
}

// explain names the command that made the script fail.
func (m *machine) explain(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var status interp.ExitStatus
	at := m.last
	if errors.As(err, &status) {
		if m.failed.status == int(status) && (m.failed.pos == m.last.pos || m.last.status == 0) {
			at = m.failed
		}
		err = fmt.Errorf("exit status %d", int(status))
	}
	return &Error{Line: m.prog.lines(int(at.pos.Offset())), Command: m.textAt(at.pos), Status: int(status), Err: err}
}

// textAt is the text of the command at a position, of the first one where there
// is none.
func (m *machine) textAt(pos syntax.Pos) string {
	if text, ok := m.shown[int(pos.Offset())]; ok && pos.IsValid() {
		return text
	}
	return show(m.prog.file)
}
