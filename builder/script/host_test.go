package script_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
	"github.com/stagectl/stagectl/builder/script"
)

func TestMapGoArgs(t *testing.T) {
	tests := []struct{ args, want, dirs string }{
		{"build", "build", "/app"},
		{"build -o /out/main .", "build -o=H/out/main .", "/app"},
		{"build -o=/out/ ./cmd/...", "build -o=H/out/ ./cmd/...", "/app"},
		{"build --o main", "build -o=H/app/main", "/app"},
		{"build -o ../bin/x ./x", "build -o=H/bin/x ./x", "/app"},
		{"build -o /dev/null ./x", "build -o=/dev/null ./x", "/app"},
		{"build -C sub -o x ../y", "build -C=H/app/sub -o=H/app/sub/x H/app/y", "/app /app/sub /app/y"},
		{"build -C /src -modfile=alt.mod", "build -C=H/src -modfile=H/src/alt.mod", "/app /src"},
		{"build -modfile /tmp/go.mod -overlay o.json -pgo=auto", "build -modfile=H/tmp/go.mod -overlay=H/app/o.json -pgo=auto", "/app"},
		{"build -pgo /p/cpu.pprof", "build -pgo=H/p/cpu.pprof", "/app"},
		{"build /src/cmd/a /src/main.go /src/... ../lib/...", "build H/src/cmd/a H/src/main.go H/src/... H/lib/...", "/app /src/cmd/a /src /src /lib"},
		{"build -ldflags -X=main.x=/etc/x -tags a,b -v ./x", "build -ldflags -X=main.x=/etc/x -tags a,b -v ./x", "/app"},
		{"build -ldflags=-s -p 4 -gcflags /x example.com/y", "build -ldflags=-s -p 4 -gcflags /x example.com/y", "/app"},
		{"list /...", "list H//...", "/app /"},
		{"install example.com/x@latest", "install example.com/x@latest", "/app"},
		{"mod vendor -o /v", "mod vendor -o=H/v", "/app"},
		{"mod edit -replace x=../x", "mod edit -replace x=../x", "/app"},
		{"env GOPATH", "env GOPATH", "/app"},
		{"list -f {{.Dir}} -m all", "list -f {{.Dir}} -m all", "/app"},
		{"test -coverprofile=c.out -o t ./...", "test -coverprofile=H/app/c.out -o=H/app/t ./...", "/app"},
		{"build -o", "build -o", "/app"},
		{"build -", "build -", "/app"},
		{"", "", "/app"},
	}
	host := func(p string) (string, error) { return "H" + p, nil }
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			args, dirs, err := script.MapGoArgs(strings.Fields(tt.args), "/app", host)
			must(t, err)
			if got := strings.Join(args, " "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if got := strings.Join(dirs, " "); got != tt.dirs {
				t.Errorf("directories %s, want %s", got, tt.dirs)
			}
		})
	}
	failing := func(string) (string, error) { return "", errors.New("no") }
	for _, args := range []string{"build -o x", "build /x", "build -C x"} {
		if _, _, err := script.MapGoArgs(strings.Fields(args), "/app", failing); err == nil {
			t.Errorf("%s: the error is lost", args)
		}
	}
}

