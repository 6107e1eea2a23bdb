package image

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/stagectl/stagectl/builder/limit"
)

var (
	_ v1.Image      = (*blobImage)(nil)
	_ v1.ImageIndex = (*blobIndex)(nil)
	_ v1.Layer      = (*blobLayer)(nil)
)

// blobImage is an image whose manifest and config are in memory.
type blobImage struct {
	blobs    *blobs
	desc     v1.Descriptor
	raw      []byte
	config   []byte
	manifest *v1.Manifest
}

// runsOn returns the platform of an image that can run, and false for
// anything else that is stored as an image: attestations, signatures, charts.
func (i *blobImage) runsOn(desc v1.Descriptor) (_ v1.Platform, ok bool, _ error) {
	if !i.manifest.Config.MediaType.IsConfig() || isAttestation(desc) {
		return v1.Platform{}, false, nil
	}
	cf, err := i.ConfigFile()
	if err != nil {
		return v1.Platform{}, false, fmt.Errorf("reading config %s: %w", i.manifest.Config.Digest, err)
	}
	if have, want := len(cf.RootFS.DiffIDs), len(i.manifest.Layers); have != want {
		return v1.Platform{}, false, fmt.Errorf("reading config %s: it lists %d layers, manifest %s lists %d",
			i.manifest.Config.Digest, have, i.desc.Digest, want)
	}
	if p := desc.Platform; p != nil && p.OS != "" {
		return *p, true, nil
	}
	if p := cf.Platform(); p != nil {
		return *p, true, nil
	}
	return v1.Platform{}, true, nil
}

func (i *blobImage) MediaType() (types.MediaType, error) { return i.desc.MediaType, nil }
func (i *blobImage) Size() (int64, error)                { return int64(len(i.raw)), nil }
func (i *blobImage) Digest() (v1.Hash, error)            { return i.desc.Digest, nil }
func (i *blobImage) RawManifest() ([]byte, error)        { return bytes.Clone(i.raw), nil }
func (i *blobImage) Manifest() (*v1.Manifest, error)     { return i.manifest.DeepCopy(), nil }
func (i *blobImage) ConfigName() (v1.Hash, error)        { return i.manifest.Config.Digest, nil }
func (i *blobImage) RawConfigFile() ([]byte, error)      { return bytes.Clone(i.config), nil }
func (i *blobImage) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(i) }

// Layers returns the layers, the lowest first. Their DiffIDs are the config's
// where it is an image's.
func (i *blobImage) Layers() ([]v1.Layer, error) {
	var diffIDs []v1.Hash
	if i.manifest.Config.MediaType.IsConfig() {
		cf, err := i.ConfigFile()
		if err != nil {
			return nil, err
		}
		diffIDs = cf.RootFS.DiffIDs
	}
	layers := make([]v1.Layer, len(i.manifest.Layers))
	for n, desc := range i.manifest.Layers {
		l := &blobLayer{blobs: i.blobs, desc: desc}
		if len(diffIDs) == len(layers) {
			l.diffID = diffIDs[n]
		}
		layers[n] = l
	}
	return layers, nil
}

func (i *blobImage) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if h == i.manifest.Config.Digest {
		return &blobLayer{blobs: i.blobs, desc: i.manifest.Config}, nil
	}
	return i.findLayer(h, v1.Layer.Digest)
}

func (i *blobImage) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	return i.findLayer(h, v1.Layer.DiffID)
}

func (i *blobImage) findLayer(want v1.Hash, id func(v1.Layer) (v1.Hash, error)) (v1.Layer, error) {
	layers, err := i.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		if have, err := id(l); err != nil || have == want {
			return l, err
		}
	}
	return nil, fmt.Errorf("finding layer %s of manifest %s: %w", want, i.desc.Digest, fs.ErrNotExist)
}

// blobIndex is an index in memory. What it lists was read when the file was opened.
type blobIndex struct {
	loader   *loader
	desc     v1.Descriptor
	raw      []byte
	manifest *v1.IndexManifest
}

func (x *blobIndex) MediaType() (types.MediaType, error)       { return x.desc.MediaType, nil }
func (x *blobIndex) Size() (int64, error)                      { return int64(len(x.raw)), nil }
func (x *blobIndex) Digest() (v1.Hash, error)                  { return x.desc.Digest, nil }
func (x *blobIndex) RawManifest() ([]byte, error)              { return bytes.Clone(x.raw), nil }
func (x *blobIndex) IndexManifest() (*v1.IndexManifest, error) { return x.manifest.DeepCopy(), nil }

