package compile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/compile"
)

// stageFiles is what a stage has before its go build runs.
const stageFiles = `
-- app/go.mod --
module example.com/m

go 1.24
-- app/README.md --
read
-- app/data.txt --
embedded
-- app/cmd/a/main.go --
package main

import "example.com/m/lib"

var version = "dev"

func main() { println("a", lib.Text, version) }
-- app/cmd/b/main.go --
package main

func main() { println("b") }
-- app/lib/lib.go --
package lib

import _ "embed"

//go:embed data.txt
var Text string
-- app/lib/data.txt --
embedded
-- app/lib/more.go --
package lib

func init() { println("more") }
-- app/old/main.go --
package main

func main() { println("old") }
`

// stage is a root that is somewhere else each time, and what is remembered of the
// others.
type stage struct {
	t       *testing.T
	root    string
	args    []string
	env     []string
	trees   bool
	records *records
	outputs string
	// meanwhile, unless nil, happens when it is known what there is.
	meanwhile func()
	check     func(context.Context) error
	log       string
}

// newStage is a stage with what another one has left, unless that is nil.
func newStage(t *testing.T, before *stage, args ...string) *stage {
	t.Helper()
	s := &stage{t: t, root: tree(t, stageFiles), args: args, records: &records{values: map[string][]byte{}}, outputs: t.TempDir()}
	if before != nil {
		s.args, s.trees, s.env = before.args, before.trees, before.env
		maps.Copy(s.records.values, before.records.values)
		if err := os.CopyFS(s.outputs, os.DirFS(before.outputs)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *stage) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

func (s *stage) write(name, text string) {
	check(os.MkdirAll(filepath.Dir(s.path(name)), 0o755))
	check(os.WriteFile(s.path(name), []byte(text), 0o644))
}

func (s *stage) replace(name, old, text string) {
	raw, err := os.ReadFile(s.path(name))
	check(err)
	if !strings.Contains(string(raw), old) {
		panic(old)
	}
	s.write(name, strings.Replace(string(raw), old, text, 1))
}

func (s *stage) environ() []string {
	return append(environ("GOROOT="+goroot(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOPATH="+s.path("go")), s.env...)
}

// run is the real go command, with what is added to each call.
func (s *stage) run(root string) error {
	args := append([]string{s.args[0], "-trimpath", "-buildvcs=false"}, s.args[1:]...)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "ROOT", root)
	}
	cmd := exec.CommandContext(s.t.Context(), "go", args...)
	cmd.Dir, cmd.Env = filepath.Join(root, "app"), s.environ()
	cmd.Env = append(cmd.Env, "GOPATH="+filepath.Join(root, "go"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Logf("%s", out)
	}
	return err
}

// build is what a stage does. It tells whether the go command built, and how often
// else it was asked.
func (s *stage) build() (reused bool, listed int) {
	s.t.Helper()
	ran := false
	reused, err := s.around(func() error {
		if ran = true; s.meanwhile != nil {
			s.meanwhile()
		}
		return s.run(s.root)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if ran == reused {
		s.t.Errorf("reused is %v, and the go command ran: %v", reused, ran)
	}
	raw, _ := os.ReadFile(s.log)
	return reused, strings.Count(string(raw), "\n")
}

func (s *stage) around(run func() error) (bool, error) {
	s.log = filepath.Join(s.t.TempDir(), "log")
	c := fake("log", s.log)
	c.Records, c.Outputs = s.records, s.outputs
	call := &compile.Call{
		Root: s.root, Go: c.Go, Env: append(append(s.environ(), fakeMode+"=log", fakeArg+"="+s.log), s.env...), Dir: s.path("app"),
		Checkout: "/context", Downloading: func(string) {}, Check: s.check,
	}
	for i, a := range s.args {
		a = strings.ReplaceAll(a, "ROOT", s.root)
		call.Args = append(call.Args, a)
		value, ok := strings.CutPrefix(a, "-o=")
		switch {
		case ok && strings.HasSuffix(value, "/"):
			call.OutDir = filepath.Clean(value)
		case ok:
			call.File = value
		case strings.HasPrefix(a, "-ldflags="):
			call.LDFlags = strings.TrimPrefix(a, "-ldflags=")
		case i > 0 && !strings.HasPrefix(a, "-"):
			call.Packages = append(call.Packages, a)
		}
	}
	if s.trees {
		call.Trees = []string{s.path("app"), s.path("go/src")}
	}
	return c.Around(s.t.Context(), call, func(context.Context) error { return run() })
}

// programs are the sums of what is in /out.
func (s *stage) programs(root string) map[string]string {
	all := map[string]string{}
	entries, _ := os.ReadDir(filepath.Join(root, "out"))
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(root, "out", e.Name()))
		check(err)
		all[e.Name()] = string(raw)
	}
	return all
}

// anew is what the go command makes of a copy of the stage, with nothing remembered.
func (s *stage) anew() map[string]string {
	s.t.Helper()
	root, err := filepath.EvalSymlinks(s.t.TempDir())
	check(err)
	check(os.CopyFS(root, os.DirFS(s.root)))
	if err := s.run(root); err != nil {
		s.t.Fatal(err)
	}
	return s.programs(root)
}

// What a stage's go build makes is what the go command would make, wherever the
// stage is, and without it where nothing of that has changed.
func TestAround(t *testing.T) {
	one := newStage(t, nil, "build", "-o=ROOT/out/a", "./cmd/a")
	if reused, _ := one.build(); reused {
		t.Fatal("nothing was there to reuse")
	}
	all := newStage(t, nil, "build", "-o=ROOT/out/", "./...")
	all.build()
	trees := newStage(t, nil, "build", "-o=ROOT/out/a", "./cmd/a")
	trees.trees = true
	trees.build()
	tests := []struct {
		name   string
		before *stage
		change func(s *stage)
		reused bool
		listed int
	}{
		{"nothing", one, func(*stage) {}, true, 0},
		{"nothing, several", all, func(*stage) {}, true, 0},
		{"nothing, trees", trees, func(*stage) {}, true, 0},
		{"a file that is no input", one, func(s *stage) { s.write("app/README.md", "x") }, true, 0},
		{"a program that is not built", one, func(s *stage) { s.write("app/cmd/b/main.go", "package main") }, true, 0},
		{"a file that is no input, trees", trees, func(s *stage) { s.write("app/README.md", "x") }, true, 0},

		{"the program", one, func(s *stage) { s.replace("app/cmd/a/main.go", "dev", "new") }, false, 0},
		{"the program, several", all, func(s *stage) { s.replace("app/cmd/a/main.go", "dev", "new") }, false, 0},
		{"the program, trees", trees, func(s *stage) { s.replace("app/cmd/a/main.go", "dev", "new") }, false, 0},
		{"an embedded file", one, func(s *stage) { s.write("app/lib/data.txt", "other") }, false, 0},
		{"a new file", one, func(s *stage) { s.write("app/lib/new.go", "package lib\n\nfunc init() { println(1) }\n") }, false, 1},
		{"a new file, trees", trees, func(s *stage) { s.write("app/lib/new.go", "package lib\n\nfunc init() { println(1) }\n") }, false, 0},
		{"a file is gone", one, func(s *stage) { check(os.Remove(s.path("app/lib/more.go"))) }, false, 1},
		{"a file is gone, trees", trees, func(s *stage) { check(os.Remove(s.path("app/lib/more.go"))) }, false, 0},
		{"a new program", all, func(s *stage) { s.write("app/cmd/c/main.go", "package main\n\nfunc main() {}\n") }, false, 2},
		{"a program is gone", all, func(s *stage) { check(os.RemoveAll(s.path("app/old"))) }, false, 1},
		{"go.mod", one, func(s *stage) { s.replace("app/go.mod", "1.24", "1.23") }, false, 1},
		{"go.mod, trees", trees, func(s *stage) { s.replace("app/go.mod", "1.24", "1.23") }, false, 0},
		{"flags", one, func(s *stage) { s.args = append([]string{"build", "-ldflags=-X main.version=2"}, s.args[1:]...) }, false, 0},
		{"flags, trees", trees, func(s *stage) { s.args = append([]string{"build", "-ldflags=-X main.version=2"}, s.args[1:]...) }, false, 0},
		{"a variable", one, func(s *stage) { s.env = []string{"GOARCH=arm64"} }, false, 2},
		{"a variable, trees", trees, func(s *stage) { s.env = []string{"GOARCH=arm64"} }, false, 0},
		{"flags of a variable", one, func(s *stage) { s.env = []string{"GOFLAGS=-ldflags=-s"} }, false, 2},
		{"a workspace", one, func(s *stage) { s.write("go.work", "go 1.24\n\nuse ./app\n") }, false, 1},
		{"damage of what is kept", one, func(s *stage) { damage(s.outputs) }, false, 0},
		{"damage of what is kept of several", all, func(s *stage) { damage(s.outputs); s.replace("app/cmd/a/main.go", "dev", "new") }, false, 0},
		{"what is kept is gone", one, func(s *stage) { check(os.RemoveAll(s.outputs)) }, false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t, tt.before)
			s.t = t
			tt.change(s)
			want := s.anew()
			reused, listed := s.build()
			if reused != tt.reused || listed != tt.listed {
				t.Errorf("reused is %v and the go command was asked %d times, want %v, %d", reused, listed, tt.reused, tt.listed)
			}
			got := s.programs(s.root)
			if len(want) == 0 || !maps.Equal(got, want) {
				t.Errorf("something else came out: %d programs, want %d", len(got), len(want))
			}
			// And what was made now is what is remembered.
			again := newStage(t, s)
			again.root = elsewhere(t, s)
			if reused, _ := again.build(); !reused {
				t.Error("it was not remembered")
			}
		})
	}
}

// elsewhere is a copy of a stage without what was built.
func elsewhere(t *testing.T, s *stage) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	check(err)
	check(os.CopyFS(root, os.DirFS(s.root)))
	check(os.RemoveAll(filepath.Join(root, "out")))
	return root
}

// damage changes a byte in all programs that are kept.
func damage(dir string) {
	names, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	check(err)
	for _, name := range names {
		raw, err := os.ReadFile(name)
		check(err)
		raw[len(raw)/2] ^= 1
		check(os.WriteFile(name, raw, 0o700))
	}
	if len(names) == 0 {
		panic("nothing is kept")
	}
}

// Of several programs, those that have not changed are there when the go command
// runs, and gone again where it fails.
func TestAroundLinksTheRest(t *testing.T) {
	before := newStage(t, nil, "build", "-o=ROOT/out/", "./...")
	before.build()
	s := newStage(t, before)
	s.replace("app/cmd/a/main.go", "dev", "new")
	had := placedBy(s, nil)
	if diff := cmp.Diff([]string{"a", "b", "old"}, had); diff != "" {
		t.Errorf("there are (-want +got):\n%s", diff)
	}
	s = newStage(t, before)
	s.replace("app/cmd/a/main.go", "dev", "new")
	placedBy(s, context.DeadlineExceeded)
	if left := s.programs(s.root); len(left) > 0 {
		t.Errorf("%d programs are left", len(left))
	}
}

// placedBy are the programs that are there when the go command is about to run.
func placedBy(s *stage, fails error) (names []string) {
	_, err := s.around(func() error {
		entries, _ := os.ReadDir(s.path("out"))
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return fails
	})
	if err != fails { //nolint:errorlint // it is the same
		s.t.Errorf("got error %v, want %v", err, fails)
	}
	return names
}

// What was made of something else than what was there before is not remembered.
func TestAroundOfAChangeMeanwhile(t *testing.T) {
	s := newStage(t, nil, "build", "-o=ROOT/out/a", "./cmd/a")
	s.meanwhile = func() { s.replace("app/lib/more.go", "more", "less") }
	s.build()
	again := newStage(t, s)
	if reused, _ := again.build(); reused {
		t.Error("it was remembered")
	}
}

// Outside of modules a package may import one above it, which is in no tree.
func TestAroundOfImportsAbove(t *testing.T) {
	var before *stage
	for _, tt := range []struct {
		imports, other string
		reused         bool
	}{
		{"import _ `../other`", "1", false},
		{"import _ `../other`", "2", false},
		{"", "3", false},
		{"", "4", true},
	} {
		s := newStage(t, before, "build", "-o=ROOT/out/a")
		s.trees, s.env = true, []string{"GO111MODULE=off"}
		check(os.RemoveAll(s.path("app")))
		s.write("app/main.go", "package main\n\n"+tt.imports+"\n\nfunc main() {}\n")
		s.write("other/other.go", "package other\n\nfunc init() { println("+tt.other+") }\n")
		if reused, _ := s.build(); reused != tt.reused {
			t.Errorf("%+v: reused is %v", tt, reused)
		}
		before = s
	}
}

// What a call has to pass is asked where its packages may be others, even where
// nothing that is compiled has changed, and only there.
func TestAroundChecks(t *testing.T) {
	unchecked := newStage(t, nil, "build", "-o=ROOT/out/a", "./cmd/a")
	unchecked.build()
	before := newStage(t, nil, "build", "-o=ROOT/out/a", "./cmd/a")
	before.check = func(context.Context) error { return nil }
	before.build()
	more := func(s *stage) { s.write("app/lib/c.go", "package lib\n\nimport \"C\"\n") }
	listed := newStage(t, before)
	listed.check = nil
	more(listed)
	listed.build()
	tests := []struct {
		name   string
		before *stage
		change func(s *stage)
		want   string
	}{
		{"known, but not checked", listed, func(s *stage) { more(s); s.replace("app/lib/more.go", "more", "less") }, "checked"},
		{"nothing", before, func(*stage) {}, "reused"},
		{"it was made without", unchecked, func(*stage) {}, "checked"},
		{"what is compiled", before, func(s *stage) { s.replace("app/lib/more.go", "more", "less") }, "ran"},
		{"what may be compiled", before, more, "checked"},
		{"what is not known", before, func(s *stage) { s.env = []string{"GOFLAGS=-toolexec="} }, "checked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t, tt.before)
			s.t = t
			tt.change(s)
			no := errors.New("no")
			s.check = func(context.Context) error { return no }
			ran := false
			reused, err := s.around(func() error {
				ran = true
				return nil
			})
			got := "checked"
			switch {
			case ran:
				got = "ran"
			case reused:
				got = "reused"
			case !errors.Is(err, no):
				got = fmt.Sprint(err)
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
