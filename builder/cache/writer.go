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
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Writer receives a new blob.
type Writer struct {
	c *Cache
	f *os.File
	h hash.Hash
	n int64
	// begun is how much the system has been told to write to the disk.
	begun int64
}

// writebackStep is how many bytes are worth telling the system about.
const writebackStep = 256 << 10

// Create starts a new blob. Either Commit or Discard has to follow.
func (c *Cache) Create() (*Writer, error) {
	f, err := c.temp("blob-*")
	if err != nil {
		return nil, fmt.Errorf("creating cached blob: %w", err)
	}
	return &Writer{c: c, f: f, h: sha256.New()}, nil
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.h.Write(p[:n])
	w.n += int64(n)
	if w.n-w.begun >= writebackStep {
		startWriteback(w.f)
		w.begun = w.n
	}
	return n, err
}

// Discard gives the blob up. After Commit it does nothing.
func (w *Writer) Discard() {
	if w.f != nil {
		_ = w.f.Close()
		_ = os.Remove(w.f.Name())
		w.f = nil
	}
}

func (w *Writer) digest() v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(w.h.Sum(nil))}
}

// Commit puts the blob into the cache under its digest and opens it. Where the
// cache has been deleted meanwhile, the blob is only open.
func (w *Writer) Commit() (*Blob, error) {
	defer w.Discard()
	b := &Blob{Digest: w.digest(), Size: w.n, name: w.c.blobPath(w.digest())}
	err := w.f.Sync()
	if err == nil {
		err = w.place(b)
	}
	if err != nil {
		return nil, fmt.Errorf("writing cached blob: %w", err)
	}
	w.c.touch(b.name)
	return b, nil
}

// place gives the blob its name and its file. The file that was written stays
// open, so that nothing that happens to the cache can take the blob away.
func (w *Writer) place(b *Blob) error {
	if runtime.GOOS == "windows" {
		return w.placeClosed(b)
	}
	if err := place(w.f.Name(), b.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b.f, b.sure, w.f = w.f, true, nil
	return nil
}

// placeClosed is place for Windows, which neither renames nor replaces a file
// that is open. What is there already is as good.
func (w *Writer) placeClosed(b *Blob) error {
	if err := w.f.Close(); err != nil {
		return err
	}
	known, err := w.c.Verified(b.Digest)
	if err != nil {
		if err := place(w.f.Name(), b.name); err != nil {
			return err
		}
		known, err = w.c.Blob(b.Digest)
	}
	if err != nil {
		return err
	}
	b.f = known.f
	return nil
}

// Put copies r into the cache and returns the blob, or ErrCorrupt, and keeps
// nothing, where the bytes are not those of h.
func (c *Cache) Put(h v1.Hash, r io.Reader) (*Blob, error) {
	w, err := c.Create()
	if err != nil {
		return nil, err
	}
	defer w.Discard()
	if _, err := io.Copy(w, r); err != nil {
		return nil, err
	}
	if got := w.digest(); got != h {
		return nil, fmt.Errorf("wanted %s, got %s: %w", h, got, ErrCorrupt)
	}
	return w.Commit()
}
