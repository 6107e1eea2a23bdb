package compile_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/plan"
)

// kept returns the binaries that stay in a directory of outputs.
func kept(t *testing.T, outputs string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(outputs, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var binaries []string
	for _, f := range files {
		if !strings.HasPrefix(filepath.Base(filepath.Dir(f)), "build-") {
			binaries = append(binaries, f)
		}
	}
	return binaries
}

// TestOutputsOfOneNameAreKept has programs that do not fit into one directory.
func TestOutputsOfOneNameAreKept(t *testing.T) {
	dir := tree(t, `
-- go.mod --
module example.com/m

go 1.21
-- a/server/main.go --
package main

func main() {}
-- b/server/main.go --
package main

func main() {}
`)
	c := compiler()
	c.Outputs = t.TempDir()
	s := steps(t, c, dir, amd64, plan.GoSettings{}, "./...")
	var was []os.FileInfo
	for _, b := range build(t, c, amd64, s) {
		was = append(was, stat(t, b.Path))
	}
	for i, b := range build(t, c, amd64, s) {
		if !os.SameFile(was[i], stat(t, b.Path)) {
			t.Errorf("%s was linked again, though nothing changed", s[i].Package)
		}
	}
}

// leftovers are the directories of builds that did not end.
func leftovers(t *testing.T, outputs string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(outputs, "*build-*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

func stat(t *testing.T, name string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestOutputsAreKept(t *testing.T) {
	dir := tree(t, hello)
	c := compiler()
	c.Outputs = filepath.Join(t.TempDir(), "made", "by", "build")
	s := steps(t, c, dir, host, plan.GoSettings{}, ".")
	first := build(t, c, host, s)[0]
	was := stat(t, first.Path)
	second := build(t, c, host, s)[0]
	if !os.SameFile(was, stat(t, second.Path)) {
		t.Error("the program was linked again, though nothing changed")
	}

	// What a build returned stays as it is.
	writeTree(t, dir, "-- main.go --\npackage main\n\nfunc main() { println(`changed`) }\n")
	third := build(t, c, host, s)[0]
	if got := output(t, third); got != "changed\n" {
		t.Errorf("got %q after the change", got)
	}
	if got := output(t, first); got != "hello\n" {
		t.Errorf("the binary of an earlier build says %q now", got)
	}

	// Flags decide what is made, also under the same name.
	c.Env = environ("GOFLAGS=-ldflags=-X=main.unused=1")
	if stat(t, build(t, c, host, s)[0].Path); len(kept(t, c.Outputs)) != 2 {
		t.Errorf("builds with different GOFLAGS share an output: %q", kept(t, c.Outputs))
	}
}

func TestClose(t *testing.T) {
	for name, outputs := range map[string]string{"temporary": "", "kept": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			c := compiler("GOTMPDIR=" + tmp)
			c.Outputs = outputs
			out, err := c.Build(t.Context(), amd64, steps(t, c, tree(t, hello), amd64, plan.GoSettings{}, "."))
			if err != nil {
				t.Fatal(err)
			}
			parent := outputs
			if parent == "" {
				parent = tmp
			}
			if got := len(leftovers(t, parent)); got != 1 {
				t.Errorf("%d directories of builds, want 1", got)
			}
			out.Close()
			out.Close()
			if got := leftovers(t, parent); len(got) > 0 {
				t.Errorf("%q is left", got)
			}
			if _, err := os.Stat(out.List[0].Path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the binary is left: %v", err)
			}
		})
	}
}

// TestWorkDirectory is about where the go command has its temporary files: on
// the file system of its output, which is then renamed and not copied.
func TestWorkDirectory(t *testing.T) {
	for name, outputs := range map[string]string{"temporary": "", "kept": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			c, calls := recorded(t, "log", "GOTMPDIR="+tmp)
			c.Outputs = outputs
			build(t, c, amd64, []plan.Compile{{Dir: tree(t, hello), Package: ".", Binary: "hello"}})
			want := outputs
			if want == "" {
				want = tmp
			}
			if got := calls()[0].value("GOTMPDIR"); filepath.Dir(got) != want {
				t.Errorf("GOTMPDIR is %s, want it in %s", got, want)
			}
		})
	}
}

