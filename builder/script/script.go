package script

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
)

// Class says how a command is carried out.
type Class string

// The classes. What is native is done by the host's own go command and git, or
// is the shell's; what is emulated is done by this package.
const (
	Native    Class = "native"
	Emulated  Class = "emulated"
	Container Class = "needs a container"
	// Broken is what no shell takes.
	Broken Class = "is no script"
)

// Options decide what may be done.
type Options struct {
	// Final is set for the stage that becomes the image: a package that is only
	// needed while building does not have to be there otherwise.
	Final bool
	// AllowHostExec lets code of the project run on the host: go generate, go
	// run, go test, go tool and make.
	AllowHostExec bool
}

// Finding is what Check says of one command.
type Finding struct {
	// Line in the Dockerfile, or 0 where that is not known.
	Line int
	// Command is the text, on one line.
	Command string
	Class   Class
	// Reason says why a container is needed: "a C toolchain".
	Reason string
	// Hint is what could be done instead, or empty.
	Hint string
}

func (f Finding) String() string {
	if f.Class != Container && f.Class != Broken {
		return fmt.Sprintf("%s: %s", f.Command, f.Class)
	}
	return fmt.Sprintf("%s: %s (%s)", f.Command, f.Class, f.Reason)
}

// Host is what a script needs of the world outside of its stage.
type Host struct {
	// Command runs go, git or make. An error with a method ExitCode, as an
	// *exec.ExitError has it, is the command's own, any other one ends the
	// script.
	Command func(context.Context, Call) error
	// Now is the time that the script sees.
	Now time.Time
	// Platform of the stage.
	Platform v1.Platform
	// Certificates returns the CA roots, as PEM, that a package would bring.
	Certificates func() ([]byte, error)
	// Zoneinfo returns the time zones that a package would bring.
	Zoneinfo func() (fs.FS, error)
	// Source returns what a mount shows.
	Source func(context.Context, plan.Mount) (rootfs.Tree, error)
	// Secret returns a secret, or an error that is fs.ErrNotExist.
	Secret func(context.Context, plan.Mount) ([]byte, error)
	// AgentSocket is the host's, of an ssh agent that a mount gives to git and go.
	AgentSocket string
	// Dirs are directories of the host that stand for some of the stage: the
	// caches of the go command.
	Dirs []Dir
	// Stdout and Stderr get what the script prints. They are written to from
	// several goroutines, but not at once.
	Stdout, Stderr io.Writer
}

// Dir is a directory of the host that programs use in the place of one of the
// stage.
type Dir struct{ Stage, Host string }

// Call is a run of a program of the host.
type Call struct {
	// Name is "go", "git" or "make".
	Name string
	// Args follow the name. The paths in them are the host's.
	Args []string
	// Dir is where it runs, on the host.
	Dir string
	// Root is the stage's root on the host.
	Root string
	// Env has what the stage says, KEY=VALUE, the paths in it the host's. The
	// host adds what is its own, such as PATH, HOME and where its caches are.
	Env []string
	// Stdin is nil where there is none.
	Stdin io.Reader
	// Stdout and Stderr turn the host's paths into the stage's.
	Stdout, Stderr io.Writer
}

// Error says which command of a script failed.
type Error struct {
	// Line in the Dockerfile, or 0 where that is not known.
	Line    int
	Command string
	// Status that the command ended with, or 0 where Err is not its own.
	Status int
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("RUN %s: %v", e.Command, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// RefusedError is returned for a script that Check finds fault with.
type RefusedError struct{ Findings []Finding }

func (e *RefusedError) Error() string {
	var all []string
	for _, f := range e.Findings {
		all = append(all, f.String())
	}
	return strings.Join(all, "; ")
}

// Refused are the findings with which a script is not carried out.
func Refused(all []Finding) []Finding {
	var refused []Finding
	for _, f := range all {
		if f.Class == Container || f.Class == Broken {
			refused = append(refused, f)
		}
	}
	return refused
}
