package golang_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/script"
)

// oldLog names the file in which the test binary, as the go command of an old
// release, notes calls; oldFails is a command of it that fails.
const oldLog, oldFails = "GOLANGTESTOLD", "GOLANGTESTFAILS"

// oldGo plays a go command that installs packages, and builds nothing.
func oldGo(args []string) int {
	f, err := os.OpenFile(os.Getenv(oldLog), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 99
	}
	defer f.Close()
	if args[0] == os.Getenv(oldFails) {
		return 1
	}
	if args[0] == "list" {
		if strings.Contains(args[2], ".Deps") {
			fmt.Println("fmt\nvendor/x/y\nunsafe\nexample.com/dep")
		} else {
			fmt.Println("_/app\nmain.go")
		}
		return 0
	}
	text := strings.Join(args, " ") + "\n"
	if args[0] == "mod" {
		text += os.Getenv("GOPATH") + "\n"
	}
	if _, err := f.WriteString(text); err != nil {
		return 99
	}
	if args[0] == "build" && os.Getenv(oldFails) == "gone" && strings.HasPrefix(args[1], "-pkgdir=") {
		_ = os.RemoveAll(strings.TrimPrefix(args[1], "-pkgdir="))
		return 1
	}
	if args[0] != "install" {
		return 0
	}
	dir := strings.TrimPrefix(args[1], "-pkgdir=")
	for _, arg := range args[2:] {
		name := filepath.Join(dir, arg+".a")
		if !strings.Contains(arg, "=") && (os.MkdirAll(filepath.Dir(name), 0o700) != nil || os.WriteFile(name, []byte(arg), 0o600) != nil) {
			return 99
		}
	}
	return 0
}

// oldRoot is where the old release is.
type oldRoot struct {
	records
	dir string
}

func (r *oldRoot) Record(kind, _ string, value any) bool {
	return kind == "roots" && json.Unmarshal(fmt.Appendf(nil, "%q", r.dir), value) == nil
}

// oldHost is a host whose go command for all old releases is the test binary, and
// what calls of it note.
func oldHost(t *testing.T, release string) (h *golang.Host, goroot string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there, such releases are not run")
	}
	goroot = t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(goroot, "VERSION"), "go"+release)
	if err := os.MkdirAll(filepath.Join(goroot, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(goroot, "bin", "go")); err != nil {
		t.Fatal(err)
	}
	h = offline()
	h.Records = &oldRoot{records{values: map[string]string{}}, goroot}
	return h, goroot
}

// What releases that know no GOMODCACHE download is in the host's all the same.
func TestOldModuleCache(t *testing.T) {
	for release, want := range map[string]string{"1.12.17": "ROOT/go", "1.13.15": "/home/me/go:ROOT/go", "1.14": "/home/me/go:ROOT/go", "1.15.1": "ROOT/go"} {
		h, _ := oldHost(t, release)
		root, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
		write(t, filepath.Join(root, "app", "go.mod"), "module example.com/x\n")
		err := h.Run(t.Context(), golang.Stage{
			Release: release, Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Temp: t.TempDir(),
		}, script.Call{
			Name: "go", Args: []string{"mod", "download"}, Dir: filepath.Join(root, "app"), Root: root, Stdout: os.Stdout, Stderr: os.Stderr,
			Env: []string{oldLog + "=" + log, "GOPATH=" + filepath.Join(root, "go"), "GOMODCACHE=/home/me/go/pkg/mod"},
		})
		raw, _ := os.ReadFile(log)
		if got := strings.ReplaceAll(string(raw), root, "ROOT"); err != nil || got != "mod download\n"+want+"\n" {
			t.Errorf("%s: got %q, %v, want GOPATH %s", release, got, err, want)
		}
	}
}

// Releases without a build cache compile the standard library once.
func TestStandardLibrary(t *testing.T) {
	h, goroot := oldHost(t, "1.6.4")
	root, kept := t.TempDir(), t.TempDir()
	h.Packages = kept
	write(t, filepath.Join(goroot, "src", "fmt", "x.go"), "")
	write(t, filepath.Join(goroot, "src", "vendor", "x", "y", "x.go"), "")
	write(t, filepath.Join(root, "app", "main.go"), hello)
	log := filepath.Join(t.TempDir(), "log")
	run := func(args, fails string) string {
		t.Helper()
		err := h.Run(t.Context(), golang.Stage{
			Release: "1.6.4", Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Temp: t.TempDir(),
		}, script.Call{
			Name: "go", Args: strings.Fields(args), Dir: filepath.Join(root, "app"), Root: root, Stdout: os.Stdout, Stderr: os.Stderr,
			Env: []string{oldLog + "=" + log, oldFails + "=" + fails, "GOPATH=" + filepath.Join(root, "go"), "CGO_ENABLED=0"},
		})
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := os.ReadFile(log)
		_ = os.Remove(log)
		text := regexp.MustCompile(`-toolexec=.*?`+regexp.QuoteMeta(root)+" "+regexp.QuoteMeta(goroot)).ReplaceAllString(string(raw), "TRIM")
		return regexp.MustCompile(regexp.QuoteMeta(kept)+"/std-[0-9a-f]+").ReplaceAllString(text, "KEPT")
	}
	damage := func() {
		archives, err := filepath.Glob(filepath.Join(kept, "*", "fmt.a"))
		if err != nil || len(archives) != 1 {
			t.Fatalf("there are %v, %v", archives, err)
		}
		write(t, archives[0], "FMT")
	}
	const build = "build -a -installsuffix cgo -o main ."
	const installs = "install -pkgdir=KEPT TRIM -installsuffix cgo fmt vendor/x/y\n"
	const builds = "build -pkgdir=KEPT TRIM -installsuffix cgo -o main main.go\n"
	const asItIs = "build TRIM -a -installsuffix cgo -o main main.go\n"
	for _, tt := range []struct {
		name, args, fails string
		before            func()
		want              string
	}{
		{"no archives can be made", build, "install", nil, asItIs},
		{"first", build, "", nil, installs + builds},
		{"again", build, "", nil, builds},
		{"other flags of the program", build[:5] + " -ldflags=-s" + build[5:], "", nil, strings.Replace(builds, "TRIM", "TRIM -ldflags=-s", 1)},
		{"gone in the middle", build, "gone", nil, builds + asItIs},
		{"gone", build, "", nil, installs + builds},
		{"damaged", build, "", damage, installs + builds},
		{"fetched anew", build, "", func() { write(t, filepath.Join(goroot, "VERSION"), "go1.6.4") }, installs + builds},
		{"other flags of all", build[:5] + " -gcflags -N" + build[5:], "", nil,
			strings.Replace(installs, "TRIM", "TRIM -gcflags -N", 1) + strings.Replace(builds, "TRIM", "TRIM -gcflags -N", 1)},
		{"archives of its own", build[:5] + " -pkgdir=/x" + build[5:], "", nil, strings.Replace(asItIs, "TRIM", "TRIM -pkgdir=/x", 1)},
	} {
		if tt.before != nil {
			tt.before()
		}
		if diff := cmp.Diff(tt.want, run(tt.args, tt.fails)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
