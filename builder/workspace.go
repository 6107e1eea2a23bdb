package builder

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
)

// workspace is where the stages of all targets are carried out.
type workspace struct {
	// temp has the stages' files, and all else that ends with the build.
	temp string
	// slots are for what is being carried out.
	slots chan struct{}
	// later is what nobody waits for before the end.
	later errgroup.Group

	mu     sync.Mutex
	closer []io.Closer
	// stages are those that only feed others, by what decides what they come to.
	stages map[string]func() (*outcome, error)
}

// outcome is what a stage has come to.
type outcome struct {
	tree   func() (rootfs.Tree, error)
	layers []image.Layer
}

// newWorkspace has no directory where no stage is carried out.
func (s *session) newWorkspace() (*workspace, error) {
	w := &workspace{slots: make(chan struct{}, s.Jobs), stages: map[string]func() (*outcome, error){}}
	if !slices.ContainsFunc(s.targets, target.native) {
		return w, nil
	}
	temp, err := os.MkdirTemp("", tempPrefix)
	if err == nil {
		w.temp, err = filepath.EvalSymlinks(temp) // as the go command names it
	}
	return w, err
}

// closes has something closed with the workspace.
func (w *workspace) closes(c io.Closer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closer = append(w.closer, c)
}

func (w *workspace) close() error {
	errs := []error{w.later.Wait()}
	for _, c := range w.closer {
		errs = append(errs, c.Close())
	}
	if w.temp != "" {
		errs = append(errs, removeAll(w.temp))
	}
	return errors.Join(errs...)
}

// removeAll removes a directory with all in it, also where a program, as the go
// command does, has made directories that nobody may write to.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(name, 0o700)
		}
		return err
	})
	return os.RemoveAll(dir)
}

// once has a stage that several targets have carried out once; without a key it
// is not known which those are.
func (w *workspace) once(key string, do func() (*outcome, error)) (*outcome, error) {
	if key == "" {
		return do()
	}
	w.mu.Lock()
	first, ok := w.stages[key]
	if !ok {
		first = sync.OnceValues(do)
		w.stages[key] = first
	}
	w.mu.Unlock()
	return first()
}

// each carries out the stages of a target, each as soon as those are there that it
// needs, and returns the layers of the chain.
func (c *carrier) each(ctx context.Context, stages []plan.Stage) ([]image.Layer, error) {
	g, ctx := errgroup.WithContext(ctx)
	layers := make([][]image.Layer, len(stages))
	done := map[string]chan struct{}{}
	for i, stage := range stages {
		needs := needed(stage, done)
		ready := make(chan struct{})
		done[stage.Name] = ready
		g.Go(func() (err error) {
			for _, other := range needs {
				select {
				case <-other:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			if layers[i], err = c.stage(ctx, stage); err == nil {
				close(ready)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(layers...), nil
}

// needed are those of the stages before that a stage is made from.
func needed(stage plan.Stage, before map[string]chan struct{}) []chan struct{} {
	var all []chan struct{}
	need := func(name string) {
		if other, ok := before[name]; ok {
			all = append(all, other)
		}
	}
	need(stage.Base)
	for _, step := range stage.Steps {
		switch {
		case step.Files != nil && step.Files.FromKind == plan.FromStage:
			need(step.Files.From)
		case step.Run != nil:
			for _, m := range step.Run.Mounts {
				if m.FromKind == plan.FromStage {
					need(m.From)
				}
			}
		}
	}
	return all
}
