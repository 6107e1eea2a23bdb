//go:build unix

package output_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
)

// engines puts shell scripts by the names of engines on PATH, and nothing else.
// DIR in them is the directory that is returned.
func engines(t *testing.T, scripts map[string]string) string {
	t.Helper()
	bin, dir := t.TempDir(), t.TempDir()
	for name, script := range scripts {
		script = "#!/bin/sh\nPATH=/usr/bin:/bin\n" + strings.ReplaceAll(script, "DIR", dir) + "\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	return dir
}

// loads records how it was called.
const loads = `echo "$0 $*" | sed 's,.*/,,' >> DIR/calls; cat > DIR/input; echo loaded`

func TestEngine(t *testing.T) {
	tests := []struct {
		name    string
		engine  string
		scripts []string
		want    string
	}{
		{"first", "", []string{"docker", "podman", "nerdctl"}, "docker"},
		{"second", "", []string{"nerdctl", "podman"}, "podman"},
		{"third", "", []string{"nerdctl"}, "nerdctl"},
		{"named", "podman", []string{"docker", "podman"}, "podman"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scripts := map[string]string{}
			for _, name := range tt.scripts {
				scripts[name] = loads
			}
			dir := engines(t, scripts)
			var events recorder
			e := &output.Engine{Name: tt.engine, Archive: output.Archive{Host: arm64}, Progress: events.Event}
			if err := e.Check(); err != nil {
				t.Fatal(err)
			}
			results := several(t)
			written, err := e.Write(t.Context(), results)
			if err != nil {
				t.Fatal(err)
			}
			want := []output.Written{
				{Kind: tt.want, Where: "multi:v1"},
				{Kind: tt.want, Where: "example.com/team/multi:v2"},
				{Kind: tt.want, Where: "server:latest"},
			}
			if diff := cmp.Diff(want, written); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			if got, want := readFile(t, filepath.Join(dir, "calls")), tt.want+" load\n"; got != want {
				t.Errorf("called as %q, want %q", got, want)
			}
			input := archive(t, output.Archive{Docker: true, Host: arm64}, results...)
			if !bytes.Equal([]byte(readFile(t, filepath.Join(dir, "input"))), input) {
				t.Error("the engine read another archive")
			}
			if got := events.summary(); len(got) != 1 || !strings.HasPrefix(got[0], "load "+tt.want+": started updated done") {
				t.Errorf("events %q", got)
			}
		})
	}
}

func TestEngineMissing(t *testing.T) {
	engines(t, map[string]string{"dockerd": ""})
	for name, want := range map[string]string{
		"":       "loading into an engine: no docker, podman, nerdctl in $PATH",
		"podman": "loading into an engine: no podman in $PATH",
	} {
		e := &output.Engine{Name: name}
		wantError(t, e.Check(), want)
		_, err := e.Write(t.Context(), single(t))
		wantError(t, err, want)
	}
}

