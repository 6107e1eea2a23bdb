package compile_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/plan"
)

// records is a Records in memory.
type records struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (r *records) Record(kind, key string, value any) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	raw, ok := r.values[kind+" "+key]
	return ok && json.Unmarshal(raw, value) == nil
}

func (r *records) SetRecord(kind, key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.values == nil {
		r.values = map[string][]byte{}
	}
	r.values[kind+" "+key] = raw
	return nil
}

// project has a program with everything that a program can be made of.
const project = `
-- go.mod --
module example.com/m

go 1.24

require (
	example.com/other v0.0.0
	example.com/vendored v1.0.0
)

replace example.com/other => ../other
-- main/main.go --
package main

import (
	_ "embed"

	"example.com/m/lib"
	"example.com/other"
)

//go:embed data/*.txt
var data embed.FS

//go:embed all:assets
var assets embed.FS

var version = "dev"

func main() { println(lib.Text, other.Text, version, count(data), count(assets)) }
-- main/count.go --
package main

import "embed"

func count(fs embed.FS) int {
	entries, _ := fs.ReadDir("data")
	more, _ := fs.ReadDir("assets")
	return len(entries) + len(more)
}
-- main/linked.go --
package main
-- main/data/a.txt --
a
-- main/assets/b/c --
c
-- lib/lib.go --
package lib

const Text = "one"
-- lib/lib_arm64.go --
package lib

const Arm = 1
-- tagged/tagged.go --
package tagged
-- ../other/go.mod --
module example.com/other

go 1.24
-- ../other/other.go --
package other

const Text = "other"
`

// checkout is a project, and a compiler that remembers.
type checkout struct {
	dir      string
	patterns []string
	env      []string
	settings plan.GoSettings
	platform v1.Platform
	records  *records
	outputs  string
	forget   bool
	calls    func() []call
	compiler func() *compile.Compiler
}

func newCheckout(t *testing.T) *checkout {
	t.Helper()
	dir := filepath.Join(tree(t, ""), "project")
	text := strings.Replace(project, "\t_ \"embed\"\n", "\t\"embed\"\n", 1)
	text = strings.Replace(text, "\texample.com/vendored v1.0.0\n", "", 1)
	writeTree(t, dir, text)
	o := &checkout{
		dir: dir, patterns: []string{"./main"}, platform: amd64, records: &records{}, outputs: t.TempDir(),
		env: []string{"GOROOT=" + goroot()},
	}
	log := filepath.Join(t.TempDir(), "log")
	o.compiler = func() *compile.Compiler {
		c := fake("log", log, o.env...)
		c.Records, c.Outputs, c.Forget = o.records, o.outputs, o.forget
		return c
	}
	o.calls = func() []call {
		raw, err := os.ReadFile(log)
		if err != nil {
			return nil
		}
		check(os.Remove(log))
		var calls []call
		for line := range bytes.Lines(raw) {
			var c call
			check(json.Unmarshal(line, &c))
			calls = append(calls, c)
		}
		return calls
	}
	return o
}

// build lists and builds, and returns the digests or the error.
func (o *checkout) build(t *testing.T, c *compile.Compiler) string {
	t.Helper()
	pkgs, err := c.List(t.Context(), o.dir, o.platform, o.settings, o.patterns)
	if err != nil {
		return "error: " + err.Error()
	}
	var all []plan.Compile
	for _, p := range pkgs {
		all = append(all, plan.Compile{Dir: p.Dir, Package: p.ImportPath, Files: p.Files, Binary: p.Binary, Settings: o.settings})
	}
	out, err := c.Build(t.Context(), o.platform, all)
	if err != nil {
		return "error: " + err.Error()
	}
	defer out.Close()
	var digests []string
	for i, b := range out.List {
		digests = append(digests, all[i].Binary+" "+b.Digest)
	}
	return strings.Join(digests, "\n")
}

// commands are the go commands that were run, by their first words.
func (o *checkout) commands() string {
	var words []string
	for _, c := range o.calls() {
		words = append(words, c.Args[0])
	}
	return strings.Join(words, " ")
}

// anew is what the real go command makes, which remembers nothing of ours.
func (o *checkout) anew(t *testing.T) string {
	t.Helper()
	return o.build(t, compiler(o.env...))
}

