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
//
// With Records, the go command does not run where nothing has changed. Two
// things are remembered. A graph says which packages a program consists of and
// which files are theirs; it holds for as long as no file of that kind comes or
// goes, no header of one changes (package clause, imports, constraints, embed
// patterns), and no module file does. A binary is remembered under the sum of
// all that it was compiled from. Both are compared by content, since times can
// be restored and clocks are coarse. Packages of the module cache and of a
// released standard library are what their versions say.
package compile

import (
	"context"
	"errors"
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
	// Records remember what was compiled from which files, so that the go
	// command need not run where nothing has changed. With nil it always runs.
	Records Records
	// Forget has nothing that is remembered used, but all remembered anew.
	Forget bool
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

// Build compiles the steps for a platform and checks what comes out. Where ctx
// ends the error is its cause, and the go command has ended, too.
func (c *Compiler) Build(ctx context.Context, p v1.Platform, steps []plan.Compile) (*Binaries, error) {
	b := c.Start(ctx, p, steps)
	for i := range steps {
		if _, err := b.Wait(ctx, i); err != nil {
			b.Close()
			return nil, err
		}
	}
	<-b.ended
	if b.err != nil {
		b.Close()
		return nil, b.err
	}
	return b, nil
}

// Start is Build that does not wait: binaries are there one by one.
func (c *Compiler) Start(ctx context.Context, p v1.Platform, steps []plan.Compile) *Binaries {
	ctx, cancel := context.WithCancelCause(ctx)
	b := newBinaries(len(steps))
	b.stop = cancel
	w := &worker{Compiler: c, platform: p, steps: steps, out: b}
	go func() { b.end(w.work(ctx)) }()
	return b
}