func TestMapGoEnv(t *testing.T) {
	host := func(p string) (string, error) { return "H" + p, nil }
	tests := []struct {
		name string
		vars map[string]string
		all  bool
		want string
	}{
		{"nothing", map[string]string{"HOME": "/root"}, false, "GOPATH=H/root/go"},
		{"what compiling looks at", map[string]string{"GOOS": "linux", "CGO_ENABLED": "1", "GOPATH": "/go", "SECRET": "x", "https_proxy": "p", "GOPRIVATE": "a"}, false, "CGO_ENABLED=1 GOOS=linux GOPATH=H/go GOPRIVATE=a https_proxy=p"},
		{"programs", map[string]string{"HOME": "/", "GOAUTH": "x", "GOCACHEPROG": "x", "GIT_SSH_COMMAND": "x", "GIT_CONFIG_COUNT": "1"}, false, "GOPATH=H/go"},
		{"what the host decides", map[string]string{"PATH": "/x", "HOME": "/h", "GOROOT": "/g", "GOTOOLCHAIN": "local", "GOENV": "/e", "GOTMPDIR": "/t", "LD_PRELOAD": "x"}, true, "GOPATH=H/h/go"},
		{"paths", map[string]string{"GOPATH": "/a:/b", "GOBIN": "/bin", "GOMODCACHE": "/m", "GOCACHE": "/c", "GOWORK": "off", "GOFLAGS": "-mod=mod -modfile=/x/go.mod -v"}, false, "GOBIN=H/bin GOFLAGS=-mod=mod -modfile=H/x/go.mod -v GOMODCACHE=H/m GOPATH=H/a" + string(filepath.ListSeparator) + "H/b GOWORK=off"},
		{"code of the project gets all", map[string]string{"GOPATH": "/go", "SECRET": "x"}, true, "GOPATH=H/go SECRET=x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env, err := script.MapGoEnv(tt.vars, tt.all, "/app", []string{"/c"}, host)
			must(t, err)
			if got := strings.Join(env, " "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

var project = append([]string{
	"-rw-r--r-- 0:0 /src/app/go.mod module app\n\nreplace example.com/lib => ../lib\n", "-rw-r--r-- 0:0 /src/app/main.go package main",
	"-rw-r--r-- 0:0 /src/lib/lib.go package lib", "-rw-r--r-- 0:0 /other/x y", "-rw-r--r-- 0:0 /src/app/.git/HEAD ref",
}, alpine...)

// rel cuts the stage's root on the host off.
func rel(c script.Call, s string) string { return strings.ReplaceAll(s, c.Root, "H") }

func TestGo(t *testing.T) {
	w := &world{Host: script.Host{Dirs: []script.Dir{{Stage: "/go/pkg/mod", Host: "/home/me/mod"}}}}
	w.command = func(c script.Call) error {
		for _, name := range []string{"src/app/main.go", "src/app/go.mod", "src/lib/lib.go"} {
			if _, err := os.Stat(filepath.Join(c.Root, name)); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(filepath.Join(c.Root, "other")); err == nil {
			t.Error("what the module does not need is on the host")
		}
		_, _ = io.WriteString(c.Stdout, c.Root+"/src/app/main.go:1: /home/me/mod/x ")
		_, _ = io.WriteString(c.Stdout, c.Root[:3])
		_, _ = io.WriteString(c.Stdout, c.Root[3:]+"\n"+c.Root)
		write(t, c.Root+"/out/bin/app", "elf")
		return nil
	}
	f := newStage(t, project...)
	run := sh("export GOFLAGS=-mod=mod\nX=1 GOOS=linux go build -o /out/bin/ ./... > /log")
	run.Dir, run.Env = "/src/app", []string{"GOPATH=/go", "GOTOOLCHAIN=local", "GOMODCACHE=/go/pkg/mod"}
	r := w.run(t, f, run)
	must(t, r.err)
	c := r.calls[0]
	got := []string{c.Name, rel(c, c.Dir), rel(c, strings.Join(c.Args, " "))}
	for _, kv := range c.Env {
		got = append(got, rel(c, kv))
	}
	want := []string{
		"go", "H/src/app", "build -o=H/out/bin/ ./...",
		"GIT_ALLOW_PROTOCOL=https:http:ssh:git", "GIT_CEILING_DIRECTORIES=" + filepath.Dir(c.Root), "GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_GLOBAL=H/root/.gitconfig", "GIT_CONFIG_KEY_0=core.fsmonitor", "GIT_CONFIG_KEY_1=core.hooksPath", "GIT_CONFIG_SYSTEM=H/etc/gitconfig",
		"GIT_CONFIG_VALUE_0=false", "GIT_CONFIG_VALUE_1=/dev/null", "GIT_TERMINAL_PROMPT=0", "GOENV=H/root/.config/go/env", "GOFLAGS=-mod=mod", "GOOS=linux", "GOPATH=H/go",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("call (-want +got):\n%s", diff)
	}
	log, err := f.ReadFile("/log")
	must(t, err)
	if want := "/src/app/main.go:1: /go/pkg/mod/x /\n/"; string(log) != want {
		t.Errorf("the output is %q, want %q", log, want)
	}
	if info, err := f.Stat("/out/bin/app"); err != nil || info.Mode != 0o755 || info.UID != 0 {
		t.Errorf("the binary is %v, %v", info, err)
	}
}

func TestGoFails(t *testing.T) {
	f := newStage(t, project...)
	w := &world{command: func(c script.Call) error {
		_, _ = io.WriteString(c.Stderr, c.Dir+"/main.go:1: syntax error\n")
		return exitError(2)
	}}
	run := sh("true\ngo build || exit 3")
	run.Dir = "/src/app"
	r := w.run(t, f, run)
	var e *script.Error
	if !errors.As(r.err, &e) || e.Status != 3 || r.stderr != "/src/app/main.go:1: syntax error\n" {
		t.Errorf("got error %v, stderr %q", r.err, r.stderr)
	}
	broken := errors.New("no go command")
	w.command = func(script.Call) error { return broken }
	run = sh("true\ngo build || true")
	if r := w.run(t, f, run); !errors.Is(r.err, broken) || r.err.Error() != "RUN go build: no go command" {
		t.Errorf("got error %v", r.err)
	}
}

// What the go command installs for the stage's platform is where it is in a
// container, also where the host is of another one.
func TestGoInstall(t *testing.T) {
	tests := []struct {
		name, script string
		want         string
	}{
		{"own platform", "go install x@v1", "/go/bin/tool"},
		{"the same by name", "GOOS=linux GOARCH=arm64 go install x@v1", "/go/bin/tool"},
		{"another platform", "GOARCH=amd64 go install x@v1", "/go/bin/linux_arm64/tool"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newStage(t, alpine...)
			w := &world{Host: script.Host{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}}}
			w.command = func(c script.Call) error {
				write(t, c.Root+"/go/bin/linux_arm64/tool", "elf")
				return nil
			}
			run := sh(tt.script)
			run.Env, run.User = []string{"GOPATH=/go"}, "bin"
			must(t, w.run(t, f, run).err)
			if info, err := f.Stat(tt.want); err != nil || info.UID != 1 {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}

func TestGit(t *testing.T) {
	f := newStage(t, project...)
	w := &world{command: func(c script.Call) error {
		if c.Args[0] == "rev-parse" {
			_, _ = io.WriteString(c.Stdout, "abc\n")
		}
		return nil
	}}
	run := sh("git -C /src/app describe; cd /src/app; echo $(git rev-parse HEAD); GIT_AUTHOR_NAME=1 GIT_SSH_COMMAND=x SECRET=2 git clone -q https://x/y /out; git --git-dir=/src/app/.git log")
	r := w.run(t, f, run)
	must(t, r.err)
	if r.stdout != "abc\n" {
		t.Errorf("got %q", r.stdout)
	}
	var got []string
	for _, c := range r.calls {
		got = append(got, rel(c, c.Dir+": "+strings.Join(c.Args, " ")))
	}
	want := []string{"H: -C H/src/app describe", "H/src/app: rev-parse HEAD", "H/src/app: clone -q https://x/y H/out", "H/src/app: --git-dir=H/src/app/.git log"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	env := r.calls[2].Env
	if !slices.Contains(env, "GIT_AUTHOR_NAME=1") || slices.Contains(env, "SECRET=2") || slices.Contains(env, "GIT_SSH_COMMAND=x") {
		t.Errorf("environment %v", env)
	}
	if _, err := os.Stat(r.calls[0].Root + "/src/app/.git/HEAD"); err != nil {
		t.Error(err)
	}
}

// The caches are the host's, and are not cleaned by a Dockerfile.
func TestGoClean(t *testing.T) {
	r := (&world{}).run(t, newStage(t, project...), sh("go clean -cache -modcache && go clean -modcache -i ./x"))
	must(t, r.err)
	if len(r.calls) != 1 || strings.Join(r.calls[0].Args, " ") != "clean -i ./x" {
		t.Errorf("calls %+v", r.calls)
	}
}

func TestMake(t *testing.T) {
	f := newStage(t, project...)
	w := &world{Options: script.Options{AllowHostExec: true}}
	run := sh("make -C sub all && go generate ./...")
	run.Dir, run.Env = "/src/app", []string{"V=1"}
	r := w.run(t, f, run)
	must(t, r.err)
	if c := r.calls[0]; c.Name != "make" || strings.Join(c.Args, " ") != "-C sub all" || !slices.Contains(c.Env, "V=1") || rel(c, c.Dir) != "H/src/app" {
		t.Errorf("got %+v", c)
	}
	if c := r.calls[1]; !slices.Contains(c.Env, "V=1") {
		t.Errorf("code of the project does not get the variables: %v", c.Env)
	}
}

// Nothing of the machine shows in a stage, or takes part in what is done.
func TestNoLeaks(t *testing.T) {
	t.Setenv("STAGECTL_LEAK", "leaked")
	t.Setenv("HOME", "/leaked")
	t.Setenv("TMPDIR", t.TempDir())
	f := newStage(t, alpine...)
	host := t.TempDir()
	write(t, host+"/leaked", "leaked")
	for _, text := range []string{
		"echo $STAGECTL_LEAK ~ $HOME $HOSTNAME $$ $PPID $UID $EUID $GID",
		"env; export -p 2>/dev/null; set 2>/dev/null", "cat " + host + "/leaked", "ls " + host, "cd " + host + " && pwd", "echo " + host + "/*", ". " + host + "/leaked",
		"test -e " + host + "/leaked && echo leaked", "[[ -f " + host + "/leaked ]] && echo leaked", "command -v leaked", "PATH=" + host + " leaked", host + "/leaked",
		"cat < " + host + "/leaked", "ln -s " + host + "/leaked /l && cat /l", "cp " + host + "/leaked /x", "echo $(<" + host + "/leaked)", "pwd -P", "type leaked",
		"find " + host, "cat /proc/self/environ", "echo 'x' > " + host + "/leaked", "time true", "echo $BASH_VERSION $RANDOM_LEAK $SHLVL", "id; whoami; hostname; date",
	} {
		r := (&world{}).run(t, f, sh(text))
		if out := r.stdout + r.stderr; strings.Contains(strings.ReplaceAll(strings.ReplaceAll(out, host+"/leaked", ""), host, ""), "leaked\n") ||
			strings.Contains(out, "/leaked ") && !strings.Contains(text, "/leaked ") || strings.Contains(out, "real\t") {
			t.Errorf("%s:\n%s", text, out)
		}
	}
	r := (&world{}).run(t, f, sh("echo $HOME ~ $$ $PPID $UID $EUID; echo ~ | cat; (echo $$); env | sort"))
	want := "/root /root 1 1 0 0\n/root\n1\nHOME=/root\n"
	if !strings.HasPrefix(r.stdout, want) || r.err != nil {
		t.Errorf("got %q, %v", r.stdout, r.err)
	}
	content, err := os.ReadFile(host + "/leaked")
	if err != nil || string(content) != "leaked" {
		t.Errorf("the host's file is %q, %v", content, err)
	}
}

func TestMounts(t *testing.T) {
	tree := rootfstest.NewTree("-rw-r--r-- 0:0 /go.sum sum", "-rw-r--r-- 0:0 /sub/f F", "lrwxrwxrwx 0:0 /sub/l -> f")
	w := &world{Host: script.Host{
		Dirs:   []script.Dir{{Stage: "/go/pkg/mod", Host: "/home/me/mod"}},
		Source: func(_ context.Context, _ plan.Mount) (rootfs.Tree, error) { return tree, nil },
		Secret: func(_ context.Context, m plan.Mount) ([]byte, error) {
			if m.ID == "none" {
				return nil, os.ErrNotExist
			}
			return []byte("hush"), nil
		},
	}}
	f := newStage(t, append([]string{"-rw-r--r-- 0:0 /src/old old", "-rw-r--r-- 0:0 /src/go.sum old"}, alpine...)...)
	run := sh("cp -p /run/secrets/s /kept; cat go.sum sub/l /run/secrets/s; echo $S; ls; echo x > /c/x; echo y > /out; echo z > sub/new; ls -d /t /go/pkg/mod; echo w > /go/pkg/mod/w")
	run.Dir = "/src"
	run.Mounts = []plan.Mount{
		{Type: plan.MountBind, Target: "/src", FromKind: plan.FromContext},
		{Type: plan.MountCache, Target: "/go/pkg/mod", ID: "m"},
		{Type: plan.MountCache, Target: "/c", ID: "c", Mode: "0700", UID: 5},
		{Type: plan.MountTmpfs, Target: "/t/deep"},
		{Type: plan.MountSecret, Target: "/run/secrets/s", ID: "s", Mode: "0440", UID: 3, GID: 4},
		{Type: plan.MountSecret, ID: "s", Env: "S"},
		{Type: plan.MountSecret, ID: "none", Target: "/run/secrets/none"},
		{Type: plan.MountSSH, Target: "/run/x"},
	}
	must(t, f.Mkdir("/go", 0o755, rootfs.Root))
	_, err := f.MkdirAll("/go/pkg/mod", 0o755, rootfs.Root)
	must(t, err)
	r := w.run(t, f, run)
	must(t, r.err)
	if want := "sumFhushhush\ngo.sum\nsub\n/go/pkg/mod\n/t\n"; r.stdout != want {
		t.Errorf("got %q, want %q\n%s", r.stdout, want, r.stderr)
	}
	wantChanges(t, f, "drwxr-xr-x 0:0 /go", "drwxr-xr-x 0:0 /go/pkg", "drwxr-xr-x 0:0 /go/pkg/mod", "-rw-r--r-- 0:0 /go/pkg/mod/w w\n", "-r--r----- 3:4 /kept hush", "-rw-r--r-- 0:0 /out y\n")
	if content, err := f.ReadFile("/src/go.sum"); err != nil || string(content) != "old" {
		t.Errorf("got %q, %v", content, err)
	}

	run.Mounts = []plan.Mount{{Type: plan.MountBind, Target: "/src", Source: "/nope", FromKind: plan.FromContext}}
	wantError(t, w.run(t, f, run).err, "mounting /src: finding /nope: file does not exist")
	run.Mounts = []plan.Mount{{Type: plan.MountSecret, Target: "/s", ID: "none", Required: true}}
	wantError(t, w.run(t, f, run).err, "mounting /s: finding secret none: ")
}

// Programs of the host get the credentials that a RUN is given, and no others.
func TestGivenCredentials(t *testing.T) {
	f := newStage(t, alpine...)
	var seen []string
	w := &world{
		Host: script.Host{
			AgentSocket: "/host/agent",
			Secret:      func(context.Context, plan.Mount) ([]byte, error) { return []byte("machine x"), nil },
		},
		command: func(c script.Call) error {
			text := c.Name
			for _, kv := range c.Env {
				name, value, _ := strings.Cut(kv, "=")
				if name == "SSH_AUTH_SOCK" || name == "NETRC" || name == "HOME" {
					text += " " + name + "=" + strings.ReplaceAll(value, c.Root, "")
				}
			}
			seen = append(seen, text)
			if name := filepath.Join(c.Root, "root", ".netrc"); strings.Contains(text, "NETRC") {
				content, err := os.ReadFile(name)
				if string(content) != "machine x" {
					t.Errorf("%s is %q, %v", name, content, err)
				}
			}
			return nil
		},
	}
	run := sh(`go version; git status; echo "$SSH_AUTH_SOCK"`)
	run.Mounts = []plan.Mount{
		{Type: plan.MountSSH, ID: "default", Target: "/run/buildkit/ssh_agent.0"},
		{Type: plan.MountSecret, ID: "netrc", Target: "/root/.netrc"},
	}
	r := w.run(t, f, run)
	must(t, r.err)
	if r.stdout != "/run/buildkit/ssh_agent.0\n" {
		t.Errorf("the shell has %q", r.stdout)
	}
	w.AgentSocket = ""
	must(t, w.run(t, f, sh("go version")).err)
	want := []string{
		"go HOME=/root NETRC=/root/.netrc SSH_AUTH_SOCK=/host/agent", "git HOME=/root NETRC=/root/.netrc SSH_AUTH_SOCK=/host/agent", "go",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
	wantChanges(t, f, "drwxr-xr-x 0:0 /etc", "drwx------ 0:0 /root") // which programs have been near
}
