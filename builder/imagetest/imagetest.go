package imagetest

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
)

// Image is an image under test. Its methods report to the test it was made
// for: those called Want… with t.Errorf, and the others with t.Fatalf when the
// image cannot be read.
type Image struct {
	t      testing.TB
	image  v1.Image
	config *v1.ConfigFile
	files  func() (*files, error)
}

// files are all files of an image.
type files struct {
	merged *FS
	layers []*FS
}

// New returns img for testing.
func New(t testing.TB, img v1.Image) *Image {
	t.Helper()
	cf, err := img.ConfigFile()
	if err == nil && cf == nil {
		err = errors.New("there is none")
	}
	if err != nil {
		t.Fatalf("reading image config: %v", err)
	}
	return &Image{t, img, cf, sync.OnceValues(func() (*files, error) { return readFiles(img) })}
}

// Load opens the docker archive, the OCI archive or the OCI layout directory
// at path. It has to hold one image. If that has several platforms, the one
// for Linux on the architecture of the test is taken.
func Load(t testing.TB, path string) *Image {
	t.Helper()
	return load(t, path, "", "")
}

// LoadTag is Load for a file that holds several images: it takes the one that
// is named name, "registry.example.com/team/server:v1" or "server:v1", or the
// tag alone where the file has no more.
func LoadTag(t testing.TB, path, name string) *Image {
	t.Helper()
	return load(t, path, name, "")
}

// LoadPlatform is Load for a platform such as "linux/arm64" or "linux/arm/v7".
func LoadPlatform(t testing.TB, path, platform string) *Image {
	t.Helper()
	return load(t, path, "", platform)
}

func load(t testing.TB, path, name, platform string) *Image {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	img, err := choose(f, name, platform)
	if err != nil {
		t.Fatal(err)
	}
	return New(t, img)
}

func choose(f *image.File, name, platform string) (v1.Image, error) {
	o, err := f.Find(name)
	if err != nil {
		return nil, err
	}
	if platform == "" {
		if len(o.Images) == 1 {
			return o.Images[0].Image, nil
		}
		platform = "linux/" + runtime.GOARCH
	}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	img, err := o.For(*p)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Path, err)
	}
	return img, nil
}

// With returns the same image for another test, for use in a subtest.
func (i *Image) With(t testing.TB) *Image {
	other := *i
	other.t = t
	return &other
}

// Image returns the image itself.
func (i *Image) Image() v1.Image { return i.image }

// Config returns a copy of the configuration.
func (i *Image) Config() *v1.ConfigFile { return i.config.DeepCopy() }

// FS returns the files of the image: its layers one over the other, as a
// container sees them.
func (i *Image) FS() *FS {
	i.t.Helper()
	return i.read().merged
}

// Layers returns the files in each layer, the lowest first. In these, what a
// layer removes shows as files whose names start with ".wh."
// (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
func (i *Image) Layers() []*FS {
	i.t.Helper()
	return i.read().layers
}

func (i *Image) read() *files {
	i.t.Helper()
	f, err := i.files()
	if err != nil {
		i.t.Fatal(err)
	}
	return f
}

// NewFS returns the files of an image for use without a test.
func NewFS(img v1.Image) (*FS, error) {
	f, err := readFiles(img)
	if err != nil {
		return nil, err
	}
	return f.merged, nil
}

func readFiles(img v1.Image) (*files, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("listing layers: %w", err)
	}
	f := &files{}
	all, err := image.ReadLayers(layers, nil)
	if err != nil {
		return nil, err
	}
	cache := newContents(layers)
	for n := range layers {
		f.layers = append(f.layers, &FS{image.LayerTree(all[n], n), cache})
	}
	f.merged = &FS{image.Merge(all), cache}
	return f, nil
}
