package imagetest_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// entry is a tar header with its content.
type entry struct {
	tar.Header
	content string
}

func dir(name string, mode int64) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}}
}

func file(name string, mode int64, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode}, content}
}

func link(name, to string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: to}}
}

func hardlink(name, to string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}}
}

func layer(entries ...entry) v1.Layer {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size, e.ModTime = int64(len(e.content)), time.Unix(1700000000, 0)
		if err := w.WriteHeader(&e.Header); err != nil {
			panic(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	})
	if err != nil {
		panic(err)
	}
	return l
}

// newImage returns an image for a platform.
func newImage(platform string, config v1.Config, layers ...v1.Layer) v1.Image {
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		panic(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		panic(err)
	}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Variant, cf.Config = p.OS, p.Architecture, p.Variant, config
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		panic(err)
	}
	return img
}

// server is an image of two layers as a build makes it.
func server() v1.Image {
	base := layer(
		dir("etc/", 0o755), file("etc/passwd", 0o644, "root:x:0:0\n"), file("etc/motd", 0o644, "hello\n"),
		dir("run/", 0o755), dir("var/", 0o755), link("var/run", "/run"), link("bin", "usr/bin"),
		file("usr/bin/sh", 0o755, "#!"), file("usr/bin/su", 0o4755, "su"), hardlink("usr/bin/sulogin", "usr/bin/su"),
		dir("tmp/", 0o1777), file("cache/a", 0o644, "a"),
	)
	own := layer(
		dir("app/", 0o755),
		entry{tar.Header{Name: "app/server", Typeflag: tar.TypeReg, Mode: 0o755, Uid: 65532, Gid: 7}, "the server"},
		file("var/run/pid", 0o600, "123"), file("etc/.wh.motd", 0, ""), file("cache/.wh..wh..opq", 0, ""), file("cache/b", 0o644, "b"),
		entry{Header: tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}},
	)
	return newImage("linux/"+runtime.GOARCH, v1.Config{
		Entrypoint: []string{"/app/server"}, Cmd: []string{"-v"}, User: "65532", WorkingDir: "/app",
		Env:          []string{"PATH=/bin", "PORT=80", "PORT=8080", "EMPTY"},
		Labels:       map[string]string{"a": "1", "b": ""},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "53/udp": {}},
	}, base, own)
}

// writeLayout writes images into an index of a layout directory.
func writeLayout(t *testing.T, images ...v1.Image) string {
	t.Helper()
	var idx v1.ImageIndex = empty.Index
	for _, img := range images {
		cf, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: cf.Platform()}})
	}
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(idx); err != nil {
		t.Fatal(err)
	}
	return dir
}

// writeArchive writes images by their tags into a docker archive.
func writeArchive(t *testing.T, images map[string]v1.Image) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	refs := map[name.Tag]v1.Image{}
	for tag, img := range images {
		ref, err := name.NewTag(tag)
		if err != nil {
			t.Fatal(err)
		}
		refs[ref] = img
	}
	if err := tarball.MultiWriteToFile(path, refs); err != nil {
		t.Fatal(err)
	}
	return path
}

// recorder is a test that keeps what it is told.
type recorder struct {
	testing.TB
	messages []string
	fatal    bool
}

// record runs f with a test of its own, and returns what f reports.
func record(t *testing.T, f func(t testing.TB)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.messages = append(r.messages, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.fatal = true
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }
