package script

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/interp"

	"github.com/stagectl/stagectl/builder/rootfs"
)

// abs is a path of the stage as an absolute one. On Windows, the interpreter
// makes them the host's.
func abs(dir, p string) string {
	p = filepath.ToSlash(p)
	if volume := filepath.VolumeName(dir); volume != "" {
		dir = strings.TrimPrefix(dir, volume)
	}
	if p == "" || path.IsAbs(p) {
		return p
	}
	return strings.TrimSuffix(filepath.ToSlash(dir), "/") + "/" + p
}

func (m *machine) stat(ctx context.Context, name string, follow bool) (fs.FileInfo, error) {
	p := abs(interp.HandlerCtx(ctx).Dir, name)
	if isDevice(p) {
		return rootfs.Info{Path: p, Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666}.FileInfo(), nil
	}
	lookup := m.stage.Lstat
	if follow {
		lookup = m.stage.Stat
	}
	info, err := lookup(p)
	if err != nil {
		return nil, err
	}
	return info.FileInfo(), nil
}

// access lets root do everything, but for executing what nobody may.
func (m *machine) access(ctx context.Context, name string, mode interp.AccessMode) error {
	info, err := m.stage.Stat(abs(interp.HandlerCtx(ctx).Dir, name))
	if err != nil {
		return err
	}
	bits := info.Mode.Perm()
	switch {
	case m.user.UID == 0:
		if mode&interp.AccessExec != 0 && bits&0o111 == 0 && !info.IsDir() {
			return syscall.EACCES
		}
		return nil
	case m.user.UID == info.UID:
		bits >>= 6
	case m.user.GID == info.GID:
		bits >>= 3
	}
	if fs.FileMode(mode)&^bits != 0 {
		return syscall.EACCES
	}
	return nil
}

func (m *machine) readDir(ctx context.Context, name string) ([]fs.DirEntry, error) {
	list, err := m.stage.ReadDir(abs(interp.HandlerCtx(ctx).Dir, name))
	entries := make([]fs.DirEntry, len(list))
	for i, info := range list {
		entries[i] = info.DirEntry()
	}
	return entries, err
}

// openFile opens what a redirection names.
func (m *machine) openFile(ctx context.Context, name string, flag int, perm fs.FileMode) (io.ReadWriteCloser, error) {
	hc := interp.HandlerCtx(ctx)
	f, err := m.open(hc, name, flag, perm|0o666)
	if err != nil {
		m.note(&m.failed, failure{m.redirects[name], 1})
		m.note(&m.last, failure{m.redirects[name], 1})
	}
	return f, err
}

func (m *machine) note(to *failure, f failure) {
	if !f.pos.IsValid() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	*to = f
}

// open opens a file of the stage, or one of those that every process has.
func (m *machine) open(hc interp.HandlerContext, name string, flag int, perm fs.FileMode) (io.ReadWriteCloser, error) {
	p := abs(hc.Dir, name)
	if f := device(hc, path.Clean(p)); f != nil {
		return f, nil
	}
	return m.stage.OpenFile(p, flag, perm&^m.mask(), m.owner())
}

func (m *machine) owner() rootfs.Owner { return rootfs.Owner{UID: m.user.UID, GID: m.user.GID} }

func (m *machine) mask() fs.FileMode {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fs.FileMode(m.umask)
}

// devices are the files that every process has.
var devices = []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/stdin", "/dev/stdout", "/dev/stderr"}

func isDevice(p string) bool {
	return slices.Contains(devices, p) || strings.HasPrefix(p, "/dev/fd/") || strings.HasPrefix(p, "/proc/self/fd/")
}

// device returns one of the files that every process has, or nil.
func device(hc interp.HandlerContext, p string) io.ReadWriteCloser {
	switch p {
	case "/dev/null":
		return stream{strings.NewReader(""), io.Discard}
	case "/dev/zero":
		return stream{zeros{}, io.Discard}
	case "/dev/random", "/dev/urandom":
		return stream{rand.Reader, io.Discard}
	case "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0":
		if hc.Stdin == nil {
			return stream{strings.NewReader(""), io.Discard}
		}
		return stream{hc.Stdin, io.Discard}
	case "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1":
		return stream{strings.NewReader(""), hc.Stdout}
	case "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2":
		return stream{strings.NewReader(""), hc.Stderr}
	}
	return nil
}

// stream is a file that is not closed.
type stream struct {
	io.Reader
	io.Writer
}

func (stream) Close() error { return nil }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// overridden are builtins of the interpreter that would look at the host, or
// differ from those of a container's shell. They are called by another name.
const overridden = "builtin:"

