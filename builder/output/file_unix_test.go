//go:build unix

package output_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
)

func TestFileMode(t *testing.T) {
	before := syscall.Umask(0)
	t.Cleanup(func() { syscall.Umask(before) })
	tests := []struct {
		name  string
		umask int
		old   os.FileMode
		want  os.FileMode
	}{
		{"new", 0o022, 0, 0o644},
		{"new, strict umask", 0o077, 0, 0o600},
		{"new, no umask", 0, 0, 0o666},
		{"the old file was private", 0o022, 0o600, 0o600},
		{"the old file was not", 0o077, 0o664, 0o664},
		{"the old file was read-only", 0o022, 0o444, 0o444},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "image.tar")
			if tt.old != 0 {
				writeFile(t, name, "old")
				if err := os.Chmod(name, tt.old); err != nil {
					t.Fatal(err)
				}
			}
			syscall.Umask(tt.umask)
			_, err := (&output.Archive{Path: name}).Write(t.Context(), single(t))
			syscall.Umask(0)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != tt.want {
				t.Errorf("got %o, want %o", got, tt.want)
			}
		})
	}
}

func TestLayoutMode(t *testing.T) {
	before := syscall.Umask(0o027)
	t.Cleanup(func() { syscall.Umask(before) })
	dir := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, dir, single(t)...)
	for _, name := range append(tree(t, dir), "") {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want := os.FileMode(0o640)
		if info.IsDir() {
			want = 0o750
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o, want %o", name, got, want)
		}
	}
}

func TestArchiveIntoPipe(t *testing.T) {
	pipe := newPipe(t)
	dir := filepath.Dir(pipe)
	link(t, "pipe", dir, "link")
	results := single(t)
	want := archive(t, output.Archive{}, results...)
	for _, name := range []string{pipe, filepath.Join(dir, "link")} {
		a := &output.Archive{Path: name}
		if err := a.Check(); err != nil {
			t.Error(err)
		}
		got := make(chan string)
		go func() {
			content, err := os.ReadFile(pipe)
			if err != nil {
				t.Error(err)
			}
			got <- string(content)
		}()
		written, err := a.Write(t.Context(), results)
		if err != nil {
			t.Fatal(err)
		}
		if <-got != string(want) {
			t.Error("another archive came through")
		}
		if diff := cmp.Diff([]output.Written{{Kind: "archive", Where: name}}, written); diff != "" {
			t.Errorf("written (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]string{"link", "pipe"}, tree(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// A shell's >(docker load) is a path like this, in a directory where no file can
// be made.
func TestArchiveIntoDescriptor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	a := &output.Archive{Path: fmt.Sprintf("/dev/fd/%d", w.Fd())}
	if _, err := os.Stat(a.Path); err != nil {
		t.Skip(err)
	}
	if err := a.Check(); err != nil {
		t.Error(err)
	}
	got := make(chan string)
	go func() {
		content, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		got <- string(content)
	}()
	results := single(t)
	if _, err := a.Write(t.Context(), results); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if <-got != string(archive(t, output.Archive{}, results...)) {
		t.Error("another archive came through")
	}
}

// Not even root can make files in /proc.
func TestReadOnlyDirectory(t *testing.T) {
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip(err)
	}
	const name = "/proc/image"
	for _, out := range []interface {
		Check() error
		Write(context.Context, []image.Result) ([]output.Written, error)
	}{&output.Archive{Path: name}, &output.Layout{Dir: name}} {
		err := out.Check()
		if err == nil || !strings.HasPrefix(err.Error(), "writing /proc/image: ") || strings.Contains(err.Error(), "stagectl-") {
			t.Errorf("%T: check: %v", out, err)
		}
		if _, writeErr := out.Write(t.Context(), single(t)); writeErr == nil || writeErr.Error() != err.Error() {
			t.Errorf("%T: write: %v", out, writeErr)
		}
	}
}

// Opening a pipe that nobody reads blocks, and so does writing to one.
func TestArchiveIntoPipeCancelled(t *testing.T) {
	results := single(t, newLayer(t, "more than a pipe holds", 1<<20))
	t.Run("opening", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		a := &output.Archive{Path: newPipe(t), Progress: func(event.Event) { cancel(errBoom) }}
		_, err := a.Write(ctx, results)
		wantError(t, err, "boom")
	})
	t.Run("writing", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		pipe := newPipe(t)
		read := make(chan error)
		go func() {
			f, err := os.Open(pipe)
			if err == nil {
				t.Cleanup(func() { _ = f.Close() })
				_, err = io.CopyN(io.Discard, f, 1000)
			}
			cancel(errBoom)
			read <- err
		}()
		_, err := (&output.Archive{Path: pipe}).Write(ctx, results)
		wantError(t, err, "boom")
		if err := <-read; err != nil {
			t.Error(err)
		}
	})
}

func newPipe(t testing.TB) string {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	return pipe
}

func TestArchiveDiskFull(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip(err)
	}
	a := &output.Archive{Path: full}
	if err := a.Check(); err != nil {
		t.Error(err)
	}
	_, err := a.Write(t.Context(), single(t))
	if !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "writing /dev/full: no space") {
		t.Errorf("got %v", err)
	}
}

// What is neither a file nor a directory is never replaced by one.
func TestArchiveOntoSocket(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "socket")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: name}); err != nil {
		t.Skip(err) // the path of the temporary directory is too long
	}
	_, err = (&output.Archive{Path: name}).Write(t.Context(), single(t))
	if err == nil || strings.Count(err.Error(), name) != 1 {
		t.Errorf("got %v", err)
	}
	if info, err := os.Lstat(name); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("the socket is gone: %v, %v", info, err)
	}
}
