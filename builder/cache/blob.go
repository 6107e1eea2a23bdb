package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrCorrupt is returned where the bytes of a blob do not match its digest.
// The blob has been dropped.
var ErrCorrupt = errors.New("cached blob is damaged")

// Blob is an open blob. It stays readable when the cache is pruned or deleted,
// and its file is closed when nothing refers to it or a reader of it any more.
type Blob struct {
	Digest v1.Hash
	Size   int64

	name string
	f    *os.File
	// sure says that this process wrote the bytes and summed them up meanwhile.
	sure bool
}

func (c *Cache) blobPath(h v1.Hash) string { return c.path(blobsDir, h.Hex) }

// Blob opens the blob with digest h. The error is fs.ErrNotExist where the
// cache has none. Its content is not looked at before it is read.
func (c *Cache) Blob(h v1.Hash) (*Blob, error) {
	// A digest that was not parsed could be a path to anywhere.
	if parsed, err := v1.NewHash(h.String()); err != nil || parsed.Algorithm != "sha256" {
		return nil, fmt.Errorf("opening cached blob %s: %w", h, fs.ErrNotExist)
	}
	name := c.blobPath(h)
	info, err := os.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("opening cached blob: %w", err)
	}
	if !info.Mode().IsRegular() {
		_ = os.RemoveAll(name)
		return nil, fmt.Errorf("opening cached blob %s, which was no file: %w", h, fs.ErrNotExist)
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrPermission) {
		_ = os.Remove(name)
		return nil, fmt.Errorf("opening cached blob: %w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening cached blob: %w", err)
	}
	if info, err = f.Stat(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening cached blob: %w", err), f.Close())
	}
	c.touch(name)
	return &Blob{Digest: h, Size: info.Size(), name: name, f: f}, nil
}

// Verified is Blob for a blob that is going to stand for work that could be
// done again: its bytes are checked first, and a damaged one is dropped and
// reported as fs.ErrNotExist.
func (c *Cache) Verified(h v1.Hash) (*Blob, error) {
	b, err := c.Blob(h)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, b.Open()); err != nil {
		_ = b.f.Close()
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return b, nil
}

// drop removes the blob from the cache, unless another has taken its place.
func (b *Blob) drop() {
	was, err := b.f.Stat()
	if err != nil {
		return
	}
	if is, err := os.Lstat(b.name); err == nil && os.SameFile(was, is) {
		_ = os.Remove(b.name)
	}
}

// Open returns a reader of the blob that fails with ErrCorrupt where the
// content does not match the digest, and that without having given out all of
// it. Any number of readers may be open at once. What this process itself has
// written is not checked again: it is a *Section.
func (b *Blob) Open() io.ReadCloser {
	if b.sure {
		return &Section{io.NewSectionReader(b.f, 0, b.Size), b.f}
	}
	return &verifier{b: b, r: io.NewSectionReader(b.f, 0, b.Size), left: b.Size, h: sha256.New()}
}

// ReadAt implements io.ReaderAt. It checks nothing: it is for what Verified
// returned.
func (b *Blob) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(b.f, 0, b.Size).ReadAt(p, off)
}

// Section reads a blob that needs no check. A writer that can have the system
// copy it finds the file in it, whose first Size bytes are the blob.
type Section struct {
	*io.SectionReader
	File *os.File
}

// Close does nothing: the file stays open for other readers.
func (*Section) Close() error { return nil }

type verifier struct {
	b    *Blob
	r    io.Reader
	left int64
	h    hash.Hash
	err  error
}

// Read holds the last bytes back until they are known to be good, for readers
// that count bytes and do not come for the end of the file.
func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.h.Write(p[:n])
	v.left -= int64(n)
	ended := v.left == 0 || errors.Is(err, io.EOF)
	switch {
	case ended && hex.EncodeToString(v.h.Sum(nil)) != v.b.Digest.Hex:
		v.b.drop()
		v.err = fmt.Errorf("reading %s: %w", v.b.Digest, ErrCorrupt)
		return 0, v.err
	case err != nil && !ended:
		v.b.drop()
		v.err = fmt.Errorf("reading %s: %w", v.b.Digest, err)
		return n, v.err
	}
	return n, err
}

func (v *verifier) Close() error { return nil }
