package compile

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/plan"
)

// worker carries out one Start.
type worker struct {
	*Compiler
	platform v1.Platform
	steps    []plan.Compile
	out      *Binaries

	mu   sync.Mutex
	dirs int // that were made

	// remade are the directories of what was remembered and is compiled after
	// all, by the runs. One goroutine at a time compiles that.
	remaking sync.Mutex
	remade   map[*run]string
}

// remembered is what is kept of a binary.
type remembered struct {
	Digest      string `json:"digest"`
	Size        int64  `json:"size"`
	Interpreter string `json:"interpreter,omitempty"`
}

// lastInputs are what a package was last compiled from.
type lastInputs struct {
	Checkout string  `json:"checkout"`
	Inputs   []input `json:"inputs"`
}

// work gives out what is remembered, and compiles the rest.
func (w *worker) work(ctx context.Context) error {
	runs := group(w.steps)
	var todo []*job
	for _, r := range runs {
		if j := w.look(r); len(j.run.steps) > 0 {
			todo = append(todo, j)
		}
	}
	for _, j := range todo {
		if err := w.compile(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// job is a run of the go command for the packages that are not remembered.
type job struct {
	run *run
	// why it has to be, in a word or two.
	why string
	// inputs of the steps, where they are known.
	inputs map[int][]input
}

// look gives out those binaries of a run whose inputs are what they were when
// they were made, and returns a job for the others.
func (w *worker) look(r *run) *job {
	j := &job{run: r, inputs: map[int][]input{}}
	m, err := w.recall(w.platform, r.dir, r.settings)
	if err != nil {
		j.why = err.Error()
		return j
	}
	j.run = &run{dir: r.dir, settings: r.settings, files: r.files, wave: r.wave}
	var unchanged []string
	read := map[string]sources{}
	for _, at := range r.steps {
		step := w.steps[at]
		inputs := m.inputsOf(step, w.flags(r), read)
		j.inputs[at] = inputs
		var known remembered
		if inputs != nil && m.old.Record(binaryRecords, digestOf(inputs), &known) {
			w.reuse(r, at, known)
			unchanged = append(unchanged, step.Binary)
			continue
		}
		j.run.add(at, step)
		if j.why == "" {
			j.why = w.changed(step, inputs)
		}
	}
	if len(unchanged) > 0 {
		w.Progress.Skip(event.Compile, w.platform.String()+" "+summary(unchanged), "unchanged")
	}
	return j
}

// flags are those that the binaries of a run are built with.
func (w *worker) flags(r *run) []string {
	return buildFlags(r.settings, w.environ(w.platform, r.dir).setting("GOFLAGS"))
}

// reuse gives out a remembered binary.
func (w *worker) reuse(r *run, at int, known remembered) {
	w.out.set(at, Binary{
		Digest: known.Digest, Size: known.Size, Interpreter: known.Interpreter,
		remake: func(ctx context.Context) (string, error) { return w.remake(ctx, r, at, known) },
	})
}

// remake compiles what was remembered, with all others of its run, since they
// are likely to be missed, too.
func (w *worker) remake(ctx context.Context, r *run, at int, known remembered) (string, error) {
	w.remaking.Lock()
	defer w.remaking.Unlock()
	dir, ok := w.remade[r]
	if !ok {
		var err error
		if dir, err = w.makeDir(); err != nil {
			return "", err
		}
		if _, err := w.build(ctx, &job{run: r, why: "it is not there any more"}, dir, nil); err != nil {
			return "", err
		}
		if w.remade == nil {
			w.remade = map[*run]string{}
		}
		w.remade[r] = dir
	}
	path := filepath.Join(dir, w.steps[at].Binary)
	sum, err := sumOf(path)
	if err != nil {
		return "", fmt.Errorf("reading the binary: %w", err)
	}
	if sum != known.Digest {
		return "", fmt.Errorf("compiling %s for %s: its files changed meanwhile", args(w.steps[at])[0], w.platform)
	}
	return path, nil
}

// changed says what kept a binary from being remembered.
func (w *worker) changed(step plan.Compile, inputs []input) string {
	var last lastInputs
	switch {
	case w.Forget:
		return "asked for"
	case !w.Records.Record(inputRecords, w.lastKey(step), &last):
		return "not compiled before"
	case inputs == nil:
		return "the packages are others"
	}
	values := map[string]string{}
	for _, in := range last.Inputs {
		values[in.Name] = in.Value
	}
	for _, in := range inputs {
		if was, ok := values[in.Name]; !ok {
			return "new: " + in.Name
		} else if was != in.Value {
			return "changed: " + in.Name
		}
		delete(values, in.Name)
	}
	for _, in := range last.Inputs {
		if _, ok := values[in.Name]; ok {
			return "gone: " + in.Name
		}
	}
	return "the record is gone"
}

// compile does a job, gives out each binary when it is linked, and remembers
// them, unless an input has changed meanwhile.
func (w *worker) compile(ctx context.Context, j *job) error {
	dir, err := w.makeDir()
	if err != nil {
		return err
	}
	made := map[string]*Binary{}
	sums, err := w.build(ctx, j, dir, func(name string, b *Binary) {
		made[name] = b
		for _, at := range j.run.steps {
			if w.steps[at].Binary == name {
				w.give(j.run, at, *b)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, at := range j.run.steps {
		step := w.steps[at]
		if made[step.Binary] == nil {
			b, err := finish(filepath.Join(dir, step.Binary), sums[step.Binary], w.platform)
			if err != nil {
				return fmt.Errorf("compiling %s for %s: %w", args(step)[0], w.platform, err)
			}
			made[step.Binary] = b
		}
		w.give(j.run, at, *made[step.Binary])
	}
	w.remember(j, made)
	return nil
}

// give gives out a binary, which is compiled again should its file be deleted.
func (w *worker) give(r *run, at int, b Binary) {
	known := remembered{b.Digest, b.Size, b.Interpreter}
	b.remake = func(ctx context.Context) (string, error) { return w.remake(ctx, r, at, known) }
	w.out.set(at, b)
}

// remember notes what came out of which inputs. That it cannot, on a full disk
// for one, only makes the next build slower.
func (w *worker) remember(j *job, made map[string]*Binary) {
	m, err := w.recall(w.platform, j.run.dir, j.run.settings)
	if err != nil {
		return
	}
	read := map[string]sources{}
	for _, at := range j.run.steps {
		step := w.steps[at]
		inputs := m.inputsOf(step, w.flags(j.run), read)
		if inputs == nil || !slices.Equal(inputs, j.inputs[at]) {
			continue
		}
		b := made[step.Binary]
		_ = m.new.SetRecord(binaryRecords, digestOf(inputs), remembered{b.Digest, b.Size, b.Interpreter})
		_ = m.new.SetRecord(inputRecords, w.lastKey(step), lastInputs{step.Dir, inputs})
	}
}

// lastKey is that of the inputs that a step last had, whatever they are.
func (w *worker) lastKey(step plan.Compile) string {
	return digestOf([]string{w.platform.String(), step.Dir, mainName(step.Package, step.Files), fmt.Sprint(recordVersion)})
}

// finish checks and describes a binary, whose sum may be known.
func finish(path, sum string, p v1.Platform) (*Binary, error) {
	b, err := inspect(path, p)
	if err != nil {
		return nil, err
	}
	if b.Digest = sum; sum == "" {
		if b.Digest, err = sumOf(path); err != nil {
			return nil, fmt.Errorf("reading the binary: %w", err)
		}
	}
	return b, nil
}
