package compile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/plan"
)

var (
	amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = v1.Platform{OS: "linux", Architecture: "arm64"}
)

// The test binary plays the go command, as fakeMode says, with fakeArg.
const (
	fakeMode = "COMPILE_TEST_GO"
	fakeArg  = "COMPILE_TEST_ARG"
)

func TestMain(m *testing.M) {
	if play, ok := fakes[os.Getenv(fakeMode)]; ok {
		os.Exit(play(os.Getenv(fakeArg), os.Args[1:]))
	}
	os.Exit(run(m))
}

// run gives the fakes a place for what they say of coverage when that is
// measured. They would complain on standard error otherwise.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "compile-test-")
	check(err)
	defer os.RemoveAll(dir)
	check(os.Setenv("GOCOVERDIR", dir))
	return m.Run()
}

// fakes return their exit status.
var fakes = map[string]func(arg string, args []string) int{
	// log notes each call in a file, and is the real go command otherwise.
	"log": func(file string, args []string) int {
		note(file, args)
		return realGo(args)
	},
	// note does that and nothing else.
	"note": func(file string, args []string) int {
		note(file, args)
		return 0
	},
	// say writes to standard error and fails: "STATUS:TEXT".
	"say": func(arg string, _ []string) int {
		status, text, _ := strings.Cut(arg, ":")
		_, err := os.Stderr.WriteString(text)
		check(err)
		n, err := strconv.Atoi(status)
		check(err)
		return n
	},
	// warn writes to standard error and is the real go command otherwise.
	"warn": func(text string, args []string) int {
		_, err := os.Stderr.WriteString(text)
		check(err)
		return realGo(args)
	},
	// copy makes the output of a file: "NAME:FILE".
	"copy": func(arg string, args []string) int {
		name, from, _ := strings.Cut(arg, ":")
		raw, err := os.ReadFile(from)
		check(err)
		put(raw, args, name)
		return 0
	},
	// twice links a binary, waits to be told over the network to go on, and links
	// it again, with something behind: "ADDR|NAME|FILE|BEHIND".
	"twice": func(arg string, args []string) int {
		f := strings.Split(arg, "|")
		raw, err := os.ReadFile(f[2])
		check(err)
		put(raw, args, f[1])
		conn, err := net.Dial("tcp", f[0])
		check(err)
		_, err = io.ReadFull(conn, make([]byte, 1))
		check(err)
		put(append(raw, f[3]...), args, f[1])
		return 0
	},
	// onebyone links one binary, waits to be told over the network to go on, and
	// links another: "ADDR|FIRST|SECOND|FILE", the file being both.
	"onebyone": func(arg string, args []string) int {
		addr, rest, _ := strings.Cut(arg, "|")
		names := strings.Split(rest, "|")
		raw, err := os.ReadFile(names[2])
		check(err)
		for i, name := range names[:2] {
			put(append(raw, byte(i)), args, name)
			if i == 0 {
				conn, err := net.Dial("tcp", addr)
				check(err)
				_, err = io.ReadFull(conn, make([]byte, 1))
				check(err)
			}
		}
		return 0
	},
	// alone fails where another one is at work on the same output.
	"alone": func(_ string, args []string) int {
		busy := filepath.Join(outputDir(args), "busy")
		check(os.Mkdir(busy, 0o700))
		status := realGo(args)
		check(os.Remove(busy))
		return status
	},
	// process is no go command, but another process that builds with "alone".
	"process": func(arg string, _ []string) int {
		var b processBuild
		check(json.Unmarshal([]byte(arg), &b))
		c := &compile.Compiler{Go: self(), Env: append(os.Environ(), fakeMode+"=alone"), Outputs: b.Outputs}
		out, err := c.Build(context.Background(), amd64, b.Steps)
		check(err)
		out.Close()
		return 0
	},
	// hang says over the network that it is there, and never ends by itself.
	// It has a child that does the same.
	"hang":       func(addr string, _ []string) int { return hang(addr, "hang-child") },
	"hang-child": func(addr string, _ []string) int { return hang(addr, "") },
	// stubborn does not end either when it is asked to.
	"stubborn": func(addr string, _ []string) int {
		signal.Ignore(os.Interrupt)
		return hang(addr, "stubborn-child")
	},
	"stubborn-child": func(addr string, _ []string) int {
		signal.Ignore(os.Interrupt)
		return hang(addr, "")
	},
	// daemon leaves a child behind that has the output open.
	"daemon": func(_ string, args []string) int {
		startChild("hang-child")
		return realGo(args)
	},
	// polite says goodbye when it is asked to end.
	"polite": func(addr string, _ []string) int {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, os.Interrupt)
		conn, err := net.Dial("tcp", addr)
		check(err)
		_, err = conn.Write([]byte("."))
		check(err)
		<-asked
		_, err = conn.Write([]byte("!"))
		check(err)
		return 1
	},
	// orphan ends when it is asked to, but its child does not.
	"orphan": func(addr string, _ []string) int { return hang(addr, "stubborn-child") },
}

