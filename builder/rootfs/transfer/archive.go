package transfer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/stagectl/stagectl/builder/limit"
	"github.com/stagectl/stagectl/builder/rootfs"
)

// unpack extracts the file at p into the destination, if it is an archive: if
// it starts with the header of a tar, compressed or not.
func (c *copier) unpack(ctx context.Context, src rootfs.Tree, info rootfs.Info, p string) (done bool, err error) {
	r, err := src.Open(p)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	plain, stop, err := decompress(r)
	if errors.Is(err, errXZ) {
		return false, fmt.Errorf("extracting %s: %w", p, err)
	}
	if err != nil {
		return false, nil // it is no archive, then
	}
	defer stop()
	most := limit.Unpack(info.Size)
	tr := tar.NewReader(most.Reader(plain))
	first, err := tr.Next()
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return false, fmt.Errorf("extracting %s: %w: the limit is %d", p, err, limit.ZstdWindow)
	}
	if err != nil {
		return false, nil // it is no archive, then
	}
	dir, err := c.resolve(c.Dest)
	if err == nil && c.Link {
		err = c.linkDirs(dir)
	} else if err == nil {
		_, err = c.dst.MkdirAll(dir, 0o755, c.dirOwner())
	}
	if err != nil {
		return true, err
	}
	into, err := c.dst.Sub(dir)
	if err != nil {
		return true, err
	}
	x := &extraction{into: into, owner: c.owner, tar: tr, most: most}
	if err := x.all(ctx, first); err != nil {
		return true, fmt.Errorf("extracting %s: %w", p, err)
	}
	return true, nil
}

var errXZ = errors.New("it is compressed with xz, which is not supported: compress it with gzip or zstd, or COPY it")

// decompress finds out how r is compressed. stop ends the decompression.
func decompress(r io.Reader) (_ io.Reader, stop func(), _ error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	stop = func() {}
	switch {
	case bytes.HasPrefix(head, []byte("BZh")):
		return bzip2.NewReader(br), stop, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}):
		zr, err := gzip.NewReader(br)
		return zr, stop, err
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return nil, stop, errXZ
	case isZstd(head):
		zr, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(limit.ZstdWindow))
		if err != nil {
			return nil, stop, err
		}
		return zr, zr.Close, nil
	}
	return br, stop, nil
}

// isZstd knows the frames of RFC 8878, section 3.1, those to skip included.
func isZstd(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	magic := binary.LittleEndian.Uint32(head)
	return magic == 0xfd2fb528 || len(head) >= 8 && magic&^0xf == 0x184d2a50
}

// extraction puts the entries of a tar into a directory that none of them
// leaves: the directory is the root for all paths and links.
type extraction struct {
	into  *rootfs.FS
	owner *rootfs.Owner
	tar   *tar.Reader
	// most is what the archive may unpack to: as a tar, and of files with holes
	// what there is not in it.
	most *limit.Budget
	// entries is how many there were.
	entries int
}

func (x *extraction) all(ctx context.Context, h *tar.Header) (err error) {
	for err == nil {
		x.entries++
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case x.entries > limit.Entries:
			return fmt.Errorf("it has more than %d entries", limit.Entries)
		}
		if err := x.entry(ctx, h); err != nil {
			return err
		}
		h, err = x.tar.Next()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (x *extraction) entry(ctx context.Context, h *tar.Header) error {
	if length := max(len(h.Name), len(h.Linkname)); length > limit.Path {
		return fmt.Errorf("a name of %d bytes is too long, the limit is %d", length, limit.Path)
	}
	p := path.Join("/", h.Name)
	if h.Typeflag == tar.TypeXGlobalHeader || p == "/" {
		return nil // the root stays what it is (CVE-2021-29136)
	}
	if _, err := x.into.MkdirAll(path.Dir(p), 0o755, rootfs.Root); err != nil {
		return err
	}
	there, err := x.into.Lstat(p)
	exists := err == nil
	if exists && (!there.IsDir() || h.Typeflag != tar.TypeDir) {
		if err := x.into.RemoveAll(p); err != nil {
			return err
		}
		exists = false
	}
	owner := rootfs.Owner{UID: h.Uid, GID: h.Gid}
	if x.owner != nil {
		owner = *x.owner
	}
	if owner.UID < 0 || owner.GID < 0 || int64(owner.UID) > limit.ID || int64(owner.GID) > limit.ID {
		return fmt.Errorf("%s belongs to %d:%d, which is nobody", h.Name, owner.UID, owner.GID)
	}
	return x.make(ctx, h, p, owner, exists)
}

// make makes what the entry is, at p, where nothing is but for a directory if
// it is one.
func (x *extraction) make(ctx context.Context, h *tar.Header, p string, o rootfs.Owner, exists bool) error {
	mode := h.FileInfo().Mode()
	switch h.Typeflag {
	case tar.TypeDir:
		if exists {
			return errors.Join(x.into.Lchown(p, o), x.into.Chmod(p, mode))
		}
		if err := x.into.Mkdir(p, mode, o); err != nil {
			return err
		}
		return errors.Join(x.into.Lchown(p, o), x.into.Chmod(p, mode))
	case tar.TypeLink:
		return x.link(h, p, o)
	}
	if err := x.file(ctx, h, p, o); err != nil {
		return err
	}
	if err := x.into.Lchown(p, o); err != nil || h.Typeflag == tar.TypeSymlink {
		return err
	}
	return x.into.Chmod(p, mode) // setuid, which a change of the owner drops
}

func (x *extraction) file(ctx context.Context, h *tar.Header, p string, o rootfs.Owner) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return x.content(ctx, h, p, o)
	case tar.TypeSymlink:
		return x.into.Symlink(h.Linkname, p, o)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return x.into.Mknod(p, rootfs.Info{Mode: h.FileInfo().Mode(), UID: o.UID, GID: o.GID, DevMajor: h.Devmajor, DevMinor: h.Devminor})
	}
	return fmt.Errorf("%s has the unknown type %q", h.Name, h.Typeflag)
}

// link makes a hard link. Its target is a path in the archive, from its root on.
func (x *extraction) link(h *tar.Header, p string, o rootfs.Owner) error {
	if err := x.into.Link(path.Join("/", h.Linkname), p); err != nil {
		return err
	}
	if err := x.into.Lchown(p, o); err != nil {
		return err
	}
	if info, err := x.into.Lstat(p); err != nil || info.IsSymlink() {
		return err
	}
	return x.into.Chmod(p, h.FileInfo().Mode())
}

func (x *extraction) content(ctx context.Context, h *tar.Header, p string, o rootfs.Owner) error {
	enough := x.most.Has
	if isSparse(h) {
		enough = x.most.Take // holes are zeros on disk, and not in the archive
	}
	if err := enough(h.Size); err != nil {
		return fmt.Errorf("%q has %d bytes: %w", h.Name, h.Size, err)
	}
	w, err := x.into.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, h.FileInfo().Mode(), o)
	if err != nil {
		return err
	}
	return errors.Join(copyContent(ctx, w, x.tar), w.Close())
}

// isSparse tells whether the archive leaves out the holes of a file.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}