func (o *checkout) path(name string) string { return filepath.Join(o.dir, filepath.FromSlash(name)) }

func (o *checkout) write(name, text string) {
	check(os.MkdirAll(filepath.Dir(o.path(name)), 0o755))
	check(os.WriteFile(o.path(name), []byte(text), 0o644))
}

func (o *checkout) replace(name, old, text string) {
	raw, err := os.ReadFile(o.path(name))
	check(err)
	if !bytes.Contains(raw, []byte(old)) {
		panic(old)
	}
	check(os.WriteFile(o.path(name), bytes.Replace(raw, []byte(old), []byte(text), 1), 0o644))
}

// link makes a link of main/linked.go to one of two files that differ.
func (o *checkout) link(to string) {
	for name, text := range map[string]string{"one": "1", "two": "2"} {
		o.write("links/"+name, "package main\n\nfunc init() { println("+text+") }\n")
	}
	check(os.RemoveAll(o.path("main/linked.go")))
	check(os.Symlink("../links/"+to, o.path("main/linked.go")))
}

// goroot is that of the go command.
var goroot = sync.OnceValue(func() string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	check(err)
	return strings.TrimSpace(string(out))
})

// root makes a GOROOT that is the real one but for its VERSION.
func root(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(goroot())
	check(err)
	for _, e := range entries {
		if e.Name() != "VERSION" {
			check(os.Symlink(filepath.Join(goroot(), e.Name()), filepath.Join(dir, e.Name())))
		}
	}
	version, err := os.ReadFile(filepath.Join(goroot(), "VERSION"))
	check(err)
	check(os.WriteFile(filepath.Join(dir, "VERSION"), append(version, "another build\n"...), 0o600))
	return dir
}

