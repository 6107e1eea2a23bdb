// Package layer turns files into a reproducible image layer: one pass over the
// content makes the tar, its diffID and the compressed blob.
package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File is one entry of a layer.
type File struct {
	// Path is absolute and clean.
	Path string
	// Mode has the permission bits, setuid, setgid and sticky, and
	// fs.ModeDir or fs.ModeSymlink for what is not a regular file.
	Mode fs.FileMode
	// UID and GID own the file.
	UID, GID int
	// Link is the target of a symbolic link.
	Link string
	// Size in bytes of a regular file. Content of another length is an error.
	Size int64
	// Digest is the SHA-256 of the content in hexadecimal, where it is known.
	// Write does not look at it.
	Digest string
	// Open returns the content of a regular file.
	Open func() (io.ReadCloser, error)
}

// Options of a layer.
type Options struct {
	Compression Compression
	// Epoch is the modification time of every entry, to the second.
	Epoch time.Time
	// Jobs is how many goroutines compress, at least one. The bytes that come
	// out do not depend on it.
	Jobs int
	// Reuse, unless it is nil, adds to the buffer what the block with a key
	// became in an earlier layer, which is believed, or says false and leaves
	// the buffer as it was. It is called from several goroutines.
	Reuse func(Key, *bytes.Buffer) bool
}

// Key is the sum of all that the compressed bytes of a block depend on.
type Key [sha256.Size]byte

// Block is a part of a layer that was compressed by itself.
type Block struct {
	Key Key
	// Offset and Size are those of the compressed bytes.
	Offset, Size int64
}

// Info describes a layer that was written.
type Info struct {
	DiffID    v1.Hash         `json:"diffID"`
	MediaType types.MediaType `json:"mediaType"`
	// Blocks of a gzip layer, in their order.
	Blocks []Block `json:"-"`
}

// Write writes files, sorted by path, as one layer to w. After an error, what
// w got is no layer.
func Write(ctx context.Context, w io.Writer, files []File, o Options) (Info, error) {
	zw, mediaType, err := o.Compression.writer(w, o.Jobs, o.Reuse)
	if err != nil {
		return Info{}, fmt.Errorf("writing layer: %w", err)
	}
	diff := sha256.New()
	err = writeTar(ctx, io.MultiWriter(diff, zw), files, o.Epoch)
	if closeErr := zw.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("writing layer: %w", closeErr)
	}
	if err != nil {
		return Info{}, err
	}
	info := Info{
		DiffID:    v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(diff.Sum(nil))},
		MediaType: mediaType,
	}
	if z, ok := zw.(*gzipWriter); ok {
		info.Blocks = z.blocks
	}
	return info, nil
}

func writeTar(ctx context.Context, w io.Writer, files []File, epoch time.Time) error {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	tw := tar.NewWriter(w)
	buf := make([]byte, 256<<10)
	for i, f := range files {
		err := f.check()
		if err == nil && i > 0 && f.Path == files[i-1].Path {
			err = errors.New("it is there twice")
		}
		if err == nil {
			err = writeFile(ctx, tw, f, epoch, buf)
		}
		if err != nil {
			return fmt.Errorf("writing layer entry %s: %w", f.Path, err)
		}
	}
	if err := tw.Close(); err != nil {
		return fmt.Errorf("writing layer: %w", err)
	}
	return nil
}

// check says why f cannot be an entry.
func (f File) check() error {
	switch {
	case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/":
		return errors.New("it is not the clean, absolute path of a file")
	case f.Mode.IsRegular() && f.Open == nil:
		return errors.New("it has no content")
	case f.Mode.Type() == fs.ModeSymlink && f.Link == "":
		return errors.New("it is a link to nothing")
	case !f.Mode.IsRegular() && !f.Mode.IsDir() && f.Mode.Type() != fs.ModeSymlink:
		return fmt.Errorf("it is neither a file nor a directory nor a link: %s", f.Mode)
	}
	return nil
}

func writeFile(ctx context.Context, tw *tar.Writer, f File, epoch time.Time, buf []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := tw.WriteHeader(header(f, epoch)); err != nil {
		return err
	}
	if !f.Mode.IsRegular() {
		return nil
	}
	rc, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { _ = rc.Close() }()
	n, err := io.CopyBuffer(tw, contextReader{ctx, rc}, buf)
	switch {
	case errors.Is(err, tar.ErrWriteTooLong):
		return fmt.Errorf("the file changed while it was read: it has more than %d bytes", f.Size)
	case err == nil && n < f.Size:
		return fmt.Errorf("the file changed while it was read: it has %d bytes of %d: %w", n, f.Size, io.ErrUnexpectedEOF)
	}
	return err
}

// contextReader ends a copy early when the build is cancelled.
type contextReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one copy
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// header leaves out everything a host could put in: user names, access times,
// device numbers.
func header(f File, epoch time.Time) *tar.Header {
	h := &tar.Header{
		Name:    strings.TrimPrefix(f.Path, "/"),
		Mode:    TarMode(f.Mode),
		Uid:     f.UID,
		Gid:     f.GID,
		ModTime: epoch.UTC().Truncate(time.Second),
	}
	switch {
	case f.Mode.IsDir():
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case f.Mode&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		h.Linkname = f.Link
	default:
		h.Typeflag = tar.TypeReg
		h.Size = f.Size
	}
	return h
}

// TarMode is m as the header of a tar entry has it: permission bits with setuid,
// setgid and sticky.
func TarMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		mode |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

// Blob is a written layer and where its compressed bytes are.
type Blob struct {
	Info
	Digest v1.Hash
	Size   int64
	Open   func() io.ReadCloser
}

// New returns b as a v1.Layer.
func New(b Blob) (v1.Layer, error) { return partial.CompressedToLayer(compressed{b}) }

// compressed has the methods that partial.CompressedToLayer derives the rest
// from. DiffID is among them, so that nothing is decompressed to find it.
type compressed struct{ b Blob }

func (c compressed) Digest() (v1.Hash, error)            { return c.b.Digest, nil }
func (c compressed) DiffID() (v1.Hash, error)            { return c.b.DiffID, nil }
func (c compressed) Size() (int64, error)                { return c.b.Size, nil }
func (c compressed) MediaType() (types.MediaType, error) { return c.b.MediaType, nil }
func (c compressed) Compressed() (io.ReadCloser, error)  { return c.b.Open(), nil }
