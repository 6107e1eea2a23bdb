package golang_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/script"
)

// Packages that are partly C are refused where the image would compile them, and
// nowhere else.
func TestCgo(t *testing.T) {
	const line = "compiled without cgo, in the place of which there is Go: net"
	tests := []struct {
		name     string
		env      string
		compiler bool
		imports  string
		args     string
		refused  bool
		said     bool
	}{
		{name: "a compiler in the image", compiler: true, imports: "example.com/x/c", refused: true},
		{name: "a compiler, by files", compiler: true, imports: "example.com/x/c", args: "build -o out main.go", refused: true},
		{name: "none in the image", imports: "example.com/x/c"},
		{name: "asked for", env: "CGO_ENABLED=1", imports: "example.com/x/c", refused: true},
		{name: "not wanted", env: "CGO_ENABLED=0", compiler: true, imports: "example.com/x/c"},
		{name: "for another platform", env: "GOARCH=s390x", compiler: true, imports: "example.com/x/c"},
		{name: "by tags", compiler: true, imports: "example.com/x/tagged"},
		{name: "with tags", compiler: true, imports: "example.com/x/tagged", args: "build -tags c -o out .", refused: true},
		{name: "the standard library", compiler: true, imports: "net", said: true},
		{name: "the standard library, not wanted", env: "CGO_ENABLED=0", compiler: true, imports: "net"},
		{name: "nothing of it", compiler: true, imports: "strings"},
		{name: "vet", compiler: true, imports: "example.com/x/c", args: "list ."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "app", "go.mod"), "module example.com/x\n\ngo 1.21\n")
			write(t, filepath.Join(root, "app", "main.go"), "package main\n\nimport _ \""+tt.imports+"\"\n\nfunc main() {}\n")
			write(t, filepath.Join(root, "app", "c", "c.go"), "package c\n\nimport \"C\"\n")
			write(t, filepath.Join(root, "app", "c", "none.go"), "package c\n")
			write(t, filepath.Join(root, "app", "tagged", "c.go"), "//go:build c\n\npackage tagged\n\nimport \"C\"\n")
			write(t, filepath.Join(root, "app", "tagged", "none.go"), "package tagged\n")
			args := tt.args
			if args == "" {
				args = "build -o out ."
			}
			env := []string{"GOPATH=" + filepath.Join(root, "go")}
			if tt.env != "" {
				env = append(env, tt.env)
			}
			var out bytes.Buffer
			err := offline().Run(t.Context(), golang.Stage{
				Release: local(t), Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Temp: t.TempDir(), Compiler: tt.compiler,
			}, script.Call{Name: "go", Args: strings.Fields(args), Dir: filepath.Join(root, "app"), Root: root, Env: env, Stdout: &out, Stderr: &out})
			var ce *golang.CgoError
			switch {
			case errors.As(err, &ce) != tt.refused || !tt.refused && err != nil:
				t.Fatalf("got error %v\n%s", err, &out)
			case tt.refused && !strings.HasSuffix(err.Error(), "/"+tt.imports[len("example.com/x/"):]+" uses cgo: c.go)"):
				t.Errorf("got error %v", err)
			}
			if _, err := os.Stat(filepath.Join(root, "app", "out")); (err == nil) == tt.refused && !strings.HasPrefix(args, "list") {
				t.Errorf("refused is %v, and the program: %v", tt.refused, err)
			}
			if said := strings.Contains(out.String(), line); said != tt.said {
				t.Errorf("it says:\n%s", &out)
			}
		})
	}
}

func TestHasCompiler(t *testing.T) {
	for ref, want := range map[string]bool{"golang": true, "golang:1.22-bookworm": true, "golang:1.22-alpine": false, "debian": false, "": false} {
		if got := golang.HasCompiler(ref); got != want {
			t.Errorf("%s: got %v", ref, got)
		}
	}
}