// What is the same is not compiled again; what is not, is, and comes out as
// if nothing had ever been remembered.
func TestMemory(t *testing.T) {
	const (
		nothing  = ""
		compiles = "build"           // the packages are the same
		lists    = "list build"      // they may be others
		looks    = "list"            // they are not, and nothing that is compiled changed
		again    = "list list build" // there are new ones, which may have changed meanwhile
	)
	tests := []struct {
		name   string
		change func(t *testing.T, o *checkout)
		want   string
		why    string
	}{
		{"nothing", func(*testing.T, *checkout) {}, nothing, ""},
		{"times only", func(_ *testing.T, o *checkout) {
			check(os.Chtimes(o.path("main/main.go"), time.Unix(1, 0), time.Unix(1, 0)))
		}, nothing, ""},
		{"same content again", func(_ *testing.T, o *checkout) { o.replace("main/main.go", "dev", "dev") }, nothing, ""},
		{"a file that is no input", func(_ *testing.T, o *checkout) { o.write("main/README.md", "x") }, nothing, ""},
		{"a test", func(_ *testing.T, o *checkout) { o.write("main/x_test.go", "package main") }, nothing, ""},
		{"a package that is not imported", func(_ *testing.T, o *checkout) { o.write("tagged/tagged.go", "package tagged // x") }, nothing, ""},

		{"the program", func(_ *testing.T, o *checkout) { o.replace("main/main.go", "dev", "new") }, compiles, "changed: main/main.go"},
		{"a package of it", func(_ *testing.T, o *checkout) { o.replace("lib/lib.go", "one", "two") }, compiles, "changed: lib/lib.go"},
		{"within the clock's resolution", func(_ *testing.T, o *checkout) {
			info, err := os.Stat(o.path("lib/lib.go"))
			check(err)
			o.replace("lib/lib.go", "one", "two")
			check(os.Chtimes(o.path("lib/lib.go"), info.ModTime(), info.ModTime()))
		}, compiles, "changed: lib/lib.go"},
		{"an old time restored", func(_ *testing.T, o *checkout) {
			o.replace("main/main.go", "dev", "old")
			check(os.Chtimes(o.path("main/main.go"), time.Unix(1, 0), time.Unix(1, 0)))
		}, compiles, "changed: main/main.go"},
		{"replaced code", func(_ *testing.T, o *checkout) { o.replace("../other/other.go", "other\"", "it\"") }, compiles, "changed: ../other/other.go"},
		{"a link led elsewhere", func(_ *testing.T, o *checkout) { o.link("two") }, compiles, "changed: main/linked.go"},

		{"an embedded file", func(_ *testing.T, o *checkout) { o.write("main/data/a.txt", "b") }, compiles, "changed: main/data/a.txt"},
		{"a new match of a pattern", func(_ *testing.T, o *checkout) { o.write("main/data/b.txt", "b") }, lists, "new: main/data/b.txt"},
		{"a new file in an embedded directory", func(_ *testing.T, o *checkout) { o.write("main/assets/b/.d", "d") }, lists, "new: main/assets/b/.d"},
		{"an embedded file is gone", func(_ *testing.T, o *checkout) {
			o.write("main/assets/e", "e")
			check(os.RemoveAll(o.path("main/assets/b")))
		}, lists, "new: main/assets/e"},
		{"other patterns", func(_ *testing.T, o *checkout) { o.replace("main/main.go", "data/*.txt", "data/a.txt") }, again, "changed: main/main.go"},

		{"a new file", func(_ *testing.T, o *checkout) { o.write("main/new.go", "package main\n\nfunc init() { println() }\n") }, lists, "new: main/new.go"},
		{"a new file of another system", func(_ *testing.T, o *checkout) { o.write("main/x_windows.go", "package main\n") }, looks, ""},
		{"a file is gone", func(_ *testing.T, o *checkout) {
			o.write("lib/more.go", "package lib\n")
			o.build(t, o.compiler())
			o.calls()
			check(os.Remove(o.path("lib/more.go")))
		}, looks, ""}, // it was like this before
		{"an import", func(_ *testing.T, o *checkout) {
			o.replace("lib/lib.go", "package lib", "package lib\n\nimport _ \"example.com/m/tagged\"")
		}, again, "changed: lib/lib.go"},
		{"a constraint", func(_ *testing.T, o *checkout) {
			o.replace("main/count.go", "package main", "//go:build linux\n\npackage main")
		}, lists, "changed: main/count.go"},
		{"a constraint that excludes", func(_ *testing.T, o *checkout) {
			o.replace("lib/lib_arm64.go", "package lib", "//go:build never\n\npackage lib")
		}, looks, ""},
		{"a profile", func(_ *testing.T, o *checkout) { o.write("lib/default.pgo", "") }, lists, "new: lib/default.pgo"},
		{"a module in between", func(_ *testing.T, o *checkout) { o.write("lib/go.mod", "module example.com/m/lib\n") }, lists, "the packages are others"},

		{"go.mod", func(_ *testing.T, o *checkout) { o.replace("go.mod", "go 1.24", "go 1.25") }, lists, "changed: go.mod"},
		{"the go.mod of replaced code", func(_ *testing.T, o *checkout) { o.replace("../other/go.mod", "go 1.24", "go 1.23") }, lists, "changed: ../other/go.mod"},
		{"go.sum", func(_ *testing.T, o *checkout) { o.write("go.sum", "\n") }, lists, "changed: go.sum"},
		{"a workspace", func(_ *testing.T, o *checkout) { o.write("../go.work", "go 1.25\n\nuse ./project\n") }, lists, "new: ../go.work"},
		{"vendored code", func(_ *testing.T, o *checkout) {
			o.write("vendor/modules.txt", "# example.com/other v0.0.0 => ../other\n## explicit; go 1.24\nexample.com/other\n# example.com/other => ../other\n")
			o.write("vendor/example.com/other/other.go", "package other\n\nconst Text = \"vendored\"\n")
		}, again, "new: vendor/example.com/other/other.go"},

		{"tags", func(_ *testing.T, o *checkout) { o.settings.Tags = "x" }, again, "changed: flags"},
		{"linker flags", func(_ *testing.T, o *checkout) { o.settings.LDFlags = "-X main.version=2" }, compiles, "changed: flags"},
		{"debug", func(_ *testing.T, o *checkout) { o.settings.Debug = true }, compiles, "changed: flags"},
		{"another platform", func(_ *testing.T, o *checkout) { o.platform = arm64 }, again, "not compiled before"},
		{"GOFLAGS", func(_ *testing.T, o *checkout) { o.env = append(o.env, "GOFLAGS=-gcflags=-N") }, again, "new: GOFLAGS"},
		{"go env -w", func(t *testing.T, o *checkout) {
			file := filepath.Join(t.TempDir(), "env")
			check(os.WriteFile(file, []byte("GOFLAGS=-gcflags=-N\n"), 0o600))
			o.env = append(o.env, "GOENV="+file)
		}, again, "changed: GOENV"},
		{"another toolchain", func(t *testing.T, o *checkout) { o.env = append(o.env, "GOROOT="+root(t)) }, again, "changed: GOROOT"},
		{"cgo", func(_ *testing.T, o *checkout) { o.env = append(o.env, "CGO_ENABLED=1") }, "list build", "cgo is on, and the C compiler and its libraries are no Go files"},
		{"an overlay", func(_ *testing.T, o *checkout) {
			o.write("overlay.json", "{}")
			o.env = append(o.env, "GOFLAGS=-overlay="+o.path("overlay.json"))
		}, "list build", "GOFLAGS has -overlay"},
		{"forget", func(_ *testing.T, o *checkout) { o.forget = true }, again, "asked for"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newCheckout(t)
			o.link("one")
			first := o.build(t, o.compiler())
			if strings.HasPrefix(first, "error") {
				t.Fatal(first)
			}
			if got := o.commands(); got != "list list build" {
				t.Fatalf("the first build ran %q", got)
			}
			tt.change(t, o)
			var events events
			c := o.compiler()
			c.Progress = events.add
			got := o.build(t, c)
			if ran := o.commands(); ran != tt.want {
				t.Errorf("ran %q, want %q", ran, tt.want)
			}
			if want := o.anew(t); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if changed := got != first; changed && !strings.Contains(tt.want, "build") {
				t.Errorf("the change made a difference")
			}
			if why := events.why(); why != tt.why {
				t.Errorf("why: %q, want %q", why, tt.why)
			}
			again := o.build(t, o.compiler())
			if ran := o.commands(); again != got || !o.forget && !strings.HasPrefix(tt.why, "cgo") && tt.name != "an overlay" && ran != "" && !strings.HasPrefix(got, "error") {
				t.Errorf("the next build ran %q and made %s", ran, again)
			}
		})
	}
}

