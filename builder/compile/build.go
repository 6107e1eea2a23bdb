package compile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/stagectl/stagectl/builder/event"
)

// makeDir makes a directory for what comes out of one run. It is in Outputs, so
// that binaries can be linked from there.
func (w *worker) makeDir() (dir string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out.dir == "" {
		if w.out.dir, err = w.topDir(); err != nil {
			return "", fmt.Errorf("making a directory for binaries: %w", err)
		}
	}
	dir = filepath.Join(w.out.dir, strconv.Itoa(w.dirs))
	w.dirs++
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making a directory for binaries: %w", err)
	}
	return dir, nil
}

func (w *worker) topDir() (dir string, err error) {
	if w.Outputs == "" {
		dir, err = os.MkdirTemp(w.environment().get("GOTMPDIR"), "stagectl-build-")
	} else if err = os.MkdirAll(w.Outputs, 0o700); err == nil {
		dir, err = os.MkdirTemp(w.Outputs, "build-")
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir) // the go command runs elsewhere
}

// build leaves the binaries of a job in dir, and returns those of their sums
// that it knows. Binaries that are linked before the go command ends are given
// to linked meanwhile, unless that is nil.
func (w *worker) build(ctx context.Context, j *job, dir string, linked func(name string, b *Binary)) (sums map[string]string, err error) {
	if w.Outputs == "" {
		return nil, w.goBuild(ctx, j, dir, filepath.Dir(dir))
	}
	kept, err := w.open(ctx, w.platform, j.run)
	if err != nil {
		return nil, err
	}
	defer kept.close()
	err = w.buildKept(ctx, j, kept, dir, linked)
	if err != nil && ctx.Err() == nil && (!isDir(dir) || !isDir(kept.dir)) {
		// Outputs may be deleted in the middle of a build.
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(kept.dir, 0o700)); err != nil {
			return nil, fmt.Errorf("making a directory for binaries: %w", err)
		}
		err = w.buildKept(ctx, j, kept, dir, linked)
	}
	return kept.Sums, err
}

// buildKept is build with links from the last time.
func (w *worker) buildKept(ctx context.Context, j *job, kept *links, dir string, linked func(name string, b *Binary)) error {
	for {
		before := kept.present()
		early, err := w.follow(ctx, j, kept, before, dir, linked)
		if err != nil {
			return err
		}
		// The second time there is nothing left to be damaged.
		if ok, err := kept.verify(before, early); err != nil {
			return err
		} else if ok {
			return kept.linkTo(dir)
		}
	}
}

// lookInterval is how often it is looked whether another binary is linked.
const lookInterval = 5 * time.Millisecond

// follow runs the go command and gives out each binary that appears: the go
// command links in its work directory, and renames what is done.
func (w *worker) follow(ctx context.Context, j *job, kept *links, before map[string]os.FileInfo, dir string, linked func(string, *Binary)) (map[string]early, error) {
	done := make(chan error, 1)
	go func() { done <- w.goBuild(ctx, j, kept.dir, filepath.Dir(dir)) }()
	seen := map[string]early{}
	if linked == nil || !renames {
		return seen, <-done
	}
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return seen, err
		case <-ticker.C:
		}
		for _, name := range kept.names {
			info, err := os.Stat(filepath.Join(kept.dir, name))
			if err != nil || seen[name].info != nil || os.SameFile(before[name], info) {
				continue
			}
			path := filepath.Join(dir, name)
			if os.Link(filepath.Join(kept.dir, name), path) != nil {
				continue
			}
			b, err := finish(path, "", w.platform)
			if err != nil {
				_ = os.Remove(path) // what is wrong is found again in the end
				continue
			}
			seen[name] = early{info, b.Digest}
			linked(name, b)
		}
	}
}

// goBuild runs `go build` with the output in dir and its work directory in tmp,
// so that what the go command leaves when it is interrupted goes with that.
func (w *worker) goBuild(ctx context.Context, j *job, dir, tmp string) (err error) {
	r := j.run
	task := w.Progress.StartBecause(event.Compile, w.platform.String()+" "+summary(r.names), j.why)
	defer func() {
		if err != nil && ctx.Err() != nil {
			task.End(ctx.Err(), "") // the cause is somebody else's failure
			return
		}
		task.End(err, "")
	}()
	doing := "compiling " + summary(r.args) + " for " + w.platform.String()
	// On the file system of the output, which may then be renamed.
	env := w.environ(w.platform, r.dir).with("GOTMPDIR", tmp)
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, w.flags(r)...)
	args = append(append(args, "--"), r.args...)
	out, err := w.run(ctx, r.dir, env, task.Message, args...)
	if err != nil {
		return &Error{Doing: doing, Output: out.stderr, Err: err}
	}
	out.eachLine(task.Message)
	return nil
}
