package script_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
	"github.com/stagectl/stagectl/builder/script"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// alpine has what users and shells need.
var alpine = []string{
	"-rwxr-xr-x 0:0 /bin/busybox x",
	"lrwxrwxrwx 0:0 /bin/sh -> /bin/busybox",
	"lrwxrwxrwx 0:0 /bin/cp -> /bin/busybox",
	"-rw-r--r-- 0:0 /etc/passwd root:x:0:0:root:/root:/bin/sh\nbin:x:1:1:bin:/bin:/sbin/nologin\n",
	"-rw-r--r-- 0:0 /etc/group root:x:0:root\nbin:x:1:root\nnogroup:x:65533:\n",
	"-rw-r----- 0:42 /etc/shadow root:*::0:::::\n",
	"drwx------ 0:0 /root",
	"drwxrwxrwt 0:0 /tmp",
}

var debian = []string{
	"lrwxrwxrwx 0:0 /bin/sh -> dash",
	"-rwxr-xr-x 0:0 /bin/dash x",
	"-rw-r--r-- 0:0 /etc/passwd root:x:0:0:root:/root:/bin/bash\n",
	"-rw-r--r-- 0:0 /etc/group root:x:0:\nnogroup:x:65534:\nusers:x:100:\n",
	"-rw-r----- 0:42 /etc/shadow root:*:19000:0:99999:7:::\n",
	"-rw-r----- 0:42 /etc/gshadow root:*::\n",
	"-rw-r--r-- 0:0 /etc/subuid",
	"-rw-r--r-- 0:0 /etc/subgid",
	"-rw-r--r-- 0:0 /etc/skel/.profile p",
}

func newStage(t *testing.T, lines ...string) *rootfs.FS {
	t.Helper()
	f, err := rootfs.New(rootfstest.NewTree(lines...), t.TempDir())
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// result is what came of a script.
type result struct {
	stdout, stderr string
	err            error
	calls          []script.Call
}

// exitError is how a program of the host fails.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
func (e exitError) ExitCode() int { return int(e) }

// world is what a test's scripts are run in.
type world struct {
	script.Host
	script.Options
	// command answers calls of programs, beside noting them.
	command func(script.Call) error
}

func (w *world) run(t *testing.T, f *rootfs.FS, run *plan.Run) result {
	t.Helper()
	var r result
	var stdout, stderr bytes.Buffer
	h := w.Host
	h.Stdout, h.Stderr = &stdout, &stderr
	if h.Now.IsZero() {
		h.Now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	}
	if h.Platform.OS == "" {
		h.Platform = v1.Platform{OS: "linux", Architecture: "arm64"}
	}
	h.Certificates = func() ([]byte, error) { return []byte("ROOTS\n"), nil }
	h.Zoneinfo = func() (fs.FS, error) {
		return fstest.MapFS{"UTC": {Data: []byte("utc")}, "Europe/Rome": {Data: []byte("rome")}}, nil
	}
	h.Command = func(_ context.Context, c script.Call) error {
		r.calls = append(r.calls, c)
		if w.command != nil {
			return w.command(c)
		}
		return nil
	}
	if run.Dir == "" {
		run.Dir = "/"
	}
	r.err = script.Exec(t.Context(), f, run, h, w.Options)
	r.stdout, r.stderr = stdout.String(), stderr.String()
	return r
}

func sh(text string) *plan.Run {
	run := &plan.Run{Script: text}
	offset := 0
	for i, line := range strings.SplitAfter(text, "\n") {
		run.Lines = append(run.Lines, plan.Line{Offset: offset, Line: 10 + i})
		offset += len(line)
	}
	return run
}

func wantChanges(t *testing.T, f *rootfs.FS, want ...string) {
	t.Helper()
	got, err := rootfstest.Changes(f, nil)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

// write puts a file where a program of the host is to.
func write(t *testing.T, name, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(content), 0o755))
}
