package image_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/image"
)

// twoPlatforms are images that share a layer and have one of their own.
func twoPlatforms(t testing.TB) []image.Platform {
	t.Helper()
	armv7 := v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	common := newLayer(t, "common")
	var images []image.Platform
	for _, p := range []v1.Platform{armv7, amd64} {
		base, err := image.Empty(p)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, image.Platform{Platform: p, Image: assemble(t, base, image.Spec{
			Platform: p, Layers: []image.Layer{common, newLayer(t, p.Architecture)},
		})})
	}
	return images
}

func digest(t testing.TB, d interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	h, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestNewIndex(t *testing.T) {
	images := twoPlatforms(t)
	for _, annotations := range []map[string]string{nil, {"k": "v"}} {
		idx := image.NewIndex(images, annotations)
		if err := validate.Index(idx); err != nil {
			t.Errorf("validating the index: %v", err)
		}
		if mt, err := idx.MediaType(); err != nil || mt != types.OCIImageIndex {
			t.Errorf("media type %s, %v", mt, err)
		}
		want := &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Annotations: annotations}
		for _, img := range images {
			size, err := img.Image.Size()
			if err != nil {
				t.Fatal(err)
			}
			want.Manifests = append(want.Manifests, v1.Descriptor{
				MediaType: types.OCIManifestSchema1, Digest: digest(t, img.Image), Size: size, Platform: img.Platform.DeepCopy(),
			})
		}
		got, err := idx.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("index (-want +got):\n%s", diff)
		}
		raw, err := idx.RawManifest()
		if err != nil {
			t.Fatal(err)
		}
		var parsed v1.IndexManifest
		if err := json.Unmarshal(raw, &parsed); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, &parsed); diff != "" {
			t.Errorf("raw index (-want +got):\n%s", diff)
		}
	}
}

// What the caller does later to what it handed in or got makes no difference.
func TestNewIndexCopies(t *testing.T) {
	images, annotations := twoPlatforms(t), map[string]string{"k": "v"}
	want := digest(t, image.NewIndex(twoPlatforms(t), map[string]string{"k": "v"}))
	idx := image.NewIndex(images, annotations)
	images[0], annotations["k"] = images[1], "changed"
	m, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	m.Manifests[0].Platform.Architecture, m.Annotations["k"] = "changed", "changed"
	if got := digest(t, idx); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestIndexImage(t *testing.T) {
	images := twoPlatforms(t)
	idx := image.NewIndex(images, nil)
	// Found before anybody has asked for the manifest, and from anywhere.
	var wg sync.WaitGroup
	for _, want := range append(images, images...) {
		wg.Go(func() {
			got, err := idx.Image(digest(t, want.Image))
			if err != nil || got != want.Image {
				t.Errorf("got %v, %v", got, err)
			}
			if _, err := idx.Digest(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := idx.Image(v1.Hash{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an image that is not there: %v", err)
	}
	if _, err := idx.ImageIndex(digest(t, images[0].Image)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an index that is not there: %v", err)
	}
}

// unfinished is an image that does not know its digest.
type unfinished struct {
	v1.Image
	err error
}

func (u unfinished) Digest() (v1.Hash, error) { return v1.Hash{}, u.err }

func TestNewIndexErrors(t *testing.T) {
	boom := errors.New("boom")
	img := twoPlatforms(t)[1]
	img.Image = unfinished{img.Image, boom}
	idx := image.NewIndex([]image.Platform{img}, nil)
	const want = "describing image for linux/amd64: boom"
	if _, err := idx.IndexManifest(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := idx.RawManifest(); !errors.Is(err, boom) {
		t.Errorf("raw: got %v", err)
	}
	if _, err := idx.Image(v1.Hash{}); !errors.Is(err, boom) {
		t.Errorf("image: got %v", err)
	}
}

func TestResultDigest(t *testing.T) {
	images := twoPlatforms(t)
	idx := image.NewIndex(images, nil)
	tests := []struct {
		name string
		r    image.Result
		want v1.Hash
	}{
		{"one platform", image.Result{Images: images[:1]}, digest(t, images[0].Image)},
		{"index", image.Result{Images: images, Index: idx}, digest(t, idx)},
		{"index of one", image.Result{Images: images[:1], Index: idx}, digest(t, idx)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := digest(t, tt.r); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
