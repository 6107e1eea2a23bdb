//go:build linux

package e2e

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPlanDockerfile proves that Docker makes of what `stagectl plan --dockerfile`
// prints the files, programs included, and the configuration that `stagectl
// build` makes with the same flags.
func TestPlanDockerfile(t *testing.T) {
	docker(t, "image", "prune", "-af")
	client := buildKitClient(t)
	importGolang(t)
	docker(t, "pull", "-q", "alpine")
	module := writeFiles(t, commands)
	tree := filepath.Join(module, "tree")
	if err := os.CopyFS(tree, os.DirFS(copyTree(t))); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(module, "private")
	if err := errors.Join(os.CopyFS(private, os.DirFS(tree)), os.Chmod(filepath.Join(private, "app.conf"), 0o600),
		os.Chmod(filepath.Join(private, "assets"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		o    opts
		args []string
	}{
		"static":  {opts{}, []string{"-p", "8080", "./server"}},
		"scratch": {opts{Dir: module}, []string{"--base", "scratch", "-e", "PATH=" + strings.TrimPrefix(alpineEnv, "PATH="), "-w", "/", "./cmd/one"}},
		"configuration": {opts{Dir: module}, []string{
			"--base", "alpine", "-p", "8080", "-p", "53/udp", "-e", `GREETING=hello "$world" \`, "-e", "EMPTY=", "-w", "/var/www",
			"-u", "1000:1000", "--label", `org.example.team=a 'b' "c" $d`, "--volume", "/data/x y", "--stop-signal", "SIGINT",
			"--cmd", `fixed "two words" $x`, "--health-cmd", `wget -q "$URL" || exit 1`, "--health-interval", "5s", "--health-retries", "4",
			"--ldflags", "-X 'main.x=a b'", "--debug", "./cmd/two",
		}},
		"files": {opts{Dir: filepath.Join(module, "cmd")}, []string{
			"--base", "alpine", "--single", "--binary-path", "/opt/my bin/{name}", "--entrypoint", "[]", "--health-cmd", "none",
			"--copy", tree + "/app.conf:/etc/app/app.conf,chmod=0640,chown=1000:1001", "--copy", tree + "/assets:/srv/assets",
			"--copy", tree + "/run.txt:/var/run/e2e.txt", "--copy", tree + "/assets:/opt/owned,chown=7:8",
			"--copy", tree + "/assets:/opt/x/modes,chmod=0640,chown=7:8", "--copy", tree + "/assets/link:/opt/link",
			"--copy", private + ":/opt/private", "--copy", tree + "/assets:/tmp", "./one", "./two",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			printed := mustStagectl(t, tt.o, append([]string{"plan", "--dockerfile"}, append(useMirror(), tt.args...)...)...)
			asPrinted(t, client, tt.o, printed, "e2e/printed:v1")
			file := filepath.Join(t.TempDir(), "image.tar")
			mustStagectl(t, tt.o, append([]string{"build", "-t", "e2e/flags:v1", "-o", file}, append(useMirror(), tt.args...)...)...)
			docker(t, "load", "-i", file)
			equal(t, "configuration", inspect(t, "docker", "e2e/printed:v1").Config, inspect(t, "docker", "e2e/flags:v1").Config)
			equal(t, "files", exported(t, "e2e/printed:v1"), exported(t, "e2e/flags:v1"))
		})
	}
}

// asPrinted builds by a Dockerfile as it says itself, but for the tag.
func asPrinted(t testing.TB, client string, o opts, printed, tag string) {
	t.Helper()
	dir := o.Dir
	if dir == "" {
		dir = env.Source
	}
	for line := range strings.Lines(printed) {
		words := strings.Fields(strings.TrimPrefix(line, "#"))
		switch {
		case !strings.HasPrefix(line, "#   "):
			continue
		case words[0] == "echo":
			r := stagectl(t, opts{Stdin: "FROM static\n"}, words[5:]...)
			equal(t, "exit code of "+line, r.Code, 0)
			continue
		}
		at := slices.Index(words, "-t")
		words[at+1] = tag
		at = slices.Index(words, "-f")
		words[at+1] = "-"
		cmd := tool(t, client, words[1:]...)
		cmd.Dir = dir
		cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT=1")
		cmd.Stdin = strings.NewReader(printed)
		if r := execute(t, cmd); r.Code != 0 {
			t.Fatalf("%s\nexit code %d\n%s%s\n%s", cmd, r.Code, r.Stdout, r.Stderr, printed)
		}
	}
}

// buildKitClient is a docker program of this machine that builds with BuildKit:
// newer ones need a plugin for that.
func buildKitClient(t testing.TB) string {
	t.Helper()
	var tried []string
	for _, client := range dockerClients(t) {
		cmd := tool(t, client, "build", "-q", "-")
		cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT=1")
		cmd.Stdin = strings.NewReader("FROM scratch\nLABEL e2e=buildkit\n")
		r := execute(t, cmd)
		if r.Code == 0 {
			return client
		}
		tried = append(tried, client+": "+r.Stderr)
	}
	t.Fatalf("no docker builds with BuildKit:\n%s", strings.Join(tried, "\n"))
	return ""
}

// importGolang gives docker an image like those of golang, with the host's Go.
func importGolang(t testing.TB) {
	t.Helper()
	root, archive := t.TempDir(), filepath.Join(t.TempDir(), "golang.tar")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(busybox)
	errs := []error{err, os.Chmod(root, 0o755), os.MkdirAll(filepath.Join(root, "bin"), 0o755), os.MkdirAll(filepath.Join(root, "root"), 0o700),
		os.Mkdir(filepath.Join(root, "tmp"), 0o777), os.WriteFile(filepath.Join(root, "bin", "busybox"), data, 0o755)}
	for applet := range strings.FieldsSeq("sh mkdir cp chmod find") {
		errs = append(errs, os.Symlink("busybox", filepath.Join(root, "bin", applet)))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	output(t, tool(t, "tar", "-cf", archive, "-C", root, "."))
	goroot := output(t, tool(t, "go", "env", "GOROOT"))
	args := []string{"-rf", archive, "--transform", `flags=r;s,^,./usr/local/go/,`, "-C", goroot}
	for _, part := range []string{"VERSION", "go.env", "bin", "lib", "pkg", "src"} {
		if _, err := os.Stat(filepath.Join(goroot, part)); err == nil {
			args = append(args, part)
		}
	}
	output(t, tool(t, "tar", args...))
	release := strings.TrimPrefix(output(t, tool(t, "go", "env", "GOVERSION")), "go")
	docker(t, "import", "-c", "ENV PATH=/go/bin:/usr/local/go/bin:/bin", "-c", "ENV GOTOOLCHAIN=local", "-c", "ENV GOPATH=/go",
		"-c", "ENV GOLANG_VERSION="+release, archive, "golang:"+release)
}

// exported are the files of an image as docker unpacks them.
func exported(t testing.TB, image string) []string {
	t.Helper()
	id := docker(t, "create", image, "x")
	file := filepath.Join(t.TempDir(), "rootfs.tar")
	docker(t, "export", "-o", file, id)
	docker(t, "rm", id)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var files []string
	for tr := tar.NewReader(f); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, tr); err != nil {
			t.Fatal(err)
		}
		files = append(files, fmt.Sprintf("%s %c %o %d:%d %s %x", hdr.Name, hdr.Typeflag, hdr.Mode, hdr.Uid, hdr.Gid, hdr.Linkname, h.Sum(nil)))
	}
	slices.Sort(files)
	return files
}
