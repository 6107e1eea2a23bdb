package image

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// maxJSON is the size in bytes of the largest manifest, index or config
	// that is read. They are kept in memory, and registries refuse larger
	// manifests (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests).
	maxJSON = 4 << 20
	// maxManifests is how many manifests one file may hold. All are read when
	// it is opened; an image for every platform there is has about fifty.
	maxManifests = 1024
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
	if size > maxJSON {
		return nil, fmt.Errorf("%d bytes are too many, the limit is %d", size, maxJSON)
	}
	return io.ReadAll(r)
}

// openBlob opens the content that desc stands for. Reading it to the end
// gives an error instead of io.EOF if it is not what the digest says. Errors
// do not name the blob, as the caller knows what it is.
func (b *blobs) openBlob(desc v1.Descriptor) (io.ReadCloser, error) {
	h, err := v1.Hasher(desc.Digest.Algorithm)
	if err != nil {
		return nil, errors.New("its descriptor has no digest")
	}
	name, ok := b.names[desc.Digest]
	if !ok {
		// A v1.Hash that has an algorithm was parsed, so it is safe in a path.
		name = "blobs/" + desc.Digest.Algorithm + "/" + desc.Digest.Hex
	}
	rc, size, err := b.open(name)
	if err != nil {
		return nil, err
	}
	if size != desc.Size {
		return nil, errors.Join(fmt.Errorf("it has %d bytes, not the %d it is listed with", size, desc.Size), rc.Close())
	}
	return &verifier{ReadCloser: rc, hash: h, want: desc.Digest}, nil
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
	count  int
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
	l.json[desc.Digest] = raw
	return raw, nil
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
	if l.count++; l.count > maxManifests {
		return nil, fmt.Errorf("reading manifest %s: there are more than %d", desc.Digest, maxManifests)
	}
	raw, err := l.readOnce(desc)
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
	}
	return raw, nil
}

// shape is what tells manifests and indexes apart.
type shape struct {
	MediaType types.MediaType `json:"mediaType"`
	Config    json.RawMessage `json:"config"`
	Layers    json.RawMessage `json:"layers"`
	FSLayers  json.RawMessage `json:"fsLayers"`
	Manifests json.RawMessage `json:"manifests"`
}

// checkShape refuses a document that could be taken for another type than the
// one it is listed with, so that all readers see the same image (CVE-2021-41190,
// https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh).
func checkShape(raw []byte, mt types.MediaType) error {
	var s shape
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	isImage := s.Config != nil || s.Layers != nil || s.FSLayers != nil
	isIndex := s.Manifests != nil
	switch {
	case s.MediaType != "" && s.MediaType != mt:
		return fmt.Errorf("it is listed as %s and calls itself %s", mt, s.MediaType)
	case isImage && isIndex:
		return errors.New("it has both layers and manifests")
	case mt.IsIndex() && isImage, mt.IsImage() && isIndex, s.FSLayers != nil:
		return fmt.Errorf("it is listed as %s and its content is of another type", mt)
	}
	return nil
}

func parseManifest(raw []byte, mt types.MediaType) (*v1.Manifest, error) {
	if err := checkShape(raw, mt); err != nil {
		return nil, err
	}
	return v1.ParseManifest(bytes.NewReader(raw))
}

func parseIndex(raw []byte, mt types.MediaType) (*v1.IndexManifest, error) {
	if err := checkShape(raw, mt); err != nil {
		return nil, err
	}
	return v1.ParseIndexManifest(bytes.NewReader(raw))
}