// TestDamagedOutputs is about binaries that the go command would not look into
// or not overwrite.
func TestDamagedOutputs(t *testing.T) {
	dir := tree(t, hello)
	damage := func(t *testing.T, name string, change func([]byte) []byte) {
		t.Helper()
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, change(raw), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]func(t *testing.T, outputs, binary string){
		"a flipped bit": func(t *testing.T, _, binary string) {
			damage(t, binary, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"a missing end": func(t *testing.T, _, binary string) {
			damage(t, binary, func(b []byte) []byte { return b[:len(b)-1] })
		},
		"empty": func(t *testing.T, _, binary string) {
			damage(t, binary, func([]byte) []byte { return nil })
		},
		"something else": func(t *testing.T, _, binary string) {
			damage(t, binary, func([]byte) []byte { return []byte("something else") })
		},
		"a directory": func(t *testing.T, _, binary string) {
			if err := errors.Join(os.Remove(binary), os.MkdirAll(filepath.Join(binary, "x"), 0o700)); err != nil {
				t.Fatal(err)
			}
		},
		"no digests": func(t *testing.T, outputs, _ string) {
			for _, name := range glob(t, outputs, "*.json") {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		},
		"damaged digests": func(t *testing.T, outputs, _ string) {
			for _, name := range glob(t, outputs, "*.json") {
				damage(t, name, func(b []byte) []byte { return b[:len(b)-3] })
			}
		},
		"digests of nothing": func(t *testing.T, outputs, _ string) {
			for _, name := range glob(t, outputs, "*.json") {
				damage(t, name, func([]byte) []byte { return []byte("null") })
			}
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := compiler()
			c.Outputs = t.TempDir()
			s := steps(t, c, dir, amd64, plan.GoSettings{}, ".")
			content := func() string {
				out, err := c.Build(t.Context(), amd64, s)
				if err != nil {
					logOutput(t, err)
					t.Fatal(err)
				}
				defer out.Close()
				raw, err := os.ReadFile(out.List[0].Path)
				if err != nil {
					t.Fatal(err)
				}
				return string(raw)
			}
			want := content()
			spoil(t, c.Outputs, kept(t, c.Outputs)[0])
			if content() != want {
				t.Error("the damage came through")
			}
			if content() != want {
				t.Error("the damage came through the next time")
			}
		})
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("nothing matches %s: %v", pattern, err)
	}
	return names
}

func TestCopyFile(t *testing.T) {
	from := filepath.Join(tree(t, "-- file --\ncontent\n"), "file")
	to := filepath.Join(t.TempDir(), "copy")
	if err := compile.CopyFile(from, to); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(to); err != nil || string(raw) != "content\n" {
		t.Errorf("got %q, %v", raw, err)
	}
	if err := compile.CopyFile(from, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want %v", err, fs.ErrExist)
	}
	if err := compile.CopyFile(to+"x", to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

// TestBuildDoesNotWait has two builds that each need what the other has made,
// in different orders: neither may hold on to it.
func TestBuildDoesNotWait(t *testing.T) {
	one, two := tree(t, hello), tree(t, hello)
	c := compiler()
	c.Outputs = t.TempDir()
	s := append(steps(t, c, one, amd64, plan.GoSettings{}, "."), steps(t, c, two, amd64, plan.GoSettings{}, ".")...)
	build(t, c, amd64, s)
	build(t, c, amd64, []plan.Compile{s[1], s[0]})
}

// TestBuildsTakeTurns runs builds in this and in other processes, with a go
// command that fails where another one is at work on the same output.
func TestBuildsTakeTurns(t *testing.T) {
	dir, outputs := tree(t, hello), t.TempDir()
	s := steps(t, compiler(), dir, amd64, plan.GoSettings{}, ".")
	arg, err := json.Marshal(processBuild{Outputs: outputs, Steps: s})
	if err != nil {
		t.Fatal(err)
	}
	g, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		g.Go(func() error {
			c := fake("alone", "")
			c.Outputs = outputs
			out, err := c.Build(ctx, amd64, s)
			if ce := (*compile.Error)(nil); errors.As(err, &ce) {
				return errors.New(string(ce.Output))
			}
			if err == nil {
				out.Close()
			}
			return err
		})
		g.Go(func() error {
			cmd := exec.CommandContext(ctx, self())
			cmd.Env = append(environ(), fakeMode+"=process", fakeArg+"="+string(arg))
			out, err := cmd.CombinedOutput()
			if err != nil {
				return errors.New(string(out))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if got := leftovers(t, outputs); len(got) > 0 {
		t.Errorf("%q is left", got)
	}
}

// TestWaitingEnds cancels a build that waits for another one's go command.
func TestWaitingEnds(t *testing.T) {
	dir, outputs := tree(t, hello), t.TempDir()
	s := []plan.Compile{{Dir: dir, Package: ".", Binary: "hello"}}
	at := listen(t)
	first := fake("hang", at.addr)
	first.Outputs = outputs
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := first.Build(ctx, amd64, s)
		done <- err
	}()
	at.wait(t, 2)

	cause := errors.New("enough")
	ctx2, cancel2 := context.WithCancelCause(t.Context())
	cancel2(cause)
	second := compiler()
	second.Outputs = outputs
	if _, err := second.Build(ctx2, amd64, s); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if diff := cmp.Diff([]string(nil), leftovers(t, outputs)); diff != "" {
		t.Errorf("leftovers (-want +got):\n%s", diff)
	}
	build(t, second, amd64, s) // the lock is free
}