func (x *blobIndex) Image(h v1.Hash) (v1.Image, error) {
	desc, err := x.find(h)
	if err != nil {
		return nil, err
	}
	if img := x.loader.images[manifestKey{h, desc.MediaType}]; img != nil {
		return img, nil
	}
	return nil, fmt.Errorf("reading manifest %s: it is listed, but not all there: %w", h, fs.ErrNotExist)
}

// ImageIndex always fails: Open refuses an index inside an index.
func (x *blobIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return nil, fmt.Errorf("reading index %s: %w", h, fs.ErrNotExist)
}

// Layer returns something in the index that is no manifest, for go-containerregistry
// to push it along.
func (x *blobIndex) Layer(h v1.Hash) (v1.Layer, error) {
	desc, err := x.find(h)
	if err != nil {
		return nil, err
	}
	return &blobLayer{blobs: x.loader.blobs, desc: desc}, nil
}

func (x *blobIndex) find(h v1.Hash) (v1.Descriptor, error) {
	for _, desc := range x.manifest.Manifests {
		if desc.Digest == h {
			return desc, nil
		}
	}
	return v1.Descriptor{}, fmt.Errorf("finding %s in index %s: %w", h, x.desc.Digest, fs.ErrNotExist)
}

// blobLayer is a layer that is read and verified when it is asked for.
type blobLayer struct {
	blobs *blobs
	desc  v1.Descriptor
	// diffID as the config says, if it does.
	diffID v1.Hash
}

func (l *blobLayer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *blobLayer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *blobLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }

// Descriptor has the URLs too, for go-containerregistry to carry over.
func (l *blobLayer) Descriptor() (*v1.Descriptor, error) { return l.desc.DeepCopy(), nil }

func (l *blobLayer) DiffID() (_ v1.Hash, err error) {
	if l.diffID != (v1.Hash{}) {
		return l.diffID, nil
	}
	rc, err := l.Uncompressed()
	if err != nil {
		return v1.Hash{}, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	h, _, err := v1.SHA256(limit.Unpack(l.desc.Size).Reader(rc))
	return h, err
}

func (l *blobLayer) Compressed() (io.ReadCloser, error) {
	rc, err := l.blobs.openBlob(l.desc)
	if err != nil {
		return nil, l.wrap(err)
	}
	return &layerReader{rc, l}, nil
}

func (l *blobLayer) Uncompressed() (io.ReadCloser, error) {
	rc, err := l.blobs.openBlob(l.desc)
	if err != nil {
		return nil, l.wrap(err)
	}
	plain, err := Decompress(rc)
	if err != nil {
		return nil, errors.Join(l.wrap(err), rc.Close())
	}
	return &layerReader{plain, l}, nil
}

// wrap adds to err what was read.
func (l *blobLayer) wrap(err error) error {
	return fmt.Errorf("reading layer %s of %s: %w", l.desc.Digest, l.blobs.path, err)
}

// layerReader says in its errors which layer it reads.
type layerReader struct {
	io.ReadCloser
	layer *blobLayer
}

func (r *layerReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.layer.wrap(err)
	}
	return n, err
}

// compressionOf tells by the first bytes, as the media type is often wrong.
func compressionOf(head []byte) types.MediaType {
	switch {
	case bytes.HasPrefix(head, []byte(magicGzip)):
		return types.OCILayer
	case bytes.HasPrefix(head, []byte(magicZstd)):
		return types.OCILayerZStd
	default:
		return types.OCIUncompressedLayer
	}
}

// Decompress returns what is in the blob of a layer, which is plain, or
// compressed with gzip or zstd, and closes rc when it is closed.
func Decompress(rc io.ReadCloser) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(rc, 64<<10)
	head, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	d := &decompressor{compressed: br, close: rc.Close}
	switch compressionOf(head) {
	case types.OCILayer:
		d.plain, err = gzip.NewReader(br)
	case types.OCILayerZStd:
		err = d.zstd(br)
	default:
		return limited{br, rc}, nil
	}
	if err != nil {
		return nil, d.damage(err)
	}
	return d, nil
}

// decompressor reads the compressed stream to its end before it reports an
// end or an error, so that the digest is always verified, and a damaged blob
// is called that and not by what it made the decompressor say.
type decompressor struct {
	plain, compressed io.Reader
	close             func() error
}

func (d *decompressor) zstd(r io.Reader) error {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(limit.ZstdWindow))
	if err != nil {
		return err
	}
	closeBlob := d.close
	d.plain, d.close = z, func() error { z.Close(); return closeBlob() }
	return nil
}

func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.plain.Read(p)
	if err != nil {
		err = d.damage(err)
	}
	return n, err
}

// damage returns what is wrong with the compressed stream, or else err.
func (d *decompressor) damage(err error) error {
	if _, damage := io.Copy(io.Discard, d.compressed); damage != nil {
		return damage
	}
	return err
}

func (d *decompressor) Close() error { return d.close() }
