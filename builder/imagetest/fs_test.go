package imagetest_test

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/imagetest"
)

func TestFS(t *testing.T) {
	img := imagetest.New(t, server())
	if err := fstest.TestFS(img.FS(), "app/server", "run/pid", "var/run", "usr/bin/sulogin", "dev/null", "cache/b"); err != nil {
		t.Error(err)
	}
	for n, want := range []string{"etc/motd", "etc/.wh.motd"} {
		t.Run("layer "+want, func(t *testing.T) {
			if err := fstest.TestFS(img.Layers()[n], want); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestList(t *testing.T) {
	img := imagetest.New(t, server())
	merged := []string{
		"drwxr-xr-x 0:0 /app",
		"-rwxr-xr-x 65532:7 10 /app/server",
		"lrwxrwxrwx 0:0 /bin -> usr/bin",
		"drwxr-xr-x 0:0 /cache",
		"-rw-r--r-- 0:0 1 /cache/b",
		"drwxr-xr-x 0:0 /dev",
		"crw-rw-rw- 0:0 1,3 /dev/null",
		"drwxr-xr-x 0:0 /etc",
		"-rw-r--r-- 0:0 11 /etc/passwd",
		"drwxr-xr-x 0:0 /run",
		"-rw------- 0:0 3 /run/pid",
		"drwxrwxrwt 0:0 /tmp",
		"drwxr-xr-x 0:0 /usr",
		"drwxr-xr-x 0:0 /usr/bin",
		"-rwxr-xr-x 0:0 2 /usr/bin/sh",
		"-rwsr-xr-x 0:0 2 /usr/bin/su",
		"-rwsr-xr-x 0:0 2 /usr/bin/sulogin",
		"drwxr-xr-x 0:0 /var",
		"lrwxrwxrwx 0:0 /var/run -> /run",
	}
	own := []string{
		"drwxr-xr-x 0:0 /app",
		"-rwxr-xr-x 65532:7 10 /app/server",
		"drwxr-xr-x 0:0 /cache",
		"---------- 0:0 0 /cache/.wh..wh..opq",
		"-rw-r--r-- 0:0 1 /cache/b",
		"drwxr-xr-x 0:0 /dev",
		"crw-rw-rw- 0:0 1,3 /dev/null",
		"drwxr-xr-x 0:0 /etc",
		"---------- 0:0 0 /etc/.wh.motd",
		"drwxr-xr-x 0:0 /var",
		"drwxr-xr-x 0:0 /var/run",
		"-rw------- 0:0 3 /var/run/pid",
	}
	if diff := cmp.Diff(merged, img.FS().List()); diff != "" {
		t.Errorf("image (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(own, img.Layers()[1].List()); diff != "" {
		t.Errorf("layer 2 (-want +got):\n%s", diff)
	}
}

func TestFileInfo(t *testing.T) {
	fsys := imagetest.New(t, server()).FS()
	info, err := fs.Stat(fsys, "usr/bin/sulogin")
	if err != nil {
		t.Fatal(err)
	}
	if info.Name() != "sulogin" || info.Size() != 2 || info.Mode() != fs.ModeSetuid|0o755 ||
		!info.ModTime().Equal(time.Unix(1700000000, 0)) {
		t.Errorf("Stat gave %v", info)
	}
	want := &image.Entry{Path: "/usr/bin/sulogin", Type: '0', Mode: 0o4755, Size: 2, ModTime: 1700000000, ContentPath: "/usr/bin/su"}
	if diff := cmp.Diff(want, info.Sys()); diff != "" {
		t.Errorf("Sys (-want +got):\n%s", diff)
	}
	// What is at the end of a link has the name it was asked for.
	if info, err = fs.Stat(fsys, "var/run"); err != nil || info.Name() != "run" || !info.IsDir() {
		t.Errorf("Stat of a link gave %v, %v", info, err)
	}
	if info, err = fs.Lstat(fsys, "var/run"); err != nil || info.Mode() != fs.ModeSymlink|0o777 {
		t.Errorf("Lstat of a link gave %v, %v", info, err)
	}
}

func TestReadLink(t *testing.T) {
	fsys := imagetest.New(t, server()).FS()
	tests := []struct {
		name, want string
		err        error
	}{
		{"bin", "usr/bin", nil},
		{"var/run", "/run", nil},
		{"etc/passwd", "", fs.ErrInvalid},
		{".", "", fs.ErrInvalid},
		{"none", "", fs.ErrNotExist},
		{"none/x", "", fs.ErrNotExist},
		{"/bin", "", fs.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := fs.ReadLink(fsys, tt.name); got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("ReadLink gave %q, %v, want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	img := imagetest.New(t, newImage("linux/amd64", v1.Config{}, layer(
		file("a", 0o644, "a"), link("abs", "/d/e/f"), link("rel", "d/../d/e/f"), link("out", "../../../a"), link("dir", "d"),
		file("d/e/f", 0o644, "f"), link("d/e/up", "../../a"), link("loop", "loop"), link("dangling", "none"),
		file("large", 0o644, strings.Repeat("x", 100_000)), file("after", 0o644, "after"), hardlink("hard", "d/e/f"),
	)))
	tests := []struct {
		name, want string
		err        error
	}{
		{"a", "a", nil},
		{"abs", "f", nil},
		{"rel", "f", nil},
		{"out", "a", nil},
		{"dir/e/f", "f", nil},
		{"dir/e/up", "a", nil},
		{"hard", "f", nil},
		{"large", strings.Repeat("x", 100_000), nil},
		{"after", "after", nil},
		{"loop", "", image.ErrLoop},
		{"loop/x", "", image.ErrLoop},
		{"dangling", "", fs.ErrNotExist},
		{"a/b", "", fs.ErrNotExist},
		{"none", "", fs.ErrNotExist},
		{"../a", "", fs.ErrInvalid},
		{"/a", "", fs.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 {
				got, err := fs.ReadFile(img.FS(), tt.name)
				if string(got) != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("ReadFile gave %d bytes, %v, want %d bytes, %v", len(got), err, len(tt.want), tt.err)
				}
				var pe *fs.PathError
				if err != nil && (!errors.As(err, &pe) || strings.Count(err.Error(), tt.name) != 1) {
					t.Errorf("ReadFile: %v, want a PathError that has the path once", err)
				}
			}
		})
	}
}

func TestReadDirRefuses(t *testing.T) {
	fsys := imagetest.New(t, server()).FS()
	for _, name := range []string{"etc/passwd", "none", "../etc"} {
		if _, err := fsys.ReadDir(name); err == nil {
			t.Errorf("ReadDir(%s) gave no error", name)
		}
	}
	if entries, err := fsys.ReadDir("bin"); err != nil || len(entries) != 3 {
		t.Errorf("ReadDir of a link gave %v, %v, want the directory it leads to", entries, err)
	}
}

func TestFileAfterClose(t *testing.T) {
	f, err := imagetest.New(t, server()).FS().Open("etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Read: %v, want fs.ErrClosed", err)
	}
	if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Close: %v, want fs.ErrClosed", err)
	}
}

// counting counts how often a layer is read, and fails when told to.
type counting struct {
	v1.Layer
	reads atomic.Int32
	fail  atomic.Bool
}

func (c *counting) Uncompressed() (io.ReadCloser, error) {
	if c.fail.Load() {
		return nil, errGone
	}
	c.reads.Add(1)
	return c.Layer.Uncompressed()
}

// TestContentsAreKept reads small files once for all of them.
func TestContentsAreKept(t *testing.T) {
	l := &counting{Layer: layer(file("a", 0o644, "a"), file("b", 0o644, "b"), file("c", 0o644, "c"), file("d", 0o644, ""))}
	fsys, err := imagetest.NewFS(fixed{newImage("linux/amd64", v1.Config{}), []v1.Layer{l}})
	if err != nil {
		t.Fatal(err)
	}
	l.reads.Store(0)
	for _, name := range []string{"c", "a", "b", "c", "a"} {
		if got, err := fsys.ReadFile(name); string(got) != name || err != nil {
			t.Errorf("%s contains %q, %v", name, got, err)
		}
	}
	if n := l.reads.Load(); n != 1 {
		t.Errorf("the layer was read %d times, want once", n)
	}
	l.fail.Store(true)
	if _, err := fsys.Stat("d"); err != nil {
		t.Errorf("Stat needs the layer: %v", err)
	}
	if _, err := fsys.ReadFile("d"); !errors.Is(err, errGone) || !strings.HasPrefix(err.Error(), "read d: ") {
		t.Errorf("ReadFile: %v, want the layer's error with the path", err)
	}
}

// TestLayerChanged has a layer that is shorter when it is read again.
func TestLayerChanged(t *testing.T) {
	l := &shrinking{layer(file("a", 0o644, "a"), file("b", 0o644, "b")), layer(file("a", 0o644, "a"))}
	fsys, err := imagetest.NewFS(fixed{newImage("linux/amd64", v1.Config{}), []v1.Layer{l}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fsys.ReadFile("b"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ReadFile: %v, want io.ErrUnexpectedEOF", err)
	}
}

type shrinking struct {
	v1.Layer
	next v1.Layer
}

func (s *shrinking) Uncompressed() (io.ReadCloser, error) {
	l := s.Layer
	s.Layer = s.next
	return l.Uncompressed()
}

// fixed is an image that has these very layers.
type fixed struct {
	v1.Image
	layers []v1.Layer
}

func (f fixed) Layers() ([]v1.Layer, error) { return f.layers, nil }

// TestReadConcurrently matters under the race detector.
func TestReadConcurrently(t *testing.T) {
	img := imagetest.New(t, server())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			err := fs.WalkDir(img.FS(), ".", func(name string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					_, err = fs.ReadFile(img.FS(), name)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
