package golang_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/script"
)

// Which calls are remembered, and what decides about them.
func TestBuilds(t *testing.T) {
	tests := []struct {
		name, args string
		env        []string
		noModule   bool
		old        bool
		// want is where it goes, what is listed, and from which trees; empty for
		// what is not remembered.
		want string
	}{
		{name: "file", args: "build -o ROOT/out/x ./cmd/x", want: "file ROOT/out/x of ./cmd/x"},
		{name: "file in place", args: "build -o x", want: "file ROOT/app/x of "},
		{name: "file with =", args: "build -o=ROOT/out/x .", want: "file ROOT/out/x of ."},
		{name: "directory by slash", args: "build -o ROOT/out/ ./cmd/...", want: "dir ROOT/out of ./cmd/..."},
		{name: "directory that is there", args: "build -o ROOT/app ./cmd/...", want: "dir ROOT/app of ./cmd/..."},
		{name: "no output", args: "build ./cmd/x", want: "dir ROOT/app of ./cmd/x"},
		{name: "nothing said", args: "build", want: "dir ROOT/app of "},
		{name: "files", args: "build main.go more.go", want: "dir ROOT/app of main.go more.go"},
		{name: "several without output", args: "build ./a ./b", want: "none of ./a ./b"},
		{name: "pattern without output", args: "build ./...", want: "none of ./..."},
		{name: "away", args: "build -o /dev/null ./...", want: "none of ./..."},
		{name: "flags", args: "build -v -a -trimpath -tags=a,b -mod vendor -ldflags=-s -gcflags all=-N -buildvcs=false -p 2 -pgo=off -o x .",
			want: "file ROOT/app/x of . list -tags=a,b -mod=vendor link -s"},
		{name: "elsewhere", args: "build -C=ROOT/app/sub -o x .", want: "file ROOT/app/sub/x of ."},
		{name: "install", args: "install ./cmd/x", want: "dir ROOT/go/bin/linux_s390x of ./cmd/x"},
		{name: "install to GOBIN", args: "install ./cmd/x", env: []string{"GOBIN=ROOT/usr/bin"}, want: "dir ROOT/usr/bin of ./cmd/x"},
		{name: "old", args: "build -o x .", old: true, want: "file ROOT/app/x of . trees ROOT/app ROOT/go/src"},
		{name: "no module", args: "build -a -installsuffix cgo -o main .", noModule: true, want: "file ROOT/app/main of . trees ROOT/app ROOT/go/src"},
		{name: "no module nor output", args: "build", noModule: true, want: "file ROOT/app/app of  trees ROOT/app ROOT/go/src"},
		{name: "modules off", args: "build -o x", env: []string{"GO111MODULE=off"}, want: "file ROOT/app/x of  trees ROOT/app ROOT/go/src"},

		{name: "another command", args: "vet ./..."},
		{name: "run", args: "run ."},
		{name: "overlay", args: "build -overlay=x.json ."},
		{name: "another go.mod", args: "build -modfile=ROOT/app/x.mod ."},
		{name: "toolexec", args: "build -toolexec=x ."},
		{name: "a profile", args: "build -pgo=ROOT/app/x.pgo ."},
		{name: "an archive", args: "build -buildmode=archive -o x.a ."},
		{name: "a library", args: "build -buildmode c-shared -o x.so ."},
		{name: "a repository", args: "build -buildvcs=true ."},
		{name: "a repository, perhaps", args: "build -buildvcs ."},
		{name: "what it does", args: "build -x ."},
		{name: "what it would do", args: "build -n ."},
		{name: "a version", args: "install example.com/x@v1.0.0"},
		{name: "a file that is no program", args: "build -o ROOT/app/main.go ."},
		{name: "install with output", args: "install -o x ."},
		{name: "install without a module", args: "install .", noModule: true},
		{name: "old without output", args: "build .", old: true},
		{name: "old to a directory", args: "build -o ROOT/out/ .", old: true},
		{name: "old, from outside", args: "build -o x ../y", old: true},
		{name: "no module, elsewhere", args: "build ./sub", noModule: true},
		{name: "cut short", args: "build -o"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "app", "main.go"), hello)
			if !tt.noModule {
				write(t, filepath.Join(root, "app", "go.mod"), "module example.com/x\n")
			}
			release := "1.26.0"
			if tt.old {
				release = "1.18.1"
			}
			env := []string{"GOOS=linux", "GOARCH=s390x"}
			for _, kv := range append([]string{"GOPATH=ROOT/go"}, tt.env...) {
				env = append(env, strings.ReplaceAll(kv, "ROOT", root))
			}
			got := ""
			call := golang.BuildOf(script.Call{
				Name: "go", Args: strings.Fields(strings.ReplaceAll(tt.args, "ROOT", root)), Dir: filepath.Join(root, "app"), Root: root,
			}, env, release)
			if call != nil {
				got = strings.ReplaceAll(describe(call), root, "ROOT")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("remembered (-want +got):\n%s", diff)
			}
		})
	}
}

func describe(c *compile.Call) string {
	text := "none"
	switch {
	case c.File != "":
		text = "file " + c.File
	case c.OutDir != "":
		text = "dir " + c.OutDir
	}
	text += " of " + strings.Join(c.Packages, " ")
	for _, more := range []struct {
		name  string
		words []string
	}{{"list", c.ListFlags}, {"link", strings.Fields(c.LDFlags)}, {"trees", c.Trees}} {
		if len(more.words) > 0 {
			text += " " + more.name + " " + strings.Join(more.words, " ")
		}
	}
	return text
}

// builds has what it is asked for.
type builds struct{ call *compile.Call }

func (b *builds) Around(_ context.Context, call *compile.Call, _ func(context.Context) error) (bool, error) {
	b.call = call
	return true, nil
}

// What is remembered takes no go command, but for its settings.
func TestRunReuses(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "app", "go.mod"), "module example.com/x\n")
	b, reused := &builds{}, false
	err := offline().Run(t.Context(), golang.Stage{
		Release: local(t), Platform: v1.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, Temp: t.TempDir(),
		Builds: b, Checkout: "/context", Reused: func() { reused = true },
	}, script.Call{
		Name: "go", Args: []string{"build", "-o", "x"}, Dir: filepath.Join(root, "app"), Root: root, Stdout: os.Stderr, Stderr: os.Stderr,
		Env: []string{"GOPATH=" + filepath.Join(root, "go"), "GOFLAGS=-mod=mod"},
	})
	if err != nil || !reused {
		t.Fatalf("reused is %v, error %v", reused, err)
	}
	if c := b.call; c.Root != root || c.Checkout != "/context" || c.Go != "go" || c.Dir != filepath.Join(root, "app") {
		t.Errorf("got %+v", c)
	}
	for _, want := range []string{"GOARM=6", "GOARCH=arm", "GOFLAGS=-mod=mod", "GOTOOLCHAIN=local"} {
		if !slices.Contains(b.call.Env, want) {
			t.Errorf("there is no %s among %q", want, b.call.Env)
		}
	}
}