func TestEngineFails(t *testing.T) {
	// More than a pipe holds.
	big := single(t, newLayer(t, "server", 1<<20))
	tests := []struct{ name, script, want string }{
		{"at the end", "cat >/dev/null; echo no such daemon >&2; exit 3", "loading into docker: exit status 3: no such daemon"},
		{"without reading", "echo no such daemon >&2; exit 1", "loading into docker: exit status 1: no such daemon"},
		{"on standard output", "echo first; echo second; exit 1", "loading into docker: exit status 1: first\nsecond"},
		{"without a word", "exit 1", "loading into docker: exit status 1"},
		{"content with a part", "head -c 1000 >/dev/null; echo enough", "loading into docker: it stopped reading before the end of the archive: enough"},
		{"content with nothing", "exec true", "loading into docker: it stopped reading before the end of the archive"},
		{"killed", "kill -9 $$", "loading into docker: signal: killed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			engines(t, map[string]string{"docker": tt.script})
			var events recorder
			written, err := (&output.Engine{Progress: events.Event}).Write(t.Context(), big)
			wantError(t, err, tt.want)
			if written != nil {
				t.Errorf("written %v", written)
			}
			if got := events.summary(); len(got) != 1 || !strings.Contains(got[0], "failed") || !strings.HasSuffix(got[0], tt.want) {
				t.Errorf("events %q", got)
			}
		})
	}
	t.Run("not a program", func(t *testing.T) {
		engines(t, map[string]string{"docker": ""})
		path := filepath.Join(os.Getenv("PATH"), "docker")
		if err := os.WriteFile(path, []byte("#!/nonexistent\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := (&output.Engine{}).Write(t.Context(), big)
		wantError(t, err, "loading into docker: fork/exec "+path+": no such file or directory")
	})
}

// An engine whose input ends early would load what it has, so it is ended first.
func TestEngineInputFails(t *testing.T) {
	l := newLayer(t, "server", 600_000)
	want := "loading into docker: reading " + digestOf(t, l).String() + ": boom"
	dir := engines(t, map[string]string{"docker": "cat >/dev/null; echo partly >> DIR/loaded; exit 1"})
	first := true // which is the check before anything is loaded
	_, err := (&output.Engine{}).Write(t.Context(), single(t, reader(l, func(r io.Reader) io.Reader {
		if first {
			first = false
			return r
		}
		return failingAfter(400_000)(r)
	})))
	wantError(t, err, want)
	if got := tree(t, dir); len(got) > 0 {
		t.Errorf("the engine loaded a part")
	}
}

// Nothing is started before all of the content is there.
func TestEngineFetchesFirst(t *testing.T) {
	l := newLayer(t, "server", 1000)
	dir := engines(t, map[string]string{"docker": loads})
	unavailable := opened{l, func(v1.Layer) (io.ReadCloser, error) { return nil, errBoom }}
	_, err := (&output.Engine{}).Write(t.Context(), single(t, unavailable))
	wantError(t, err, "fetching layers: reading "+digestOf(t, l).String()+": boom")
	if got := tree(t, dir); len(got) > 0 {
		t.Errorf("the engine was started: %q", got)
	}
}

func TestEngineCancelled(t *testing.T) {
	tests := []struct{ name, script string }{
		// The script says when it is there, and then waits to be ended.
		{"that reads nothing", "echo there > DIR/there; exec sleep 1000"},
		{"that has read all", "cat > /dev/null; echo there > DIR/there; exec sleep 1000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := engines(t, map[string]string{"docker": tt.script})
			there := filepath.Join(dir, "there")
			if err := syscall.Mkfifo(there, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				if _, err := os.ReadFile(there); err != nil {
					t.Error(err)
				}
				cancel(errBoom)
			}()
			_, err := (&output.Engine{}).Write(ctx, single(t, newLayer(t, "server", 1<<20)))
			wantError(t, err, "boom")
		})
	}
	t.Run("while the archive is written", func(t *testing.T) {
		dir := engines(t, map[string]string{"docker": "cat > /dev/null; touch DIR/loaded"})
		ctx, cancel := context.WithCancelCause(t.Context())
		l := reader(newLayer(t, "server", 600_000), calling(func() { cancel(errBoom) }))
		_, err := (&output.Engine{}).Write(ctx, single(t, l))
		wantError(t, err, "boom")
		if got := tree(t, dir); len(got) > 0 {
			t.Error("the engine loaded a part")
		}
	})
	t.Run("before", func(t *testing.T) {
		dir := engines(t, map[string]string{"docker": loads})
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errBoom)
		_, err := (&output.Engine{}).Write(ctx, single(t))
		wantError(t, err, "boom")
		if got := tree(t, dir); len(got) > 0 {
			t.Error("the engine was started")
		}
	})
}

func TestEngineMalformedTag(t *testing.T) {
	dir := engines(t, map[string]string{"docker": loads})
	r := single(t)[0]
	r.Tags = []string{"UPPER"}
	e := &output.Engine{Progress: func(e event.Event) { t.Errorf("event %v", e) }}
	if _, err := e.Write(t.Context(), []image.Result{r}); err == nil || !strings.HasPrefix(err.Error(), "reading image server: ") {
		t.Errorf("got %v", err)
	}
	if got := tree(t, dir); len(got) > 0 {
		t.Error("the engine was started")
	}
}
