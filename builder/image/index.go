package image

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// NewIndex returns an OCI index over images, in their order.
func NewIndex(images []Platform, annotations map[string]string) v1.ImageIndex {
	images, annotations = slices.Clone(images), maps.Clone(annotations)
	return &index{images: images, manifest: sync.OnceValues(func() (*v1.IndexManifest, error) {
		return indexManifest(images, annotations)
	})}
}

func indexManifest(images []Platform, annotations map[string]string) (*v1.IndexManifest, error) {
	m := &v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests:     make([]v1.Descriptor, len(images)),
		Annotations:   annotations,
	}
	for i, img := range images {
		desc, err := Describe(img.Image)
		if err != nil {
			return nil, fmt.Errorf("describing image for %s: %w", img.Platform, err)
		}
		desc.Platform = img.Platform.DeepCopy()
		m.Manifests[i] = desc
	}
	return m, nil
}

// Describe returns the descriptor of an image or an index: its type, digest and
// size. partial.Descriptor adds what the place has that d was found in, and an
// artifactType.
func Describe(d partial.Describable) (v1.Descriptor, error) {
	var desc v1.Descriptor
	var err error
	if desc.MediaType, err = d.MediaType(); err != nil {
		return desc, err
	}
	if desc.Digest, err = d.Digest(); err != nil {
		return desc, err
	}
	desc.Size, err = d.Size()
	return desc, err
}

// index is an index over images that are finished. The one that mutate makes
// does not find them before its manifest has been asked for.
type index struct {
	images   []Platform
	manifest func() (*v1.IndexManifest, error)
}

var _ v1.ImageIndex = (*index)(nil)

func (x *index) MediaType() (types.MediaType, error) { return types.OCIImageIndex, nil }
func (x *index) Digest() (v1.Hash, error)            { return partial.Digest(x) }
func (x *index) Size() (int64, error)                { return partial.Size(x) }

func (x *index) IndexManifest() (*v1.IndexManifest, error) {
	m, err := x.manifest()
	if err != nil {
		return nil, err
	}
	return m.DeepCopy(), nil
}

func (x *index) RawManifest() ([]byte, error) {
	m, err := x.manifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func (x *index) Image(h v1.Hash) (v1.Image, error) {
	for _, img := range x.images {
		digest, err := img.Image.Digest()
		if err != nil {
			return nil, err
		}
		if digest == h {
			return img.Image, nil
		}
	}
	return nil, fmt.Errorf("finding image %s in the index: %w", h, fs.ErrNotExist)
}

// ImageIndex always fails: there is no index in the index.
func (x *index) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return nil, fmt.Errorf("finding index %s in the index: %w", h, fs.ErrNotExist)
}

// Empty returns the scratch base for a platform: no layers, no configuration.
func Empty(p v1.Platform) (v1.Image, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return mutate.ConfigFile(img, &v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		OSVersion: p.OSVersion, OSFeatures: p.OSFeatures,
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
	})
}
