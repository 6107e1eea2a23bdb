// Package compile turns Go packages into binaries with the host's go command:
// one `go list` and one `go build` for all packages of a platform.
//
// What the go command is told comes from Compiler.Env, which is the process's
// environment where nobody says otherwise, and from the file that `go env -w`
// writes, found by that environment as the go command finds it: GOFLAGS,
// CGO_ENABLED, GOPROXY and the like have their usual effect. What would make
// the output depend on the host, or be for other machines than the image's
// platform says, is overridden: GOOS, GOARCH and the variables of the
// architecture's variant, -trimpath and -buildvcs.
package compile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/plan"
)

// Compiler runs the go command. Its zero value runs the one on PATH with the
// environment of the process. Its methods may be called from several
// goroutines.
type Compiler struct {
	// Go is the command's name or path, "go" where empty. A name is looked for
	// on the PATH of the process.
	Go string
	// Env is the environment of the command, that of the process where nil.
	Env []string
	// Outputs is the directory in which binaries stay between builds, so that
	// the go command need not link again what has not changed. Any number of
	// processes may share it. Where it is empty nothing stays.
	Outputs string
	// Offline keeps the go command from the network.
	Offline bool
	// Progress is told of each run of `go build`, and of what is downloaded.
	Progress event.Func

	// grace, unless 0, replaces defaultGrace.
	grace time.Duration
}

// Error is returned where the go command fails.
type Error struct {
	// Doing says what was going on: "compiling ./server for linux/amd64".
	Doing string
	// Output is what the go command wrote to standard error, unchanged, but
	// for the downloads, which Progress was told of.
	Output []byte
	Err    error
}

func (e *Error) Error() string { return e.Doing + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrTooOld is the cause of an Error where the go command does not know a flag
// that every release since 1.19 knows.
var ErrTooOld = errors.New("the go command is too old: 1.19 or later is needed")

// Binaries are the outputs of one Build. They stay as they are until Close,
// whatever other builds do.
type Binaries struct {
	// List is parallel to the steps that were built.
	List []Binary

	dir string
}

// Close removes the binaries.
func (b *Binaries) Close() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// Build compiles the steps for a platform and checks what comes out. Where ctx
// ends the error is its cause, and the go command has ended, too.
func (c *Compiler) Build(ctx context.Context, p v1.Platform, steps []plan.Compile) (_ *Binaries, err error) {
	dir, err := c.makeDir()
	if err != nil {
		return nil, err
	}
	out := &Binaries{List: make([]Binary, len(steps)), dir: dir}
	defer func() {
		if err != nil {
			out.Close()
		}
	}()
	for i, r := range group(steps) {
		dir := filepath.Join(dir, strconv.Itoa(i))
		if err := c.build(ctx, p, r, dir); err != nil {
			return nil, err
		}
		for _, at := range r.steps {
			b, err := inspect(filepath.Join(dir, steps[at].Binary), p)
			if err != nil {
				return nil, fmt.Errorf("compiling %s for %s: %w", args(steps[at])[0], p, err)
			}
			out.List[at] = *b
		}
	}
	return out, nil
}

// makeDir makes the directory of one Build. It is in Outputs, so that binaries
// can be linked from there.
func (c *Compiler) makeDir() (dir string, err error) {
	if c.Outputs != "" {
		if err = os.MkdirAll(c.Outputs, 0o700); err == nil {
			dir, err = os.MkdirTemp(c.Outputs, "build-")
		}
	} else {
		dir, err = os.MkdirTemp(c.environment().get("GOTMPDIR"), "stagectl-build-")
	}
	if err == nil {
		dir, err = filepath.Abs(dir) // the go command runs elsewhere
	}
	if err != nil {
		return "", fmt.Errorf("making a directory for binaries: %w", err)
	}
	return dir, nil
}

// build leaves the binaries of r in dir, which it makes.
func (c *Compiler) build(ctx context.Context, p v1.Platform, r *run, dir string) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making a directory for binaries: %w", err)
	}
	if c.Outputs == "" {
		return c.goBuild(ctx, p, r, dir, filepath.Dir(dir))
	}
	kept, err := c.open(ctx, p, r)
	if err != nil {
		return err
	}
	defer kept.close()
	for built := false; !built; {
		before := kept.present()
		if err := c.goBuild(ctx, p, r, kept.dir, filepath.Dir(dir)); err != nil {
			return err
		}
		// The second time there is nothing left to be damaged.
		if built, err = kept.verify(before); err != nil {
			return err
		}
	}
	return kept.linkTo(dir)
}

// goBuild runs `go build` with the output in dir and its work directory in tmp,
// so that what the go command leaves when it is interrupted goes with that.
func (c *Compiler) goBuild(ctx context.Context, p v1.Platform, r *run, dir, tmp string) (err error) {
	task := c.Progress.Start(event.Compile, p.String()+" "+summary(r.names), 0)
	defer func() {
		if err != nil && ctx.Err() != nil {
			task.End(ctx.Err(), "") // the cause is somebody else's failure
			return
		}
		task.End(err, "")
	}()
	doing := "compiling " + summary(r.args) + " for " + p.String()
	// On the file system of the output, which may then be renamed.
	env := c.environ(p, r.dir).with("GOTMPDIR", tmp)
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, buildFlags(r.settings, env.setting("GOFLAGS"))...)
	args = append(append(args, "--"), r.args...)
	out, err := c.run(ctx, r.dir, env, task.Message, args...)
	if err != nil {
		return &Error{Doing: doing, Output: out.stderr, Err: err}
	}
	out.eachLine(task.Message)
	return nil
}