type call struct{ Args, Env []string }

func note(file string, args []string) {
	raw, err := json.Marshal(call{Args: args, Env: os.Environ()})
	check(err)
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(err)
	_, err = f.Write(append(raw, '\n'))
	check(errors.Join(err, f.Close()))
}

type processBuild struct {
	Outputs string
	Steps   []plan.Compile
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
}

func self() string {
	name, err := os.Executable()
	check(err)
	return name
}

func outputDir(args []string) string { return args[slices.Index(args, "-o")+1] }

// put leaves an output as the go command does: whole, or not at all.
func put(content []byte, args []string, name string) {
	temp := filepath.Join(os.Getenv("GOTMPDIR"), name)
	check(os.WriteFile(temp, content, 0o700))
	check(os.Rename(temp, filepath.Join(outputDir(args), name)))
}

func realGo(args []string) int {
	cmd := exec.Command("go", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	check(err)
	return 0
}

// startChild starts one that keeps the standard error of its parent open.
func startChild(mode string) {
	cmd := exec.Command(self())
	cmd.Env, cmd.Stderr = append(os.Environ(), fakeMode+"="+mode), os.Stderr
	check(cmd.Start())
}

func hang(addr, child string) int {
	conn, err := net.Dial("tcp", addr)
	check(err)
	if child != "" {
		startChild(child)
	}
	_, err = conn.Write([]byte("."))
	check(err)
	_, _ = io.Copy(io.Discard, conn) // until the test ends
	return 0
}

// environ is the environment of the tests' go commands: the caches of the
// host, but none of its settings, and no network.
func environ(extra ...string) []string {
	kept := []string{"GOCACHE", "GOCOVERDIR", "GOPATH", "GOROOT"}
	var env []string
	for _, kv := range os.Environ() {
		key, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(key, "GO") && !strings.HasPrefix(key, "CGO_") || slices.Contains(kept, key) {
			env = append(env, kv)
		}
	}
	env = append(env, "GOENV=off", "GOPROXY=off", "GOTOOLCHAIN=local", "GOTELEMETRY=off")
	// A fake that is built with the race detector would wait a second at its end.
	env = append(env, "GORACE=atexit_sleep_ms=0")
	return append(env, extra...)
}

// compiler is the real go command.
func compiler(extra ...string) *compile.Compiler { return &compile.Compiler{Env: environ(extra...)} }

// fake is one of the fakes.
func fake(mode, arg string, extra ...string) *compile.Compiler {
	env := append(environ(extra...), fakeMode+"="+mode, fakeArg+"="+arg)
	return &compile.Compiler{Go: self(), Env: env}
}

// recorded is one of the fakes that note calls, and a function that returns them.
func recorded(t *testing.T, mode string, extra ...string) (*compile.Compiler, func() []call) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	return fake(mode, file, extra...), func() []call {
		t.Helper()
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var calls []call
		for line := range bytes.Lines(raw) {
			var c call
			if err := json.Unmarshal(line, &c); err != nil {
				t.Fatal(err)
			}
			calls = append(calls, c)
		}
		return calls
	}
}

// value is that of the last variable with the name, as for the go command.
func (c call) value(key string) string {
	for _, kv := range slices.Backward(c.Env) {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			return v
		}
	}
	return ""
}

// tree writes the files of a txtar archive to a new directory.
func tree(t *testing.T, archive string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	writeTree(t, dir, archive)
	return dir
}

func writeTree(t *testing.T, dir, archive string) {
	t.Helper()
	for _, f := range txtar.Parse([]byte(archive)).Files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// steps lists the packages and makes of each a step, as the command line does.
func steps(t *testing.T, c *compile.Compiler, dir string, p v1.Platform, s plan.GoSettings, patterns ...string) []plan.Compile {
	t.Helper()
	pkgs, err := c.List(t.Context(), dir, p, s, patterns)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]plan.Compile, len(pkgs))
	for i, pkg := range pkgs {
		all[i] = plan.Compile{Dir: pkg.Dir, Package: pkg.ImportPath, Files: pkg.Files, Binary: pkg.Binary, Settings: s}
	}
	return all
}

// build builds the steps; the binaries are there until the test ends.
func build(t *testing.T, c *compile.Compiler, p v1.Platform, steps []plan.Compile) []compile.Binary {
	t.Helper()
	out, err := c.Build(t.Context(), p, steps)
	if err != nil {
		logOutput(t, err)
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	return out.List
}

func logOutput(t *testing.T, err error) {
	t.Helper()
	if ce := (*compile.Error)(nil); errors.As(err, &ce) {
		t.Logf("the go command said:\n%s", ce.Output)
	}
}

// events collects what a Compiler reports.
type events struct {
	mu  sync.Mutex
	all []event.Event
}

func (e *events) add(ev event.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

// hello is a module with one program.
const hello = `
-- go.mod --
module example.com/hello

go 1.21
-- main.go --
package main

func main() { println("hello") }
`
