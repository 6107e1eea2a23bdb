package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/limit"
)

// blobs reads content by its digest and verifies it.
type blobs struct {
	source
	path string
	// names of the blobs that are not where an OCI layout has them.
	names map[v1.Hash]string
}

// readJSON reads a whole file by its name.
func (b *blobs) readJSON(name string) (_ []byte, err error) {
	rc, size, err := b.open(name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	raw, err := readLimited(rc, size)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return raw, nil
}

func readLimited(r io.Reader, size int64) ([]byte, error) {
	if size > limit.JSON {
		return nil, fmt.Errorf("%d bytes are too many, the limit is %d", size, limit.JSON)
	}
	return io.ReadAll(r)
}

// openBlob opens the content that desc stands for. Reading it to the end
// gives an error instead of io.EOF if it is not what the digest says. Errors
// do not name the blob, as the caller knows what it is.
func (b *blobs) openBlob(desc v1.Descriptor) (io.ReadCloser, error) {
	if err := CheckDigest(desc.Digest); err != nil {
		return nil, err
	}
	name, ok := b.names[desc.Digest]
	if !ok {
		name = "blobs/" + desc.Digest.Algorithm + "/" + desc.Digest.Hex
	}
	rc, size, err := b.open(name)
	if err != nil {
		return nil, err
	}
	if size != desc.Size {
		return nil, errors.Join(fmt.Errorf("it has %d bytes, not the %d it is listed with", size, desc.Size), rc.Close())
	}
	return &verifier{ReadCloser: rc, hash: sha256.New(), want: desc.Digest}, nil
}

// CheckDigest refuses what is no digest, or none of SHA-256: the cache and most
// registries know no other. What passes was parsed, and so is safe in a path.
func CheckDigest(h v1.Hash) error {
	switch h.Algorithm {
	case "":
		return errors.New("its descriptor has no digest")
	case "sha256":
		return nil
	}
	return fmt.Errorf("%s: only sha256 digests are supported", h)
}

// has checks that a blob is there in full, without reading it.
func (b *blobs) has(desc v1.Descriptor) error {
	rc, err := b.openBlob(desc)
	if err != nil {
		return err
	}
	return rc.Close()
}

// readBlob reads a whole manifest or config.
func (b *blobs) readBlob(desc v1.Descriptor) (_ []byte, err error) {
	rc, err := b.openBlob(desc)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	return readLimited(rc, desc.Size)
}

// verifier compares what was read with its digest at the end.
type verifier struct {
	io.ReadCloser
	hash hash.Hash
	want v1.Hash
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.hash.Write(p[:n])
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.want.Hex {
		return n, fmt.Errorf("the content is damaged, its digest is %s:%s", v.want.Algorithm, got)
	}
	return n, io.EOF
}

// loader reads manifests when a file is opened. Afterwards it only serves what
// it has read, and so is safe for concurrent use.
type loader struct {
	*blobs
	// json has the content of every manifest and config by digest, so that
	// what is listed many times is read and kept once.
	json   map[v1.Hash][]byte
	images map[manifestKey]*blobImage
	// count is how many manifests there are, and bytes how large json is.
	count int
	bytes int64
}

// manifestKey has the type too: what was checked as one type says nothing
// about another.
type manifestKey struct {
	digest    v1.Hash
	mediaType types.MediaType
}

func newLoader(b *blobs) *loader {
	b.names = map[v1.Hash]string{}
	return &loader{blobs: b, json: map[v1.Hash][]byte{}, images: map[manifestKey]*blobImage{}}
}

// readOnce returns the content of a manifest or config.
func (l *loader) readOnce(desc v1.Descriptor) ([]byte, error) {
	if raw, ok := l.json[desc.Digest]; ok && int64(len(raw)) == desc.Size {
		return raw, nil
	}
	raw, err := l.readBlob(desc)
	if err != nil {
		return nil, err
	}
	return raw, l.keepJSON(desc.Digest, raw)
}

func (l *loader) keepJSON(digest v1.Hash, raw []byte) error {
	if _, known := l.json[digest]; known {
		return nil
	}
	if l.bytes += int64(len(raw)); l.bytes > limit.AllJSON {
		return fmt.Errorf("all manifests and configs so far have more than %d bytes, which is the limit", limit.AllJSON)
	}
	l.json[digest] = raw
	return nil
}

// image reads the manifest and the config of an image and checks that its
// layers are there.
func (l *loader) image(desc v1.Descriptor) (*blobImage, error) {
	key := manifestKey{desc.Digest, desc.MediaType}
	if img := l.images[key]; img != nil {
		return img, nil
	}
	raw, err := l.readManifest(desc)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw, desc.MediaType)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
	}
	if len(m.Layers) > limit.Layers {
		return nil, fmt.Errorf("reading manifest %s: it lists %d layers, the limit is %d", desc.Digest, len(m.Layers), limit.Layers)
	}
	config, err := l.readOnce(m.Config)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: reading config %s: %w", desc.Digest, m.Config.Digest, err)
	}
	for i, layer := range m.Layers {
		if len(layer.URLs) > 0 || !layer.MediaType.IsDistributable() {
			continue // may be elsewhere
		}
		if err := l.has(layer); err != nil {
			return nil, fmt.Errorf("reading manifest %s: reading layer %d, %s: %w", desc.Digest, i+1, layer.Digest, err)
		}
	}
	img := &blobImage{blobs: l.blobs, desc: desc, raw: raw, config: config, manifest: m}
	l.images[key] = img
	return img, nil
}

// index reads an index, not what it lists.
func (l *loader) index(desc v1.Descriptor) (*blobIndex, error) {
	raw, err := l.readManifest(desc)
	if err != nil {
		return nil, err
	}
	im, err := parseIndex(raw, desc.MediaType)
	if err != nil {
		return nil, fmt.Errorf("reading index %s: %w", desc.Digest, err)
	}
	return &blobIndex{loader: l, desc: desc, raw: raw, manifest: im}, nil
}

func (l *loader) readManifest(desc v1.Descriptor) ([]byte, error) {
	if l.count++; l.count > limit.Manifests {
		return nil, fmt.Errorf("reading manifest %s: there are more than %d", desc.Digest, limit.Manifests)
	}
	raw, err := l.readOnce(desc)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
	}
	return raw, nil
}
