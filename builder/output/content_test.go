package output_test

import (
	"io"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
)

// broken is an image one method of which fails.
type broken struct {
	v1.Image
	method string
}

func (b broken) err(method string) error {
	if b.method == method {
		return errBoom
	}
	return nil
}

func (b broken) Layers() ([]v1.Layer, error) {
	layers, err := b.Image.Layers()
	if b.method == "layer type" {
		layers[0] = brokenLayer{layers[0], errBoom, nil}
	}
	if b.method == "layer digest" {
		layers[0] = brokenLayer{layers[0], nil, errBoom}
	}
	if b.err("layers") != nil {
		return nil, errBoom
	}
	return layers, err
}

func (b broken) RawConfigFile() ([]byte, error) {
	raw, err := b.Image.RawConfigFile()
	if b.err("config") != nil {
		return nil, errBoom
	}
	return raw, err
}

func (b broken) RawManifest() ([]byte, error) {
	raw, err := b.Image.RawManifest()
	if b.err("raw manifest") != nil {
		return nil, errBoom
	}
	return raw, err
}

func (b broken) Manifest() (*v1.Manifest, error) {
	m, err := b.Image.Manifest()
	if b.err("manifest") != nil {
		return nil, errBoom
	}
	return m, err
}

func (b broken) Digest() (v1.Hash, error) {
	h, err := b.Image.Digest()
	if b.err("digest") != nil {
		return h, errBoom
	}
	return h, err
}

type brokenLayer struct {
	v1.Layer
	mediaType, digest error
}

func (l brokenLayer) MediaType() (types.MediaType, error) { return types.OCILayer, l.mediaType }
func (l brokenLayer) Digest() (v1.Hash, error)            { return v1.Hash{}, l.digest }

func TestUnreadableImage(t *testing.T) {
	for _, method := range []string{"layers", "layer type", "layer digest", "config", "raw manifest", "manifest", "digest"} {
		t.Run(method, func(t *testing.T) {
			img := newImage(t, amd64, newLayer(t, "server", 1000))
			img.Image = broken{img.Image, method}
			other := newImage(t, arm64)
			for _, images := range [][]image.Platform{{img}, {img, other}} {
				results := []image.Result{newResult("server", images, "server:latest")}
				_, err := (&output.Archive{Writer: io.Discard}).Write(t.Context(), results)
				if len(images) == 1 {
					wantError(t, err, "reading image server: boom")
				}
				if err == nil {
					t.Error("it was written")
				}
				if _, err := (&output.Layout{Dir: t.TempDir()}).Write(t.Context(), results); err == nil {
					t.Error("a layout was written")
				}
			}
		})
	}
}

func TestUnknownInIndex(t *testing.T) {
	r := newResult("server", []image.Platform{newImage(t, amd64), newImage(t, arm64)}, "server:latest")
	r.Index = mutate.AppendManifests(r.Index, mutate.IndexAddendum{Add: empty.Index})
	_, err := (&output.Archive{Writer: io.Discard}).Write(t.Context(), []image.Result{r})
	wantError(t, err, "reading image server: its index lists something that is not an image")
}

func TestFamiliarName(t *testing.T) {
	tests := []struct{ tag, want string }{
		{"server", "server:latest"},
		{"server:v1", "server:v1"},
		{"docker.io/library/server:v1", "server:v1"},
		{"index.docker.io/team/server:v1", "team/server:v1"},
		{"team/server", "team/server:latest"},
		{"docker.io.example.com/library/server:v1", "docker.io.example.com/library/server:v1"},
		{"localhost:5000/library/server:v1", "localhost:5000/library/server:v1"},
	}
	for _, tt := range tests {
		tag, err := name.NewTag(tt.tag)
		if err != nil {
			t.Fatal(err)
		}
		if got := output.FamiliarName(tag); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.tag, got, tt.want)
		}
	}
}
