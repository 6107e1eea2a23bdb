package compile_test

import (
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/plan"
)

// host is a platform whose binaries the host runs, if it is Linux at all.
var host = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}

// output runs a binary and returns what it prints to standard error.
func output(t *testing.T, b compile.Binary) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the host does not run Linux binaries")
	}
	out, err := exec.CommandContext(t.Context(), b.Path).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestBuildInfo(t *testing.T) {
	dir := tree(t, hello)
	tests := map[string]struct {
		platform v1.Platform
		env      []string
		want     map[string]string
	}{
		"amd64": {
			platform: amd64,
			env:      []string{"GOAMD64=v3", "GOFLAGS=-trimpath=false -buildvcs=true"},
			want:     map[string]string{"GOARCH": "amd64", "GOAMD64": "v1"},
		},
		"amd64 v3": {
			platform: v1.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"},
			want:     map[string]string{"GOARCH": "amd64", "GOAMD64": "v3"},
		},
		"arm v6": {
			platform: v1.Platform{OS: "linux", Architecture: "arm", Variant: "v6"},
			env:      []string{"GOARM=7"},
			want:     map[string]string{"GOARCH": "arm", "GOARM": "6"},
		},
		"arm64": {
			platform: arm64,
			want:     map[string]string{"GOARCH": "arm64", "GOARM64": "v8.0"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := compiler(tt.env...)
			b := build(t, c, tt.platform, steps(t, c, dir, tt.platform, plan.GoSettings{}, "."))[0]
			info, err := buildinfo.ReadFile(b.Path)
			if err != nil {
				t.Fatal(err)
			}
			settings := map[string]string{}
			for _, s := range info.Settings {
				settings[s.Key] = s.Value
			}
			tt.want["GOOS"] = "linux"
			tt.want["-trimpath"] = "true"
			tt.want["CGO_ENABLED"] = "0"
			for key, want := range tt.want {
				if got := settings[key]; got != want {
					t.Errorf("%s=%s, want %s", key, got, want)
				}
			}
			for key := range settings {
				if strings.HasPrefix(key, "vcs") {
					t.Errorf("the binary tells of the repository: %s=%s", key, settings[key])
				}
			}
			stat, err := os.Stat(b.Path)
			if err != nil {
				t.Fatal(err)
			}
			if b.Size != stat.Size() || b.Interpreter != "" {
				t.Errorf("size %d, interpreter %q, want %d and none", b.Size, b.Interpreter, stat.Size())
			}
		})
	}
}

// TestZeroCompiler is what a user of the library begins with.
func TestZeroCompiler(t *testing.T) {
	for _, kv := range []string{"GOENV=off", "GOPROXY=off", "GOFLAGS=-ldflags=-X=main.version=1", "GO111MODULE=", "GOWORK="} {
		key, value, _ := strings.Cut(kv, "=")
		t.Setenv(key, value)
	}
	dir := tree(t, "-- go.mod --\nmodule example.com/m\n\ngo 1.21\n-- main.go --\npackage main\n\nvar version string\n\nfunc main() { println(version) }\n")
	c := &compile.Compiler{}
	if got := output(t, build(t, c, host, steps(t, c, dir, host, plan.GoSettings{}, "."))[0]); got != "1\n" {
		t.Errorf("got %q, want 1", got)
	}
}

