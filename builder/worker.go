package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/transfer"
	"github.com/stagectl/stagectl/builder/script"
)

// worker carries out the steps of one stage.
type worker struct {
	*carrier
	b  *built
	fs *rootfs.FS
	// lower is what the stage is made on, or nil.
	lower rootfs.Tree
	// chain is set where each instruction makes a layer.
	chain  bool
	layers []image.Layer
	// made are the layers as they are remembered.
	made []madeLayer
	// since is the state after the last instruction.
	since *rootfs.Snapshot
	// all has every step carried out; otherwise some may be skipped.
	all, skipped bool
	// done counts steps.
	done int
}

func (w *worker) run(ctx context.Context) error {
	steps := w.b.Steps
	for len(steps) > 0 {
		n := 1
		for n < len(steps) && sameInstruction(steps[0], steps[n]) {
			n++
		}
		if err := w.instruction(ctx, steps[:n]); err != nil {
			return err
		}
		steps = steps[n:]
	}
	return nil
}

// sameInstruction tells whether one instruction has made both steps, as WORKDIR
// makes two.
func sameInstruction(a, b plan.Step) bool {
	return a.Position != nil && b.Position != nil && *a.Position == *b.Position
}

// instruction carries out the steps of one instruction.
func (w *worker) instruction(ctx context.Context, steps []plan.Step) error {
	changes := false
	for _, step := range steps {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := w.unlessIdle(step, func() error { return w.step(ctx, step) })
		if err != nil {
			return at(step, err)
		}
		w.done++
		changes = changes || step.Config == nil
	}
	if !w.chain {
		return nil
	}
	return w.layer(ctx, steps, changes)
}

func (w *worker) step(ctx context.Context, step plan.Step) error {
	switch {
	case step.Files != nil:
		return w.files(ctx, step.Files)
	case step.Run != nil:
		return w.exec(ctx, step)
	case step.MakeDir != nil:
		return w.makeDir(step.MakeDir)
	}
	return nil
}

// makeDir is WORKDIR.
func (w *worker) makeDir(m *plan.MakeDir) error {
	if _, err := w.fs.Stat(m.Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var owner rootfs.Owner
	if m.User != "" {
		var err error
		if owner, err = w.fs.Owner(m.User); err != nil { // for BuildKit it is a --chown
			return err
		}
	}
	_, err := w.fs.MkdirAll(m.Path, 0o755, owner)
	return err
}

// files is COPY or ADD.
func (w *worker) files(ctx context.Context, f *plan.Files) error {
	spec := transfer.Spec{
		Dest: f.Dest, Owner: f.Owner, Mode: f.Mode, Exclude: f.Exclude, Parents: f.Parents, Link: f.Link,
		Unpack: f.Add && (f.Unpack == nil || *f.Unpack), UnpackFiles: f.Unpack != nil && *f.Unpack,
	}
	for _, src := range f.Sources {
		if f.Add && isRepository(src) {
			if err := w.addRepository(ctx, f, src, spec); err != nil {
				return err
			}
			continue
		}
		if !f.Add || !isURL(src) {
			spec.Sources = append(spec.Sources, src)
			continue
		}
		file, err := w.download(ctx, src, f.Checksum)
		if err != nil {
			return err
		}
		spec.Files = append(spec.Files, file.file())
	}
	for _, in := range f.Inline {
		spec.Files = append(spec.Files, transfer.File{
			Name: in.Name, Mode: 0o644, Size: int64(len(in.Data)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(in.Data)), nil },
		})
	}
	if len(spec.Sources)+len(spec.Files) == 0 {
		return nil // repositories, which are there
	}
	if len(spec.Sources) == 0 {
		return transfer.Copy(ctx, w.fs, nil, spec)
	}
	src, err := w.source(ctx, f.From, f.FromKind)
	if err != nil {
		return err
	}
	err = missingIn(f, transfer.Copy(ctx, w.fs, src, spec))
	if errors.Is(err, fs.ErrNotExist) && f.FromKind == plan.FromStage {
		return missingIn(f, w.fallBack(ctx, f.From, src, spec, err))
	}
	return err
}

// MissingError is returned where a COPY --from names what is not there.
type MissingError struct {
	// Kind is that of From, which is what it says.
	Kind plan.FromKind
	From string
	Path string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s %s has no %s", e.Kind, e.From, e.Path)
}

// Unwrap has it be a missing file.
func (e *MissingError) Unwrap() error { return fs.ErrNotExist }

// missingIn says of a source that is missing where it is.
func missingIn(f *plan.Files, err error) error {
	var pe *fs.PathError
	if f.FromKind == plan.FromContext || !errors.As(err, &pe) || pe.Op != "finding" || !errors.Is(pe.Err, fs.ErrNotExist) {
		return err
	}
	return &MissingError{Kind: f.FromKind, From: f.From, Path: pe.Path}
}

// fallBack copies from a stage on a golang image what only the image itself has.
func (w *worker) fallBack(ctx context.Context, stage string, src rootfs.Tree, spec transfer.Spec, missing error) error {
	from := w.stageOf(stage)
	if from.golang == "" {
		return missing
	}
	img, err := w.Bases.Image(ctx, from.golang, from.platform)
	if err != nil {
		return fmt.Errorf("%w, and image %s, which may have it, cannot be had: %w", missing, from.golang, err)
	}
	tree, err := w.imageTree(from.golang, img)
	if err != nil {
		return err
	}
	return transfer.Copy(ctx, w.fs, &either{src, tree}, spec)
}

