package imagetest

import (
	"bytes"
	"errors"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/limit"
)

const (
	// smallFile is the size in bytes up to which files are kept in memory that
	// come along when another one is read.
	smallFile = 64 << 10
	// maxKept is how many bytes of an image are kept.
	maxKept = 32 << 20
)

// contents reads files out of layers. A layer can only be read from its start,
// so small files on the way to the one that is asked for are kept.
type contents struct {
	layers []v1.Layer

	mu    sync.Mutex
	kept  map[place][]byte
	bytes int64
}

// place is an entry of a layer, both counted from 0.
type place struct{ layer, index int }

func newContents(layers []v1.Layer) *contents {
	return &contents{layers: layers, kept: map[place][]byte{}}
}

// open returns the content of the entry at p.
func (c *contents) open(p place) (io.ReadCloser, error) {
	if b, ok := c.get(p); ok {
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	size, err := c.layers[p.layer].Size()
	if err != nil {
		return nil, err
	}
	rc, err := c.layers[p.layer].Uncompressed()
	if err != nil {
		return nil, err
	}
	content, err := c.seek(image.NewEntryReader(rc, limit.Unpack(size)), p)
	if err != nil {
		return nil, errors.Join(err, rc.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{content, rc}, nil
}

// seek reads a layer up to the entry at p.
func (c *contents) seek(er *image.EntryReader, p place) (io.Reader, error) {
	for at := (place{layer: p.layer}); ; at.index++ {
		e, err := er.Next()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		content, err := c.keep(at, e, er)
		if err != nil || at == p {
			return content, err
		}
	}
}

func (c *contents) get(p place) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.kept[p]
	return b, ok
}

// keep keeps the content of e, which r reads, if it is small, and returns it.
func (c *contents) keep(p place, e image.Entry, r io.Reader) (io.Reader, error) {
	if e.Size == 0 || e.Size > smallFile {
		return r, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.kept[p]; ok || c.bytes+e.Size > maxKept {
		return r, nil
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	c.kept[p] = b
	c.bytes += e.Size
	return bytes.NewReader(b), nil
}
