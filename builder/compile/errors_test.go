package compile_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/plan"
)

// TestBuildErrors compares with what `go build` says itself.
func TestBuildErrors(t *testing.T) {
	tests := map[string]struct {
		files    string
		env      []string
		settings plan.GoSettings
		pkg      string
		want     string
	}{
		"a type error": {
			files: "-- main.go --\npackage main\n\nfunc main() { nothing(); \"x\" + 1 }\n",
			pkg:   ".", want: "compiling . for linux/amd64: go build: exit status 1",
		},
		"a syntax error": {
			files: "-- main.go --\npackage main\n\nfunc main() {\n",
			pkg:   ".", want: "compiling . for linux/amd64: go build: exit status 1",
		},
		"an import that is not there": {
			files: "-- main.go --\npackage main\n\nimport _ \"example.com/dep\"\n\nfunc main() {}\n",
			pkg:   ".", want: "compiling . for linux/amd64: go build: exit status 1",
		},
		"no function main": {
			files: "-- main.go --\npackage main\n",
			pkg:   "example.com/m", want: "compiling example.com/m for linux/amd64: go build: exit status 1",
		},
		"a flag of the linker that is none": {
			files:    "-- main.go --\npackage main\n\nfunc main() {}\n",
			settings: plan.GoSettings{LDFlags: "-buildvcs", Debug: true},
			pkg:      ".", want: "compiling . for linux/amd64: go build: exit status 1",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, "-- go.mod --\nmodule example.com/m\n\ngo 1.21\n"+tt.files)
			var seen events
			c := compiler(tt.env...)
			c.Progress, c.Outputs = seen.add, t.TempDir()
			_, err := c.Build(t.Context(), amd64, []plan.Compile{{Dir: dir, Package: tt.pkg, Binary: "m", Settings: tt.settings}})
			ce := (*compile.Error)(nil)
			if !errors.As(err, &ce) {
				t.Fatalf("got %v", err)
			}
			if err.Error() != tt.want || errors.Is(err, compile.ErrTooOld) {
				t.Errorf("got %q, want %q", err, tt.want)
			}
			args := []string{"build", "-o", t.TempDir(), "-trimpath", "-ldflags=" + tt.settings.LDFlags, "--", tt.pkg}
			cmd := exec.CommandContext(t.Context(), "go", args...)
			cmd.Dir, cmd.Env = dir, environ("GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
			said, _ := cmd.CombinedOutput()
			if diff := cmp.Diff(string(said), string(ce.Output)); diff != "" || len(said) == 0 {
				t.Errorf("(-`go build` +got):\n%s", diff)
			}
			states := []event.State{}
			for _, e := range seen.all {
				states = append(states, e.State)
			}
			if diff := cmp.Diff([]event.State{event.Started, event.Failed}, states); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if got := leftovers(t, c.Outputs); len(got) > 0 {
				t.Errorf("%q is left", got)
			}
		})
	}
}

func TestGoFails(t *testing.T) {
	dir := tree(t, hello)
	// As go 1.12, 1.17 and 1.18 print it, the usage cut short.
	const (
		noTrimpath = "flag provided but not defined: -trimpath\nusage: go build [-o output] [-i] [build flags] [packages]\n"
		noBuildVCS = "flag provided but not defined: -buildvcs\nusage: go build [-o output] [build flags] [packages]\nRun 'go help build' for details.\n"
		noFields   = "invalid boolean value \"ImportPath,Name\" for -json: parse error\nusage: go list [-f format] [-json] [-m] [list flags] [build flags] [packages]\n"
	)
	tests := map[string]struct {
		say    string
		tooOld bool
		want   string // after what is being done
	}{
		"with words":        {say: "1:oh\nno", want: "go %s: exit status 1"},
		"without a word":    {say: "3:", want: "go %s: exit status 3"},
		"no -trimpath":      {say: "2:" + noTrimpath, tooOld: true, want: compile.ErrTooOld.Error()},
		"no -buildvcs":      {say: "2:" + noBuildVCS, tooOld: true, want: compile.ErrTooOld.Error()},
		"no fields in list": {say: "2:" + noFields, tooOld: true, want: compile.ErrTooOld.Error()},
		"another flag":      {say: "1:# m\nflag provided but not defined: -buildvcs\nusage: link [options] main.o\n", want: "go %s: exit status 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fake("say", tt.say)
			_, listErr := c.List(t.Context(), dir, amd64, plan.GoSettings{}, []string{"."})
			_, buildErr := c.Build(t.Context(), amd64, []plan.Compile{{Dir: dir, Package: ".", Binary: "hello"}})
			for doing, err := range map[string]error{"listing .": listErr, "compiling . for linux/amd64": buildErr} {
				command := "list"
				if strings.HasPrefix(doing, "compiling") {
					command = "build"
				}
				want := doing + ": " + strings.ReplaceAll(tt.want, "%s", command)
				if err == nil || err.Error() != want || errors.Is(err, compile.ErrTooOld) != tt.tooOld {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				_, said, _ := strings.Cut(tt.say, ":")
				if ce := (*compile.Error)(nil); !errors.As(err, &ce) || string(ce.Output) != said {
					t.Errorf("output %q, want %q", ce.Output, said)
				}
			}
		})
	}
}