func TestBuildSymbols(t *testing.T) {
	dir := tree(t, hello)
	for name, tt := range map[string]struct {
		settings plan.GoSettings
		want     bool
	}{
		"stripped": {plan.GoSettings{}, false},
		"debug":    {plan.GoSettings{Debug: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := compiler()
			b := build(t, c, amd64, steps(t, c, dir, amd64, tt.settings, "."))[0]
			f, err := elf.Open(b.Path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			symbols, dwarf := f.Section(".symtab") != nil, slices.ContainsFunc(f.Sections, func(s *elf.Section) bool {
				return strings.HasPrefix(s.Name, ".debug_") || strings.HasPrefix(s.Name, ".zdebug_")
			})
			if symbols != tt.want || dwarf != tt.want {
				t.Errorf("symbols %v, DWARF %v, want %v", symbols, dwarf, tt.want)
			}
		})
	}
}

// TestBuildKinds builds and runs what TestList finds.
func TestBuildKinds(t *testing.T) {
	root := tree(t, workspace+`
-- flagged/go.mod --
module example.com/flagged

go 1.21
-- flagged/main.go --
package main

var version, commit = "none", "none"

func main() { println(version, commit, tag) }
-- flagged/on.go --
//go:build special

package main

const tag = "special"
-- flagged/off.go --
//go:build !special

package main

const tag = "plain"
-- with space/-dash/go.mod --
module example.com/dash

go 1.21
-- with space/-dash/main.go --
package main

func main() { println("dash") }
-- with space/-dash/a b.go --
package main

func main() { println("a b") }
`)
	tests := map[string]struct {
		dir      string
		env      []string
		settings plan.GoSettings
		patterns []string
		want     []string // that the programs print
	}{
		"a workspace":        {dir: "space", patterns: []string{"./one", "./two"}, want: []string{"", ""}},
		"vendor":             {dir: "vendored", patterns: []string{"."}, want: []string{""}},
		"no module":          {dir: "bare", patterns: []string{".", "./v2"}, want: []string{"", ""}},
		"no module, a file":  {dir: "bare", patterns: []string{"app.go"}, want: []string{""}},
		"a module below":     {dir: "bare", patterns: []string{"./mod", "./v2"}, want: []string{"", ""}},
		"plain":              {dir: "flagged", patterns: []string{"."}, want: []string{"none none plain\n"}},
		"tags":               {dir: "flagged", settings: plan.GoSettings{Tags: "special"}, patterns: []string{"."}, want: []string{"none none special\n"}},
		"tags in GOFLAGS":    {dir: "flagged", env: []string{"GOFLAGS=-tags=special"}, patterns: []string{"."}, want: []string{"none none special\n"}},
		"ldflags":            {dir: "flagged", settings: plan.GoSettings{LDFlags: "-X main.version=1"}, patterns: []string{"."}, want: []string{"1 none plain\n"}},
		"ldflags in GOFLAGS": {dir: "flagged", env: []string{"GOFLAGS='-ldflags=-X main.version=2'"}, patterns: []string{"."}, want: []string{"2 none plain\n"}},
		"ldflags in both": {
			dir: "flagged", env: []string{"GOFLAGS='-ldflags=-X main.version=2'"}, patterns: []string{"."},
			settings: plan.GoSettings{LDFlags: "all=-X main.commit=3"}, want: []string{"2 3 plain\n"},
		},
		"spaces and dashes": {dir: "with space/-dash", patterns: []string{"main.go"}, want: []string{"dash\n"}},
		"a file with a space, from above": {
			dir: "with space", patterns: []string{"./-dash/a b.go"}, want: []string{"a b\n"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := compiler(tt.env...)
			c.Outputs = t.TempDir()
			var got []string
			for _, b := range build(t, c, host, steps(t, c, filepath.Join(root, tt.dir), host, tt.settings, tt.patterns...)) {
				got = append(got, output(t, b))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildCgo(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("there is no C compiler here")
	}
	dir := tree(t, `
-- go.mod --
module example.com/cgo

go 1.21
-- main.go --
package main

// int seven(void) { return 7; }
import "C"

func main() { println(C.seven()) }
`)
	c := compiler("CGO_ENABLED=1")
	b := build(t, c, host, steps(t, c, dir, host, plan.GoSettings{}, "."))[0]
	if !filepath.IsAbs(b.Interpreter) {
		t.Errorf("interpreter %q, want an absolute path", b.Interpreter)
	}
	if got := output(t, b); got != "7\n" {
		t.Errorf("got %q, want 7", got)
	}
}

// TestBuildIsOneProcess is what makes many programs cheap: one `go list` and
// one `go build`.
func TestBuildIsOneProcess(t *testing.T) {
	var archive strings.Builder
	archive.WriteString("-- go.mod --\nmodule example.com/m\n\ngo 1.21\n")
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		archive.WriteString("-- cmd/" + name + "/main.go --\npackage main\n\nfunc main() { println(`" + name + "`) }\n")
	}
	dir := tree(t, archive.String())
	c, calls := recorded(t, "log")
	c.Outputs = t.TempDir()
	s := steps(t, c, dir, host, plan.GoSettings{}, "./cmd/...", "./cmd/a", "example.com/m/cmd/b")
	// The same program for two images.
	s = append(s, s[1])
	var got []string
	for _, b := range build(t, c, host, s) {
		got = append(got, strings.TrimSpace(output(t, b)))
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "e", "b"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var commands []string
	for _, call := range calls() {
		commands = append(commands, call.Args[0])
	}
	if diff := cmp.Diff([]string{"list", "build"}, commands); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBuildSameNames(t *testing.T) {
	dir := tree(t, `
-- go.mod --
module example.com/m

go 1.21
-- cmd/a/server/main.go --
package main

func main() { println("a") }
-- cmd/b/server/main.go --
package main

func main() { println("b") }
-- cmd/c/other/main.go --
package main

func main() { println("c") }
-- cmd/d/server/main.go --
package main

func main() { println("d") }
-- main.go --
package main

func main() { println("main") }
-- other.go --
package main

func main() { println("other") }
`)
	for name, outputs := range map[string]string{"temporary": "", "kept": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen events
			c := compiler()
			c.Outputs, c.Progress = outputs, seen.add
			s := steps(t, c, dir, host, plan.GoSettings{}, "./cmd/...")
			s = append(s, plan.Compile{Dir: dir, Files: []string{"main.go"}, Binary: "main"}, s[3])
			s = append(s, plan.Compile{Dir: dir, Files: []string{"other.go"}, Binary: "other"}, s[4], s[1])
			s = append(s, plan.Compile{Dir: dir, Package: s[0].Package, Binary: s[0].Binary, Settings: plan.GoSettings{Debug: true}})
			var got []string
			for _, b := range build(t, c, host, s) {
				got = append(got, strings.TrimSpace(output(t, b)))
			}
			if diff := cmp.Diff([]string{"a", "b", "c", "d", "main", "d", "other", "main", "b", "a"}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var started []string
			for _, e := range seen.all {
				if e.State == event.Started {
					started = append(started, e.Subject)
				}
			}
			p := host.String() + " "
			want := []string{p + "server, other", p + "server", p + "server", p + "main", p + "other", p + "server"}
			if diff := cmp.Diff(want, started); diff != "" {
				t.Errorf("runs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBuildIsReproducible varies what must not matter.
func TestBuildIsReproducible(t *testing.T) {
	source := hello + `
-- cmd/other/main.go --
package main

import "os"

func main() { println(len(os.Args)) }
`
	var want [][]byte
	for _, tt := range []struct {
		name string
		env  []string
	}{
		{"as it is", nil},
		{"elsewhere", []string{"TZ=Asia/Tokyo", "LC_ALL=tr_TR.UTF-8", "HOSTNAME=elsewhere", "USER=nobody"}},
		{"one CPU", []string{"GOMAXPROCS=1", "GOFLAGS=-p=1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := compiler(tt.env...)
			if tt.name == "elsewhere" {
				c.Outputs = t.TempDir()
			}
			var got [][]byte
			for _, b := range build(t, c, amd64, steps(t, c, tree(t, source), amd64, plan.GoSettings{}, "./...")) {
				raw, err := os.ReadFile(b.Path)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, raw)
			}
			if want == nil {
				want = got
			}
			if !slices.EqualFunc(want, got, slices.Equal) {
				t.Error("the binaries differ")
			}
		})
	}
}
