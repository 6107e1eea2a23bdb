package output_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/layer"
)

var (
	amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = v1.Platform{OS: "linux", Architecture: "arm64"}
	armv6 = v1.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}
	armv7 = v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}

	errBoom = errors.New("boom")
)

// newLayer returns a layer with one file of the given size, which does not
// compress and depends on the name alone.
func newLayer(t testing.TB, name string, size int) v1.Layer {
	t.Helper()
	var seed [32]byte
	copy(seed[:], name)
	content := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(content)
	var blob bytes.Buffer
	info, err := layer.Write(t.Context(), &blob, []layer.File{{
		Path: "/" + name, Mode: 0o755, Size: int64(size),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}}, layer.Options{Compression: layer.Compression{Algorithm: layer.Gzip, Level: 1}})
	if err != nil {
		t.Fatal(err)
	}
	digest, n, err := v1.SHA256(bytes.NewReader(blob.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	l, err := layer.New(layer.Blob{
		Info: info, Digest: digest, Size: n,
		Open: func() io.ReadCloser { return io.NopCloser(bytes.NewReader(blob.Bytes())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newImage returns an image of the layers on scratch.
func newImage(t testing.TB, p v1.Platform, layers ...v1.Layer) image.Platform {
	t.Helper()
	base, err := image.Empty(p)
	if err != nil {
		t.Fatal(err)
	}
	return onBase(t, p, base, layers...)
}

func onBase(t testing.TB, p v1.Platform, base v1.Image, layers ...v1.Layer) image.Platform {
	t.Helper()
	s := image.Spec{Platform: p}
	for _, l := range layers {
		s.Layers = append(s.Layers, image.Layer{Layer: l, CreatedBy: "test"})
	}
	img, err := image.Assemble(base, s)
	if err != nil {
		t.Fatal(err)
	}
	return image.Platform{Platform: p, Image: img}
}

// newResult returns a result of the images, with an index if there are several.
func newResult(name string, images []image.Platform, tags ...string) image.Result {
	r := image.Result{Name: name, Tags: tags, Images: images}
	if len(images) > 1 {
		r.Index = image.NewIndex(images, nil)
	}
	return r
}

// single is the result with one layer of one platform that most tests need.
func single(t testing.TB, layers ...v1.Layer) []image.Result {
	t.Helper()
	if len(layers) == 0 {
		layers = []v1.Layer{newLayer(t, "server", 1000)}
	}
	return []image.Result{newResult("server", []image.Platform{newImage(t, amd64, layers...)}, "server:latest")}
}

// multi is a result for two platforms that share a layer.
func multi(t testing.TB, tags ...string) image.Result {
	t.Helper()
	common := newLayer(t, "common", 5000)
	return newResult("multi", []image.Platform{
		newImage(t, amd64, common, newLayer(t, "amd64", 2000)),
		newImage(t, arm64, common, newLayer(t, "arm64", 3000)),
	}, tags...)
}

func digestOf(t testing.TB, d interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	h, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// opened is a layer whose content is what open makes of it.
type opened struct {
	v1.Layer
	open func(v1.Layer) (io.ReadCloser, error)
}

func (o opened) Compressed() (io.ReadCloser, error) { return o.open(o.Layer) }

// reader is a layer whose content goes through f, each time it is opened.
func reader(l v1.Layer, f func(io.Reader) io.Reader) v1.Layer {
	return opened{l, func(l v1.Layer) (io.ReadCloser, error) {
		rc, err := l.Compressed()
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{f(rc), rc}, nil
	}}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// failingAfter reads n bytes of r and then fails.
func failingAfter(n int64) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader {
		return io.MultiReader(io.LimitReader(r, n), readerFunc(func([]byte) (int, error) { return 0, errBoom }))
	}
}

// calling calls f before the first read.
func calling(f func()) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader {
		return readerFunc(func(p []byte) (int, error) {
			f()
			return r.Read(p)
		})
	}
}

// foreign is a layer that is not distributed with the image, and can't be had.
type foreign struct{ v1.Layer }

const foreignURL = "https://example.com/layer.tar.gz"

func (f foreign) MediaType() (types.MediaType, error) { return types.OCIRestrictedLayer, nil }

func (f foreign) Compressed() (io.ReadCloser, error) {
	return nil, errors.New("a foreign layer was opened")
}

func (f foreign) Descriptor() (*v1.Descriptor, error) {
	desc, err := image.Describe(f)
	desc.URLs = []string{foreignURL}
	return &desc, err
}

// recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []event.Event
}

func (r *recorder) Event(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// summary has one line a subject, sorted: its phase and states, where those
// that follow each other are one, and the last count of bytes.
func (r *recorder) summary() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := map[string]string{}
	last := map[string]event.Event{}
	for _, e := range r.events {
		key := fmt.Sprintf("%s %s", e.Phase, e.Subject)
		if lines[key] == "" || last[key].State != e.State {
			lines[key] += " " + string(e.State)
		}
		last[key] = e
	}
	var all []string
	for key, states := range lines {
		line := fmt.Sprintf("%s:%s %d/%d", key, states, last[key].Current, last[key].Total)
		if e := last[key]; e.Text != "" {
			line += " " + e.Text
		}
		all = append(all, line)
	}
	slices.Sort(all)
	return all
}

// count says how many events are of one of the states.
func (r *recorder) count(states ...event.State) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if slices.Contains(states, e.State) {
			n++
		}
	}
	return n
}

// tree lists what is in a directory, with the sizes of files.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		rel = filepath.ToSlash(rel)
		if info.IsDir() {
			rel += "/"
		}
		names = append(names, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// untar unpacks an archive of ours.
func untar(t testing.TB, archive []byte) string {
	t.Helper()
	dir := t.TempDir()
	tr := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.Mkdir(name, 0o700)
		} else {
			content, readErr := io.ReadAll(tr)
			err = cmp.Or(readErr, os.WriteFile(name, content, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// describe opens a file or a layout with our own reader, validates all that is
// in it and says what that is.
func describe(t testing.TB, path string) []string {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	for _, o := range f.Images {
		line := strings.Join(o.Names, " ") + " " + o.Digest().String()
		if o.Index != nil {
			if err := validate.Index(o.Index); err != nil {
				t.Errorf("validating the index: %v", err)
			}
		}
		for _, p := range o.Images {
			line += " " + p.Platform.String()
			if err := validate.Image(p.Image); err != nil {
				t.Errorf("validating the image for %s: %v", p.Platform, err)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// wantError checks the whole text of an error.
func wantError(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
