package golang_test

import (
	"bytes"
	"debug/buildinfo"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
	"github.com/stagectl/stagectl/builder/script"
)

// offline is a host without a module proxy.
func offline() *golang.Host {
	return &golang.Host{Env: append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOTOOLCHAIN=local"), Offline: true}
}

// local is the release of the go command that runs the test.
func local(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOVERSION").Output()
	if err != nil {
		t.Fatal(err)
	}
	release, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "go"), " ")
	return release
}

// Without a proxy, the host's own release is all there is.
func TestFindOffline(t *testing.T) {
	own := local(t)
	minor := strings.Join(strings.SplitN(own, ".", 3)[:2], ".")
	tests := []struct{ tag, want, err string }{
		{"latest", own, ""},
		{"alpine", own, ""},
		{minor + "-alpine3.20", own, ""},
		{"1", own, ""},
		{"1.22.3-bookworm", "1.22.3", ""},
		{"1.21rc2", "1.21rc2", ""},
		{"1.4", "", "finding the newest release of Go 1.4: "},
		{"_x", "", `the tag "_x" says no release of Go`},
	}
	for _, tt := range tests {
		t.Run(tt.tag, func(t *testing.T) {
			got, err := offline().Find(t.Context(), tt.tag)
			if got != tt.want || (err == nil) != (tt.err == "") {
				t.Fatalf("got %q, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got error %v, want one with %q", err, tt.err)
			}
		})
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const hello = "package main\n\nfunc main() { println(\"hello\") }\n"

// What is built does not tell where on the host that was: in a module and, as
// in the days of GOPATH, outside of any.
func TestRunTellsNothingOfTheHost(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		args  string
		path  string
	}{
		{"module", map[string]string{"go.mod": "module example.com/x\n\ngo 1.21\n", "main.go": hello}, "build -o main", "example.com/x"},
		{"no module", map[string]string{"main.go": hello}, "build -a -installsuffix cgo -ldflags -s -o main .", "command-line-arguments"},
		{"files of no module", map[string]string{"main.go": hello}, "build -o main main.go", "command-line-arguments"},
		{"files of a module", map[string]string{"go.mod": "module example.com/x\n\ngo 1.21\n", "main.go": hello}, "build -o main main.go", "command-line-arguments"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var programs [][]byte
			for _, at := range []string{"a", "b/c"} {
				root := filepath.Join(t.TempDir(), at)
				for name, content := range tt.files {
					write(t, filepath.Join(root, "app", name), content)
				}
				var out bytes.Buffer
				err := offline().Run(t.Context(), golang.Stage{
					Release: local(t), Platform: v1.Platform{OS: "linux", Architecture: "arm64"}, Temp: t.TempDir(),
				}, script.Call{
					Name: "go", Args: strings.Fields(tt.args), Dir: filepath.Join(root, "app"), Root: root,
					Env: []string{"CGO_ENABLED=0", "GOPATH=" + filepath.Join(root, "go")}, Stdout: &out, Stderr: &out,
				})
				if err != nil {
					t.Fatalf("%v\n%s", err, &out)
				}
				file := filepath.Join(root, "app", "main")
				info, err := buildinfo.ReadFile(file)
				if err != nil || info.Path != tt.path {
					t.Errorf("got %v, %v, want %s", info, err, tt.path)
				}
				for _, s := range info.Settings {
					if s.Key == "GOARCH" && s.Value != "arm64" {
						t.Errorf("built for %s", s.Value)
					}
				}
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(raw, []byte(root)) {
					t.Errorf("the program has %s in it", root)
				}
				programs = append(programs, raw)
			}
			if !bytes.Equal(programs[0], programs[1]) {
				t.Error("another directory makes another program")
			}
		})
	}
}

// The oldest releases cannot be told to keep the host out.
func TestRunTooOld(t *testing.T) {
	err := offline().Run(t.Context(), golang.Stage{Release: "1.4.3", Platform: v1.Platform{OS: "linux", Architecture: "amd64"}},
		script.Call{Name: "go", Args: []string{"version"}, Dir: t.TempDir(), Root: "/", Stdout: io.Discard, Stderr: io.Discard})
	if err == nil || err.Error() != "the image has Go 1.4.3: the oldest release that can be run is 1.5" {
		t.Errorf("got error %v", err)
	}
}

func TestTree(t *testing.T) {
	static := rootfstest.NewTree("-rw-r--r-- 0:0 /etc/ssl/certs/ca-certificates.crt ROOTS", "drwx------ 65532:65532 /home/nonroot", "-rw-r--r-- 0:0 /etc/passwd static's")
	tree := offline().Tree(t.Context(), static, "1.22-alpine", local(t))
	read := func(p string) string {
		t.Helper()
		rc, err := tree.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		defer rc.Close()
		raw, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if got := read("/etc/ssl/certs/ca-certificates.crt"); got != "ROOTS" {
		t.Errorf("roots are %q", got)
	}
	if got := read("/etc/passwd"); !strings.Contains(got, "root:x:0:0:root:/root:/bin/sh\n") {
		t.Errorf("users are %q", got)
	}
	if got := read("/usr/local/go/VERSION"); !strings.HasPrefix(got, "go1.") {
		t.Errorf("Go is %q", got)
	}
	if _, err := tree.Lstat("/home/nonroot"); err == nil {
		t.Error("the static base's user has a home")
	}
	if list, err := tree.ReadDir("/usr/local"); err != nil || len(list) != 3 {
		t.Errorf("/usr/local has %v, %v", list, err)
	}
	if _, info, err := rootfs.Resolve(tree, "/usr/local/go/bin/go"); err != nil || info == nil && runtime.GOOS != "windows" {
		t.Errorf("there is no go command: %v", err)
	}
}

// An ssh agent is only for who is given it.
func TestRunGivesNoAgent(t *testing.T) {
	h := offline()
	h.Env = append(h.Env, "SSH_AUTH_SOCK=/host/agent")
	for _, given := range []string{"", "/given"} {
		var out bytes.Buffer
		c := script.Call{Name: "git", Args: []string{"-c", "alias.agent=!echo $SSH_AUTH_SOCK", "agent"}, Dir: t.TempDir(), Stdout: &out, Stderr: &out}
		if given != "" {
			c.Env = []string{"SSH_AUTH_SOCK=" + given}
		}
		if err := h.Run(t.Context(), golang.Stage{}, c); err != nil {
			t.Skipf("git: %v", err)
		}
		if got := strings.TrimSpace(out.String()); got != given {
			t.Errorf("git has the agent %q, want %q", got, given)
		}
	}
}