func TestNoGo(t *testing.T) {
	dir := tree(t, hello)
	c := &compile.Compiler{Go: "no-such-go-command", Env: environ()}
	_, listErr := c.List(t.Context(), dir, amd64, plan.GoSettings{}, []string{"."})
	_, buildErr := c.Build(t.Context(), amd64, []plan.Compile{{Dir: dir, Package: ".", Binary: "hello"}})
	for doing, err := range map[string]error{"listing .": listErr, "compiling . for linux/amd64": buildErr} {
		want := doing + `: exec: "no-such-go-command": executable file not found in $PATH`
		if err == nil || err.Error() != want || !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if ce := (*compile.Error)(nil); !errors.As(err, &ce) {
			t.Errorf("got a %T, want a *compile.Error", err)
		}
	}
}

// TestMessages is about what the go command says where it does not fail.
func TestMessages(t *testing.T) {
	dir := tree(t, hello)
	const said = "go: downloading example.com/a v1.0.0\r\nwarning: one\n\n\tindented\ngo: downloading example.com/b v1.0.0\nunfinished"
	downloads := []string{"go: downloading example.com/a v1.0.0\r", "go: downloading example.com/b v1.0.0"}
	var seen events
	messages := func(subject string) []string {
		t.Helper()
		var texts []string
		for i, e := range seen.all {
			if e.Phase != event.Compile || e.Subject != subject {
				t.Errorf("event of %s %s, want %s", e.Phase, e.Subject, subject)
			}
			if e.State == event.Message {
				texts = append(texts, e.Text)
			}
			if (e.State == event.Started) != (i == 0) || (e.State == event.Done) != (i == len(seen.all)-1) {
				t.Errorf("event %d of %d is %s", i, len(seen.all), e.State)
			}
		}
		seen.all = nil
		return texts
	}
	c := fake("warn", said)
	c.Progress = seen.add
	s := steps(t, c, dir, amd64, plan.GoSettings{}, ".", "./...")
	if diff := cmp.Diff(downloads, messages("linux/amd64 ., ./...")); diff != "" {
		t.Errorf("listing (-want +got):\n%s", diff)
	}
	build(t, c, amd64, s)
	if diff := cmp.Diff(append(downloads, "warning: one", "", "\tindented", "unfinished"), messages("linux/amd64 hello")); diff != "" {
		t.Errorf("building (-want +got):\n%s", diff)
	}
	// Without downloads, a list is nothing to show.
	quiet := compiler()
	quiet.Progress = seen.add
	steps(t, quiet, dir, amd64, plan.GoSettings{}, ".")
	if len(seen.all) > 0 {
		t.Errorf("events of a list: %v", seen.all)
	}
	// Where it fails, downloads are no part of the output.
	c = fake("say", "1:"+said)
	c.Progress = seen.add
	_, err := c.Build(t.Context(), amd64, s)
	ce := (*compile.Error)(nil)
	if !errors.As(err, &ce) {
		t.Fatal(err)
	}
	if diff := cmp.Diff("warning: one\n\n\tindented\nunfinished", string(ce.Output)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOutputsCannotBeMade(t *testing.T) {
	dir := tree(t, hello)
	c := compiler()
	c.Outputs = filepath.Join(dir, "main.go", "x")
	_, err := c.Build(t.Context(), amd64, []plan.Compile{{Dir: dir, Package: ".", Binary: "hello"}})
	if err == nil || !strings.HasPrefix(err.Error(), "making a directory for binaries: ") {
		t.Errorf("got %v", err)
	}
}