// onCall sees each command before it is carried out.
func (m *machine) onCall(ctx context.Context, args []string) ([]string, error) {
	hc := interp.HandlerCtx(ctx)
	m.note(&m.last, failure{hc.Pos, 0})
	if m.functions[args[0]] {
		return args, nil
	}
	switch args[0] {
	case "umask", "type":
		return append([]string{overridden + args[0]}, args[1:]...), nil
	case "command":
		if len(args) > 1 && strings.HasPrefix(args[1], "-") && args[1] != "--" {
			return append([]string{overridden + "command"}, args[1:]...), nil
		}
	case "pwd":
		if slices.Contains(args[1:], "-P") {
			return []string{overridden + "pwd"}, nil
		}
	case "echo":
		if strings.Contains(strings.Join(args[1:], ""), `\`) {
			return append([]string{overridden + "echo"}, args[1:]...), nil
		}
	case ".", "source":
		if len(args) > 1 && !strings.Contains(args[1], "/") {
			args[1] = "./" + args[1] // the search in PATH is the host's
		}
	case "trap":
		return trapArgs(args), nil
	case "test", "[":
		if i := slices.IndexFunc(args, func(a string) bool { return a == "-O" || a == "-G" || a == "-N" }); i > 0 && i+1 < len(args) {
			return nil, fmt.Errorf("%s %s looks at the host", args[0], args[i])
		}
	}
	return args, nil
}

// trapArgs leaves the signals out that no one sends, and names the end as the
// interpreter does.
func trapArgs(args []string) []string {
	if len(args) < 3 {
		return args
	}
	kept := slices.Clone(args[:2])
	for _, signal := range args[2:] {
		switch strings.TrimPrefix(signal, "SIG") {
		case "0", "EXIT":
			kept = append(kept, "EXIT")
		case "ERR":
			kept = append(kept, "ERR")
		}
	}
	if len(kept) == 2 {
		return []string{"true"}
	}
	return kept
}

// onExec carries out a command that is none of the interpreter's.
func (m *machine) onExec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	c := &call{ctx: ctx, machine: m, hc: hc}
	status := c.exec(args)
	if c.fatal != nil {
		return c.fatal
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if status == 0 {
		return nil
	}
	m.note(&m.failed, failure{hc.Pos, status})
	m.note(&m.last, failure{hc.Pos, status})
	return interp.ExitStatus(status)
}

// call is a command being carried out.
type call struct {
	*machine
	ctx  context.Context //nolint:containedctx // lives as long as the call
	hc   interp.HandlerContext
	name string
	// args follow the name.
	args []string
	// flags are the arguments, where the command has no check of its own.
	*flags
	// fatal ends the script.
	fatal error
}

// exec runs a command by its name.
func (c *call) exec(args []string) int {
	if name, ok := strings.CutPrefix(args[0], overridden); ok {
		c.name, c.args = name, args[1:]
		return c.builtin()
	}
	name, ok := programName(args[0])
	cmd, known := commandOf(name)
	c.name, c.args = name, args[1:]
	switch {
	case ok && known && cmd.check == nil:
		f, err := cmd.flags.parse(words(args[1:]))
		if err != nil {
			return c.errorf(2, "%v", err)
		}
		c.flags = f
	case ok && known:
	case ok && plain(name):
		return c.plain(args)
	default:
		c.fatal = fmt.Errorf("%s needs a container: it is a program that is not known", args[0])
		return 127
	}
	return cmd.run(c)
}

// nested runs a command for this one.
func (c *call) nested(args []string, stdin io.Reader) int {
	inner := &call{machine: c.machine, ctx: c.ctx, hc: c.hc}
	if stdin != nil {
		inner.hc.Stdin = stdin
	}
	status := inner.exec(args)
	c.fatal = errors.Join(c.fatal, inner.fatal)
	return status
}

// errorf tells what is wrong, and returns the status.
func (c *call) errorf(status int, format string, args ...any) int {
	_, _ = fmt.Fprintf(c.hc.Stderr, "%s: %s\n", c.name, fmt.Sprintf(format, args...))
	return status
}

// fail tells about an error of a file operation, and returns 1.
func (c *call) fail(err error) int {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return c.errorf(1, "%s: %v", pe.Path, pe.Err)
	}
	return c.errorf(1, "%v", err)
}

func (c *call) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.hc.Stdout, format, args...)
}

// path is an operand as an absolute path of the stage.
func (c *call) path(p string) string { return abs(c.hc.Dir, p) }

// stdin is never nil.
func (c *call) stdin() io.Reader {
	if c.hc.Stdin == nil {
		return strings.NewReader("")
	}
	return c.hc.Stdin
}

// read opens a file to read, "-" being the standard input.
func (c *call) read(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(c.stdin()), nil
	}
	return c.open(c.hc, name, os.O_RDONLY, 0)
}

// create opens a file to write.
func (c *call) create(name string, flag int) (io.WriteCloser, error) {
	return c.open(c.hc, name, os.O_WRONLY|os.O_CREATE|flag, 0o666)
}

// env returns a variable of the shell.
func (c *call) env(name string) string { return c.hc.Env.Get(name).String() }
