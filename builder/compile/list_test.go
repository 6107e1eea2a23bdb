package compile_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/plan"
)

// repository has packages of every kind.
const repository = `
-- m/go.mod --
module example.com/m

go 1.21
-- m/main.go --
package main

func main() { util() }
-- m/util.go --
package main

func util() {}
-- m/cmd/a/server/main.go --
package main

func main() {}
-- m/cmd/b/server/main.go --
package main

func main() {}
-- m/cmd/tool/v2/main.go --
package main

func main() {}
-- m/lib/lib.go --
package lib
-- m/lib/sub/sub.go --
package sub
-- m/tests/only_test.go --
package tests
-- m/tagged/main.go --
//go:build special

package main

func main() {}
-- m/arm/main_linux_arm64.go --
package main

func main() {}
-- m/dir.go/main.go --
package main

func main() {}
-- m/scripts/one.go --
package main

func main() {}
-- m/scripts/two_test.go --
package main
-- m/nested/go.mod --
module example.com/nested

go 1.21
-- m/nested/main.go --
package main

func main() {}
-- m/nested/cmd/deep/main.go --
package main

func main() {}
`

const workspace = `
-- space/go.work --
go 1.21

use (
	./one
	./two
)
-- space/one/go.mod --
module example.com/one

go 1.21
-- space/one/main.go --
package main

import "example.com/two/lib"

func main() { lib.F() }
-- space/two/go.mod --
module example.com/two

go 1.21
-- space/two/main.go --
package main

func main() {}
-- space/two/lib/lib.go --
package lib

func F() {}
-- vendored/go.mod --
module example.com/vendored

go 1.21

require example.com/dep v1.0.0
-- vendored/main.go --
package main

import "example.com/dep"

func main() { dep.F() }
-- vendored/vendor/modules.txt --
# example.com/dep v1.0.0
## explicit; go 1.21
example.com/dep
-- vendored/vendor/example.com/dep/dep.go --
package dep

func F() {}
-- bare/app.go --
package main

func main() {}
-- bare/v2/main.go --
package main

func main() {}
-- bare/lib/lib.go --
package lib
-- bare/mod/go.mod --
module example.com/mod

go 1.21
-- bare/mod/main.go --
package main

func main() {}
-- gopath/src/example.com/old/v3/main.go --
package main

func main() {}
`

