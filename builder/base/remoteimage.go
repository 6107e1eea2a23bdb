package base

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/image"
)

// remoteImage is an image whose manifest and config are in memory, and whose
// layers are downloaded when they are read. It has the methods that
// partial.CompressedToImage derives the rest from.
type remoteImage struct {
	ctx      context.Context //nolint:containedctx // v1.Layer's methods take none
	source   *remoteSource
	repos    []name.Repository
	digest   v1.Hash
	raw      []byte
	manifest *v1.Manifest
	config   []byte
	cf       *v1.ConfigFile
}

var _ partial.CompressedImageCore = (*remoteImage)(nil)

// open reads the manifest and the config of an image.
func (s *remoteSource) open(ctx context.Context, desc v1.Descriptor) (*remoteImage, error) {
	f, err := s.r.manifest(ctx, s.repos, desc)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(f.raw)
	if err != nil {
		return nil, err
	}
	if m.MediaType != desc.MediaType {
		return nil, fmt.Errorf("manifest %s is listed as %s, but is %s", desc.Digest, desc.MediaType, m.MediaType)
	}
	img := &remoteImage{ctx: ctx, source: s, repos: f.repos, digest: desc.Digest, raw: f.raw}
	if img.manifest, err = v1.ParseManifest(bytes.NewReader(f.raw)); err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
	}
	img.manifest.MediaType = m.MediaType
	return img, img.readConfig(ctx)
}

func (i *remoteImage) readConfig(ctx context.Context) error {
	desc := i.manifest.Config
	b, err := i.source.r.blob(ctx, i.repos, ownBlob(desc))
	if err != nil {
		return err
	}
	if i.config, err = readJSON(b); err != nil {
		return err
	}
	if i.cf, err = v1.ParseConfigFile(bytes.NewReader(i.config)); err != nil {
		return fmt.Errorf("reading config %s: %w", desc.Digest, err)
	}
	if have, want := len(i.cf.RootFS.DiffIDs), len(i.manifest.Layers); have != want {
		return fmt.Errorf("reading config %s: it lists %d layers, manifest %s lists %d", desc.Digest, have, i.digest, want)
	}
	return nil
}

// MediaType implements partial.CompressedImageCore.
func (i *remoteImage) MediaType() (types.MediaType, error) { return i.manifest.MediaType, nil }

// RawManifest implements partial.CompressedImageCore.
func (i *remoteImage) RawManifest() ([]byte, error) { return bytes.Clone(i.raw), nil }

// RawConfigFile implements partial.CompressedImageCore.
func (i *remoteImage) RawConfigFile() ([]byte, error) { return bytes.Clone(i.config), nil }

// LayerByDigest implements partial.CompressedImageCore.
func (i *remoteImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for n, desc := range i.manifest.Layers {
		if desc.Digest == h {
			return &remoteLayer{i: i, desc: desc, diffID: i.cf.RootFS.DiffIDs[n]}, nil
		}
	}
	return nil, fmt.Errorf("finding layer %s of manifest %s: %w", h, i.digest, fs.ErrNotExist)
}

// mountable returns the image with layers that say where they come from, so
// that a push to the same registry can mount instead of upload.
func (i *remoteImage) mountable() v1.Image {
	img, _ := partial.CompressedToImage(i) // which has no error to return
	return mountable{img, i.repos[0].Digest(i.digest.String())}
}

// remoteLayer is a layer of a remoteImage.
type remoteLayer struct {
	i      *remoteImage
	desc   v1.Descriptor
	diffID v1.Hash
}

var (
	_ partial.CompressedLayer = (*remoteLayer)(nil)
	_ partial.WithDiffID      = (*remoteLayer)(nil)
)

func (l *remoteLayer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *remoteLayer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *remoteLayer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *remoteLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l *remoteLayer) Descriptor() (*v1.Descriptor, error) { return l.desc.DeepCopy(), nil }

// Compressed implements partial.CompressedLayer.
func (l *remoteLayer) Compressed() (io.ReadCloser, error) {
	s := l.i.source
	c := ownBlob(l.desc)
	if len(l.desc.URLs) > 0 {
		c = foreignBlob(l.desc, l.i.digest)
	}
	c.progress = s.r.Progress
	b, err := s.r.blob(l.i.ctx, l.i.repos, c)
	if err != nil {
		return nil, fmt.Errorf("reading a layer of base %s: %w", s.origin, err)
	}
	return b.Open(), nil
}

// unpacked is a layer that is decompressed within limits, which the one of
// package partial is not: a frame of zstd may make that allocate half a gigabyte.
type unpacked struct{ v1.Layer }

func (l unpacked) Uncompressed() (io.ReadCloser, error) {
	rc, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	plain, err := image.Decompress(rc)
	if err != nil {
		return nil, errors.Join(err, rc.Close())
	}
	return plain, nil
}

// Descriptor keeps what else the manifest says of the layer.
func (l unpacked) Descriptor() (*v1.Descriptor, error) { return partial.Descriptor(l.Layer) }

// mountable wraps the layers of an image in remote.MountableLayer.
type mountable struct {
	v1.Image
	found name.Digest
}

func (m mountable) wrap(l v1.Layer, err error) (v1.Layer, error) {
	if err != nil {
		return nil, err
	}
	return &remote.MountableLayer{Layer: unpacked{l}, Reference: m.found}, nil
}

// LayerByDigest implements v1.Image.
func (m mountable) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	return m.wrap(m.Image.LayerByDigest(h))
}

// LayerByDiffID implements v1.Image.
func (m mountable) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	return m.wrap(m.Image.LayerByDiffID(h))
}

// Layers implements v1.Image.
func (m mountable) Layers() ([]v1.Layer, error) {
	layers, err := m.Image.Layers()
	for i := range layers {
		layers[i] = &remote.MountableLayer{Layer: unpacked{layers[i]}, Reference: m.found}
	}
	return layers, err
}