// why is the reason that was told for compiling.
func (e *events) why() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		if ev.Phase == event.Compile && ev.State == event.Started {
			return ev.Text
		}
	}
	return ""
}

// Patterns stand for other packages when there are other packages.
func TestMemoryOfPatterns(t *testing.T) {
	const main = "package main\n\nfunc main() { println(1) }\n"
	tests := []struct {
		name   string
		change func(o *checkout)
		want   []string // the binaries
		ran    string
	}{
		{"nothing", func(*checkout) {}, []string{"one", "main"}, ""},
		{"a directory without packages", func(o *checkout) { o.write("cmd/doc/x.md", "") }, []string{"one", "main"}, "list"},
		{"a new program", func(o *checkout) { o.write("cmd/two/main.go", main) }, []string{"one", "two", "main"}, "list list build"},
		{"one less", func(o *checkout) { check(os.RemoveAll(o.path("cmd/one"))) }, []string{"main"}, "list"},
		{"a library becomes a program", func(o *checkout) { o.write("cmd/lib/lib.go", main) }, []string{"lib", "one", "main"}, "list build"},
		{"a program becomes a library", func(o *checkout) { o.write("cmd/one/main.go", "package one\n") }, []string{"main"}, "list"},
		{"an empty package", func(o *checkout) { o.write("cmd/two/main_test.go", "package two\n") }, []string{"one", "main"}, "list list"},
		{"testdata", func(o *checkout) { o.write("cmd/testdata/main.go", main) }, []string{"one", "main"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newCheckout(t)
			o.write("cmd/one/main.go", main)
			o.write("cmd/lib/lib.go", "package lib\n")
			o.patterns = []string{"./..."}
			if got := o.build(t, o.compiler()); strings.HasPrefix(got, "error") {
				t.Fatal(got)
			}
			o.calls()
			tt.change(o)
			got := o.build(t, o.compiler())
			var names []string
			for line := range strings.Lines(got) {
				names = append(names, strings.Fields(line)[0])
			}
			if !slices.Equal(names, tt.want) {
				t.Errorf("built %q, want %q", names, tt.want)
			}
			if ran := o.commands(); ran != tt.ran {
				t.Errorf("ran %q, want %q", ran, tt.ran)
			}
			if want := o.anew(t); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// Of many programs, only those are compiled that have to be.
func TestMemoryOfOneOfMany(t *testing.T) {
	o := newCheckout(t)
	for _, name := range []string{"a", "b", "c"} {
		o.write("cmd/"+name+"/main.go", "package main\n\nfunc main() { println(1) }\n")
	}
	o.patterns = []string{"./cmd/..."}
	o.build(t, o.compiler())
	o.calls()
	o.replace("cmd/b/main.go", "1", "2")
	got := o.build(t, o.compiler())
	calls := o.calls()
	if len(calls) != 1 || !slices.Equal(calls[0].Args[len(calls[0].Args)-2:], []string{"--", "example.com/m/cmd/b"}) {
		t.Errorf("ran %q", calls)
	}
	if want := o.anew(t); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A binary that is remembered is compiled when somebody wants its content.
func TestMemoryOpen(t *testing.T) {
	for _, outputs := range []string{"kept", "lost"} {
		t.Run(outputs, func(t *testing.T) {
			o := newCheckout(t)
			want := o.build(t, o.compiler())
			if outputs == "lost" {
				check(os.RemoveAll(o.outputs))
			}
			o.calls()
			c := o.compiler()
			s := steps(t, c, o.dir, amd64, plan.GoSettings{}, "./main")
			b := build(t, c, amd64, s)[0]
			if ran := o.commands(); ran != "" || b.Path != "" {
				t.Errorf("ran %q, path %q", ran, b.Path)
			}
			for range 2 {
				rc, err := b.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				digest, size, err := v1.SHA256(rc)
				if err := rc.Close(); err != nil {
					t.Fatal(err)
				}
				if err != nil || "main "+digest.Hex != want || size != b.Size {
					t.Errorf("content %s, %d bytes, %v, want %s", digest, size, err, want)
				}
			}
			if ran := o.commands(); ran != "build" {
				t.Errorf("ran %q", ran)
			}
			o.replace("main/main.go", "dev", "new")
			b = build(t, c, amd64, s)[0]
			rc, err := b.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, rc); err != nil {
				t.Error(err)
			}
			rc.Close()
		})
	}
}

// What is remembered and cannot be made again is not made of something else.
func TestMemoryOpenChanged(t *testing.T) {
	o := newCheckout(t)
	o.build(t, o.compiler())
	c := o.compiler()
	b := build(t, c, amd64, steps(t, c, o.dir, amd64, plan.GoSettings{}, "./main"))[0]
	o.replace("main/main.go", "dev", "new")
	_, err := b.Open(t.Context())
	if err == nil || !strings.Contains(err.Error(), "its files changed meanwhile") {
		t.Errorf("got %v", err)
	}
}

// A file that changes while the go command runs makes nothing be remembered.
func TestMemoryOfAChangeMeanwhile(t *testing.T) {
	o := newCheckout(t)
	o.build(t, o.compiler())
	o.replace("main/main.go", "dev", "new")
	c := o.compiler()
	c.Progress = func(e event.Event) {
		if e.Phase == event.Compile && e.State == event.Started {
			o.replace("main/main.go", "new", "newer")
		}
	}
	o.build(t, c)
	o.replace("main/main.go", "newer", "new")
	if got, want := o.build(t, o.compiler()), o.anew(t); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Credentials in settings do not end up in records.
func TestMemoryKeepsNoSecrets(t *testing.T) {
	o := newCheckout(t)
	o.env = append(o.env, "GOPROXY=off", "GONOSUMDB=s3cret-value", "GOOGLE_API_KEY=s3cret-value", "CGO_CFLAGS=-Ds3cret-value")
	o.settings.LDFlags = "-X main.version=s3cret-value"
	o.build(t, o.compiler())
	if len(o.records.values) == 0 {
		t.Fatal("nothing is remembered")
	}
	for key, value := range o.records.values {
		if strings.Contains(key+string(value), "s3cret") {
			t.Errorf("%s: %s", key, value)
		}
	}
}