func TestList(t *testing.T) {
	root := tree(t, repository+workspace)
	tests := map[string]struct {
		dir      string // below the root, m where empty
		env      []string
		platform v1.Platform // amd64 where empty
		settings plan.GoSettings
		patterns []string // ROOT stands for the root
		want     []compile.Package
	}{
		"the directory": {
			patterns: []string{"."},
			want:     []compile.Package{{ImportPath: "example.com/m", Binary: "m"}},
		},
		"a tree, mains only": {
			patterns: []string{"./cmd/..."},
			want: []compile.Package{
				{ImportPath: "example.com/m/cmd/a/server", Binary: "server"},
				{ImportPath: "example.com/m/cmd/b/server", Binary: "server"},
				{ImportPath: "example.com/m/cmd/tool/v2", Binary: "tool"},
			},
		},
		"from a directory below": {
			dir:      "m/cmd",
			patterns: []string{"./a/...", "../dir.go"},
			want: []compile.Package{
				{ImportPath: "example.com/m/cmd/a/server", Binary: "server"},
				{ImportPath: "example.com/m/dir.go", Binary: "dir.go"},
			},
		},
		"import paths, in their order": {
			patterns: []string{"example.com/m/cmd/b/server", "example.com/m/cmd/a/..."},
			want: []compile.Package{
				{ImportPath: "example.com/m/cmd/b/server", Binary: "server"},
				{ImportPath: "example.com/m/cmd/a/server", Binary: "server"},
			},
		},
		"spellings of the same package": {
			patterns: []string{"./cmd/a/server/", "./cmd//a/server", "./cmd/../cmd/a/server", "ROOT/m/cmd/a/server/", "example.com/m/cmd/a/server"},
			want:     []compile.Package{{ImportPath: "example.com/m/cmd/a/server", Binary: "server"}},
		},
		"dot with a slash": {
			patterns: []string{"./"},
			want:     []compile.Package{{ImportPath: "example.com/m", Binary: "m"}},
		},
		"a directory above": {
			dir:      "m/cmd/a",
			patterns: []string{"./../b/server", "../.."},
			want: []compile.Package{
				{ImportPath: "example.com/m/cmd/b/server", Binary: "server"},
				{ImportPath: "example.com/m", Binary: "m"},
			},
		},
		"files": {
			patterns: []string{"util.go", "main.go"},
			want:     []compile.Package{{Files: []string{"util.go", "main.go"}, Binary: "util"}},
		},
		"files of a directory below": {
			patterns: []string{"./cmd/a/server/main.go"},
			want:     []compile.Package{{Files: []string{"./cmd/a/server/main.go"}, Binary: "main"}},
		},
		"files by absolute names": {
			patterns: []string{"ROOT/m/scripts/one.go"},
			want:     []compile.Package{{Files: []string{"ROOT/m/scripts/one.go"}, Binary: "one"}},
		},
		"files with a test among them": {
			patterns: []string{"scripts/two_test.go", "scripts/one.go"},
			want:     []compile.Package{{Files: []string{"scripts/two_test.go", "scripts/one.go"}, Binary: "one"}},
		},
		"files and a package": {
			patterns: []string{"main.go", "./cmd/a/server", "util.go"},
			want: []compile.Package{
				{Files: []string{"main.go", "util.go"}, Binary: "main"},
				{ImportPath: "example.com/m/cmd/a/server", Binary: "server"},
			},
		},
		"a directory that is named like a file": {
			patterns: []string{"./dir.go"},
			want:     []compile.Package{{ImportPath: "example.com/m/dir.go", Binary: "dir.go"}},
		},
		"tags": {
			settings: plan.GoSettings{Tags: "special"},
			patterns: []string{"./tagged"},
			want:     []compile.Package{{ImportPath: "example.com/m/tagged", Binary: "tagged"}},
		},
		"tags in GOFLAGS": {
			env:      []string{"GOFLAGS=-tags=special"},
			patterns: []string{"./tagged"},
			want:     []compile.Package{{ImportPath: "example.com/m/tagged", Binary: "tagged"}},
		},
		"a package of another platform": {
			platform: arm64,
			patterns: []string{"./arm"},
			want:     []compile.Package{{ImportPath: "example.com/m/arm", Binary: "arm"}},
		},
		"a nested module": {
			patterns: []string{"./nested"},
			want:     []compile.Package{{Dir: "m/nested", ImportPath: "example.com/nested", Binary: "nested"}},
		},
		"a nested module between packages": {
			patterns: []string{"./cmd/b/server", "./nested/...", "./cmd/a/server"},
			want: []compile.Package{
				{ImportPath: "example.com/m/cmd/b/server", Binary: "server"},
				{Dir: "m/nested", ImportPath: "example.com/nested", Binary: "nested"},
				{Dir: "m/nested", ImportPath: "example.com/nested/cmd/deep", Binary: "deep"},
				{ImportPath: "example.com/m/cmd/a/server", Binary: "server"},
			},
		},
		"a nested module from one": {
			dir:      "m/nested",
			patterns: []string{"../cmd/a/server", "ROOT/m/nested/cmd/deep"},
			want: []compile.Package{
				{Dir: "m", ImportPath: "example.com/m/cmd/a/server", Binary: "server"},
				{Dir: "m/nested", ImportPath: "example.com/nested/cmd/deep", Binary: "deep"},
			},
		},
		"a workspace": {
			dir:      "space",
			patterns: []string{"./one", "./two/..."},
			want: []compile.Package{
				{ImportPath: "example.com/one", Binary: "one"},
				{ImportPath: "example.com/two", Binary: "two"},
			},
		},
		"a workspace that is off": {
			dir:      "space",
			env:      []string{"GOWORK=off"},
			patterns: []string{"./two"},
			want:     []compile.Package{{Dir: "space/two", ImportPath: "example.com/two", Binary: "two"}},
		},
		"a workspace that is elsewhere": {
			dir:      "bare",
			env:      []string{"GOWORK=ROOT/space/go.work"},
			patterns: []string{"example.com/one"},
			want:     []compile.Package{{ImportPath: "example.com/one", Binary: "one"}},
		},
		"vendor": {
			dir:      "vendored",
			patterns: []string{"."},
			want:     []compile.Package{{ImportPath: "example.com/vendored", Binary: "vendored"}},
		},
		"no module": {
			dir:      "bare",
			patterns: []string{".", "./v2"},
			want: []compile.Package{
				{ImportPath: ".", Binary: "bare"},
				{ImportPath: "./v2", Binary: "v2"},
			},
		},
		"no module, from one": {
			patterns: []string{"../bare/v2", "."},
			want: []compile.Package{
				{Dir: "bare/v2", ImportPath: ".", Binary: "v2"},
				{ImportPath: "example.com/m", Binary: "m"},
			},
		},
		"no module, files": {
			dir:      "bare",
			patterns: []string{"app.go"},
			want:     []compile.Package{{Files: []string{"app.go"}, Binary: "app"}},
		},
		"no module, by an absolute directory": {
			dir:      "gopath",
			patterns: []string{"ROOT/bare/v2"},
			want:     []compile.Package{{Dir: "bare/v2", ImportPath: ".", Binary: "v2"}},
		},
		"a module below no module": {
			dir:      "bare",
			patterns: []string{"./mod"},
			want:     []compile.Package{{Dir: "bare/mod", ImportPath: "example.com/mod", Binary: "mod"}},
		},
		"GOPATH": {
			dir:      "gopath/src/example.com/old",
			env:      []string{"GO111MODULE=off", "GOPATH=ROOT/gopath"},
			patterns: []string{"example.com/old/v3"},
			want:     []compile.Package{{ImportPath: "example.com/old/v3", Binary: "v3"}},
		},
		"the go command's own": {
			patterns: []string{"cmd/gofmt"},
			want:     []compile.Package{{ImportPath: "cmd/gofmt", Binary: "gofmt"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, platform := "m", amd64
			if tt.dir != "" {
				dir = tt.dir
			}
			if tt.platform.OS != "" {
				platform = tt.platform
			}
			replace := func(words []string) []string {
				var all []string
				for _, w := range words {
					all = append(all, strings.ReplaceAll(w, "ROOT", root))
				}
				return all
			}
			got, err := compiler(replace(tt.env)...).List(t.Context(), filepath.Join(root, dir), platform, tt.settings, replace(tt.patterns))
			if err != nil {
				logOutput(t, err)
				t.Fatal(err)
			}
			for i, pkg := range tt.want {
				if pkg.Dir == "" {
					pkg.Dir = dir
				}
				tt.want[i].Dir = filepath.Join(root, pkg.Dir)
				tt.want[i].Files = replace(pkg.Files)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// malformed has what cannot be listed.
const malformed = `
-- m/go.mod --
module example.com/m

go 1.21
-- m/main.go --
package main

func main() {}
-- m/lib/lib.go --
package lib
-- m/lib/sub/sub.go --
package sub
-- m/broken/broken.go --
package broken

import "fmt
-- m/tests/only_test.go --
package tests
-- m/clause/main.go --
pakcage main
-- m/imports/main.go --
package main

import "no/such/
-- m/mixed/a.go --
package main
-- m/mixed/b.go --
package other
-- m/arm/main_linux_arm64.go --
package main

func main() {}
-- m/notmain/a.go --
package notmain
-- m/many/a/a.go --
package a
-- m/many/b/a.go --
package a
-- m/many/c/a.go --
package a
-- m/many/d/a.go --
package a
-- m/many/e/a.go --
package a
-- m/many/f/a.go --
package a
-- m/many/g/a.go --
package a
-- m/many/h/a.go --
package a
-- m/many/i/a.go --
package a
-- m/many/j/a.go --
package a
-- m/many/k/a.go --
package a
-- m/many/l/a.go --
package a
-- m/empty/README --
-- bare/app.go --
package main

func main() {}
-- badmod/go.mod --
modul example.com/m
-- badmod/main.go --
package main
`

func TestListErrors(t *testing.T) {
	root := tree(t, malformed)
	tests := map[string]struct {
		dir      string // m where empty
		env      []string
		patterns []string
		want     string
		// output is what the go command says itself: that of `go build` for
		// the same, byte for byte, where it is "same".
		output string
	}{
		"a directory that is not there": {
			patterns: []string{"./nope"},
			want:     "listing ./nope: no such package, or one that cannot be read",
			output:   "same",
		},
		"an import path that is not there": {
			patterns: []string{"example.com/m/nope"},
			want:     "listing example.com/m/nope: no such package, or one that cannot be read",
			output:   "same",
		},
		"a module that is not there": {
			patterns: []string{"example.com/other"},
			want:     "listing example.com/other: no such package, or one that cannot be read",
			output:   "same",
		},
		"one of two": {
			patterns: []string{".", "./nope"},
			want:     "listing ., ./nope: no such package, or one that cannot be read",
			output:   "same",
		},
		"a directory without Go files": {
			patterns: []string{"./empty"},
			want:     "listing ./empty: no such package, or one that cannot be read",
			output:   "same",
		},
		"another platform's package": {
			patterns: []string{"./arm"},
			want:     "listing ./arm: no such package, or one that cannot be read",
			output:   "same",
		},
		"a package clause that is none": {
			patterns: []string{"./clause"},
			want:     "listing ./clause: no such package, or one that cannot be read",
			output:   "same",
		},
		"a package clause that is none, in a tree": {
			patterns: []string{"./clause/..."},
			want:     "listing ./clause/...: no such package, or one that cannot be read",
			output:   "same",
		},
		"imports that cannot be read": {
			patterns: []string{"./imports"},
			want:     "listing ./imports: no such package, or one that cannot be read",
			output:   "same",
		},
		"two packages in one directory": {
			patterns: []string{"./mixed"},
			want:     "listing ./mixed: no such package, or one that cannot be read",
			output:   "same",
		},
		"a file that is not there": {
			patterns: []string{"main.go", "nope.go"},
			want:     "listing nope.go: no such package, or one that cannot be read",
			output:   "nope.go",
		},
		"files of two directories": {
			patterns: []string{"main.go", "lib/lib.go"},
			want:     "listing main.go, lib/lib.go: go list: exit status 1",
			output:   "same",
		},
		"files of a library": {
			patterns: []string{"lib/lib.go"},
			want:     "lib/lib.go is a library: command-line-arguments (package lib) is not package main",
		},
		"a go.mod that cannot be read": {
			dir:      "badmod",
			patterns: []string{"."},
			want:     "listing .: go list: exit status 1",
			output:   "same",
		},
		"no module, though the user wants one": {
			dir:      "bare",
			env:      []string{"GO111MODULE=on"},
			patterns: []string{"."},
			want:     "listing .: go list: exit status 1",
			output:   "go.mod file not found",
		},
		"a library": {
			patterns: []string{"./lib"},
			want:     "./lib is a library: example.com/m/lib (package lib) is not package main",
		},
		"a library among programs": {
			patterns: []string{".", "example.com/m/lib"},
			want:     "example.com/m/lib is a library: example.com/m/lib (package lib) is not package main",
		},
		"tests only": {
			patterns: []string{"./tests"},
			want:     "./tests is a library: example.com/m/tests (package tests) is not package main",
		},
		"a tree of libraries": {
			patterns: []string{"./lib/..."},
			want:     "./lib/... matches no main package, only: example.com/m/lib (package lib), example.com/m/lib/sub (package sub)",
		},
		"a tree of libraries among programs": {
			patterns: []string{".", "./lib/..."},
			want:     "./lib/... matches no main package, only: example.com/m/lib (package lib), example.com/m/lib/sub (package sub)",
		},
		"a tree of many libraries": {
			patterns: []string{"./many/..."},
			want: "./many/... matches no main package, only: example.com/m/many/a (package a), example.com/m/many/b (package a), " +
				"example.com/m/many/c (package a), example.com/m/many/d (package a), example.com/m/many/e (package a), " +
				"example.com/m/many/f (package a), example.com/m/many/g (package a), example.com/m/many/h (package a), " +
				"example.com/m/many/i (package a), example.com/m/many/j (package a), and 2 more",
		},
		"a tree of broken libraries": {
			patterns: []string{"./broken/..."},
			want:     "./broken/... matches no main package, only: example.com/m/broken (package broken)",
		},
		"a tree that is not there": {
			patterns: []string{"./nope/..."},
			want:     "listing ./nope/...: it matches no packages",
			output:   "same",
		},
		"a tree that has no packages": {
			patterns: []string{"./empty/..."},
			want:     "listing ./empty/...: it matches no packages",
			output:   "go: warning: \"./empty/...\" matched no packages\n",
		},
		"a tree of another platform": {
			patterns: []string{".", "./arm/..."},
			want:     "listing ./arm/...: it matches no packages",
		},
		"flags in GOFLAGS that are none": {
			env:      []string{"GOFLAGS=-no-such-flag"},
			patterns: []string{"."},
			want:     "listing .: go list: exit status 1",
			output:   "same",
		},
		"a quote in GOFLAGS that is not closed": {
			env:      []string{"GOFLAGS='-ldflags=-s"},
			patterns: []string{"."},
			want:     "listing .: go list: exit status 1",
			output:   "same",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(root, "m")
			if tt.dir != "" {
				dir = filepath.Join(root, tt.dir)
			}
			got, err := compiler(tt.env...).List(t.Context(), dir, amd64, plan.GoSettings{}, tt.patterns)
			if err == nil {
				t.Fatalf("no error, but %v", got)
			}
			if err.Error() != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
			var output string
			if ce := (*compile.Error)(nil); errors.As(err, &ce) {
				output = string(ce.Output)
			}
			if tt.output == "same" {
				cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-o", t.TempDir(), "--"}, tt.patterns...)...)
				cmd.Dir, cmd.Env = dir, environ(append(tt.env, "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")...)
				said, _ := cmd.CombinedOutput()
				if diff := cmp.Diff(string(said), output); diff != "" {
					t.Errorf("(-`go build` +got):\n%s", diff)
				}
			} else if !strings.Contains(output, tt.output) || (tt.output == "") != (output == "") {
				t.Errorf("the output is %q, which is to have %q", output, tt.output)
			}
		})
	}
}

func TestExecName(t *testing.T) {
	dir := tree(t, `
-- go.mod --
module example.com/m

go 1.21
-- v2/main.go --
package main
-- cmd/tool/v3/main.go --
package main
-- cmd/v10/main.go --
package main
-- v1/main.go --
package main
-- v0/main.go --
package main
-- v2x/main.go --
package main
-- v/main.go --
package main
-- v02/main.go --
package main
-- plain/main.go --
package main
-- dotted.v2/main.go --
package main
`)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{.Target}}", "./...")
	cmd.Dir, cmd.Env = dir, environ("GOPATH="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		importPath, target, _ := strings.Cut(strings.TrimSpace(line), " ")
		if got, want := compile.ExecName(importPath), filepath.Base(target); got != want {
			t.Errorf("ExecName(%q) = %q, want %q", importPath, got, want)
		}
		n++
	}
	if n != 10 {
		t.Errorf("compared %d names, want 10", n)
	}
}

// TestListWithoutTargets is about the names of binaries where the go command
// does not know where it would install them.
func TestListWithoutTargets(t *testing.T) {
	dir := tree(t, `
-- go.mod --
module example.com/m

go 1.21
-- v2/main.go --
package main

func main() {}
`)
	env := environ("GOCACHE="+goEnv(t, "GOCACHE"), "HOME=", "GOPATH=", "XDG_CONFIG_HOME=")
	c := &compile.Compiler{Env: env}
	got, err := c.List(t.Context(), dir, amd64, plan.GoSettings{}, []string{"./v2"})
	if err != nil {
		logOutput(t, err)
		t.Fatal(err)
	}
	want := []compile.Package{{Dir: dir, ImportPath: "example.com/m/v2", Binary: "m"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func goEnv(t *testing.T, key string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", key).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
