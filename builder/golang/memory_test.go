package golang_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/golang"
)

// goLog names the file in which the test binary, as the go command, notes calls.
const goLog = "GOLANG_TEST_LOG"

func TestMain(m *testing.M) {
	if log := os.Getenv(goLog); log != "" {
		os.Exit(loggedGo(log))
	}
	if os.Getenv(oldLog) != "" {
		os.Exit(oldGo(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func loggedGo(log string) int {
	f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 99
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(os.Args[1:], " ") + "\n"); err != nil {
		return 99
	}
	cmd := exec.Command("go", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if cmd.Run() != nil {
		return 1
	}
	return 0
}

// records are a compile.Records in memory.
type records struct {
	mu     sync.Mutex
	values map[string]string
}

func (r *records) Record(kind, key string, value any) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	raw, ok := r.values[kind+" "+key]
	return ok && json.Unmarshal([]byte(raw), value) == nil
}

func (r *records) SetRecord(kind, key string, value any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	raw, err := json.Marshal(value)
	r.values[kind+" "+key] = string(raw)
	return err
}

// What the go command has said is not asked for again while all is the same that
// it goes by.
func TestHostRemembers(t *testing.T) {
	proxy := t.TempDir()
	list := filepath.Join(proxy, "golang.org", "toolchain", "@v", "list")
	known := func(releases ...string) {
		text := ""
		for _, release := range releases {
			v := "v0.0.1-go" + release + "." + runtime.GOOS + "-" + runtime.GOARCH
			text += v + "\n"
			write(t, filepath.Join(filepath.Dir(list), v+".info"), `{"Version":"`+v+`"}`)
			write(t, filepath.Join(filepath.Dir(list), v+".mod"), "module golang.org/toolchain\n")
		}
		write(t, list, text)
	}
	known("1.6.3", "1.6.4", "1.25.1", "1.26.0")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	goroot, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	remembered := &records{values: map[string]string{}}
	t.Setenv("GOMODCACHE", t.TempDir()) // which would remember the list's versions
	find := func(tag, env string, forget bool) (release, asked string) {
		t.Helper()
		h := &golang.Host{
			Go: self, Records: remembered, Forget: forget,
			Env: append(os.Environ(), goLog+"="+log, "GOROOT="+strings.TrimSpace(string(goroot)), "GOTOOLCHAIN=local", "GOFLAGS=", "GOSUMDB=off", "GOPROXY=file://"+filepath.ToSlash(proxy), env),
		}
		release, err := h.Find(t.Context(), tag)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Key(t.Context(), release); err != nil {
			t.Fatal(err)
		}
		raw, _ := os.ReadFile(log)
		_ = os.Remove(log)
		for line := range strings.Lines(string(raw)) {
			asked += strings.Fields(line)[0] + " "
		}
		return release, asked
	}
	for _, tt := range []struct {
		name, tag, env string
		forget         bool
		change         func()
		want, asked    string
	}{
		{name: "first", tag: "1.6-alpine", want: "1.6.4", asked: "env list "},
		{name: "again", tag: "1.6-alpine", want: "1.6.4"},
		{name: "exact", tag: "1.22.3", want: "1.22.3"},
		{name: "one that gets patches", tag: "1.25", want: "1.25.1", asked: "list "},
		{name: "a new patch", tag: "1.25", change: func() { known("1.6.4", "1.25.1", "1.25.2", "1.26.0") }, want: "1.25.2", asked: "list "},
		{name: "no longer supported", tag: "1.25", change: func() { known("1.6.4", "1.25.2", "1.25.3", "1.27.0") }, want: "1.25.3", asked: "list "},
		{name: "its last", tag: "1.25", want: "1.25.3"},
		{name: "the newest", tag: "1", want: "1.27.0", asked: "list "},
		{name: "another setting", tag: "1.6", env: "GOFLAGS=-p=2", want: "1.6.4", asked: "env list "},
		{name: "not to be used", tag: "1.6", forget: true, want: "1.6.4", asked: "env list "},
	} {
		if tt.change != nil {
			tt.change()
		}
		release, asked := find(tt.tag, tt.env, tt.forget)
		if release != tt.want || asked != tt.asked {
			t.Errorf("%s: it is %s, and the go command was asked %q, want %s, %q", tt.name, release, asked, tt.want, tt.asked)
		}
	}
	find("1.6", "GOPRIVATE=user:secret@example.com", false)
	all, err := json.Marshal(remembered.values)
	if err != nil || strings.Contains(string(all), "secret") {
		t.Errorf("a password is remembered: %s", all)
	}
	if _, asked := find("1.6", "GOPRIVATE=user:secret@example.com", false); !cmp.Equal(asked, "env ") {
		t.Errorf("the go command was asked %q", asked)
	}
}