// RunError is returned for a RUN that fails.
type RunError struct {
	// Output is the end of what it printed.
	Output []byte
	Err    error
}

func (e *RunError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RunError) Unwrap() error { return e.Err }

// subject is what a RUN is called.
func (w *worker) subject(step plan.Step) string {
	subject := "a command"
	if step.Position != nil {
		subject = step.Position.String() + " " + step.Position.Text
	}
	if len(w.target.image.Platforms) > 1 && !strings.HasSuffix(w.b.Name, forAll) {
		subject += " " + w.target.platform.String()
	}
	return subject
}

// exec is RUN.
func (w *worker) exec(ctx context.Context, step plan.Step) error {
	task := w.Progress.Start(event.Run, w.subject(step), 0)
	out := &lines{task: task, secrets: w.secretsOf(step.Run)}
	host, err := w.host(ctx, step.Run, out)
	if err == nil {
		err = script.Exec(ctx, w.fs, step.Run, host, script.Options{Final: w.chain, AllowHostExec: w.AllowHostExec})
	}
	out.flush()
	text := ""
	if release := golang.Release(step.Run.Env); release != "" && out.wentOut {
		text = "go" + release
	}
	if out.reused {
		text += ", unchanged"
	}
	task.End(err, text)
	if se := (*script.Error)(nil); errors.As(err, &se) {
		return &RunError{Output: out.tail, Err: err}
	}
	return err
}

// host is what a RUN has of the world.
func (w *worker) host(ctx context.Context, run *plan.Run, out *lines) (script.Host, error) {
	dirs, err := w.golang.Dirs(ctx)
	if err != nil && golang.Release(run.Env) != "" {
		return script.Host{}, err
	}
	stage := golang.Stage{
		Release: golang.Release(run.Env), Platform: w.b.platform, Temp: w.temp, Compiler: golang.HasCompiler(w.b.golang),
		Checkout: w.plan.Contexts[plan.BuildContext].Dir, Reused: func() { out.reused = true },
	}
	stage.Builds, _ = w.Compiler.(golang.Builds)
	for _, kv := range run.Env {
		if v, ok := strings.CutPrefix(kv, "GOTOOLCHAIN="); ok {
			stage.Toolchain = v
		}
	}
	return script.Host{
		Command: func(ctx context.Context, c script.Call) error {
			out.wentOut = out.wentOut || c.Name == "go"
			return w.golang.Run(ctx, stage, c)
		},
		Now: w.plan.Epoch, Platform: w.b.platform, Dirs: dirs, Stdout: out, Stderr: out,
		Certificates: func() ([]byte, error) {
			static, err := w.staticTree(ctx)
			if err != nil {
				return nil, err
			}
			rc, err := static.Open("/etc/ssl/certs/ca-certificates.crt")
			if err != nil {
				return nil, err
			}
			defer func() { _ = rc.Close() }()
			return io.ReadAll(rc)
		},
		Zoneinfo: func() (fs.FS, error) {
			static, err := w.staticTree(ctx)
			return treeFS{static, "/usr/share/zoneinfo"}, err
		},
		Source: func(ctx context.Context, m plan.Mount) (rootfs.Tree, error) { return w.source(ctx, m.From, m.FromKind) },
		Secret: func(_ context.Context, m plan.Mount) ([]byte, error) {
			if content, ok := w.Secrets[m.ID]; ok {
				return content, nil
			}
			return nil, fs.ErrNotExist
		},
		AgentSocket: w.agentOf(run),
	}, nil
}

// treeFS is a directory of a tree in the form of package fs.
type treeFS struct {
	tree rootfs.Tree
	dir  string
}

// Open implements fs.FS.
func (t treeFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	p, info, err := rootfs.Resolve(t.tree, path.Join(t.dir, name))
	if err == nil && info == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := &treeFile{tree: t.tree, info: *info}
	if !info.IsDir() {
		f.rc, err = t.tree.Open(p)
	}
	return f, err
}

type treeFile struct {
	tree rootfs.Tree
	info rootfs.Info
	rc   io.ReadCloser
	list []rootfs.Info
	read bool
}

func (f *treeFile) Stat() (fs.FileInfo, error) { return f.info.FileInfo(), nil }

func (f *treeFile) Read(p []byte) (int, error) {
	if f.rc == nil {
		return 0, &fs.PathError{Op: "read", Path: f.info.Path, Err: errors.New("it is a directory")}
	}
	return f.rc.Read(p)
}

func (f *treeFile) Close() error {
	if f.rc == nil {
		return nil
	}
	return f.rc.Close()
}

// ReadDir implements fs.ReadDirFile.
func (f *treeFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if !f.read {
		list, err := f.tree.ReadDir(f.info.Path)
		if err != nil {
			return nil, err
		}
		f.list, f.read = list, true
	}
	take := len(f.list)
	if n > 0 {
		if take == 0 {
			return nil, io.EOF
		}
		take = min(n, take)
	}
	var entries []fs.DirEntry
	for _, info := range f.list[:take] {
		entries = append(entries, info.DirEntry())
	}
	f.list = f.list[take:]
	return entries, nil
}
