package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/stagectl/stagectl/builder/limit"
)

// source gives random access to the files in an archive or a layout.
type source interface {
	// open returns the content of a regular file by its slash-separated name,
	// and its length. Where there is none the error is fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
	// Close ends the use of the source and of all that was opened in it.
	Close() error
}

// openSource looks at what is at p and opens it.
func openSource(p string) (source, error) {
	// Looking first matters: opening a named pipe would wait for a writer.
	info, err := os.Stat(p)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return openDir(p)
	case info.Mode().IsRegular():
		return openTar(p)
	default:
		return nil, errors.New("neither a file nor a directory")
	}
}

// dirSource is a directory. Links that lead out of it are not followed, and in
// the place of a file not even those that stay in it
// (https://github.com/google/go-containerregistry/pull/2306).
type dirSource struct{ *os.Root }

func openDir(p string) (source, error) {
	root, err := os.OpenRoot(p)
	if err != nil {
		return nil, err
	}
	d := dirSource{root}
	if _, err := root.Stat("oci-layout"); err != nil {
		err = errors.Join(fmt.Errorf("not an OCI layout: reading oci-layout: %w", withoutPath(err)), d.Close())
		return nil, err
	}
	return d, nil
}

func (d dirSource) open(name string) (io.ReadCloser, int64, error) {
	info, err := d.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fs.ErrNotExist // the same words for every source
	}
	if err != nil {
		return nil, 0, withoutPath(err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil, 0, errors.New("it is a symbolic link: copy the layout with cp -rL")
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("not a regular file")
	}
	f, err := d.Open(name)
	if err != nil {
		return nil, 0, withoutPath(err)
	}
	if is, err := f.Stat(); err != nil || !os.SameFile(info, is) {
		return nil, 0, errors.Join(errors.New("it changed while it was opened"), f.Close())
	}
	return limited{io.LimitReader(f, info.Size()), f}, info.Size(), nil
}

// limited reads no more than there was when it was opened.
type limited struct {
	io.Reader
	io.Closer
}

// tarSource is a tar whose entries were located once.
type tarSource struct {
	*os.File
	entries map[string]tarEntry
}

// tarEntry is where the content of a regular file is, or the name that a link
// leads to.
type tarEntry struct {
	offset, size int64
	link         string
}

func openTar(p string) (_ source, err error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkMagic(f); err != nil {
		return nil, err
	}
	entries, err := indexTar(f, info.Size())
	if err != nil {
		return nil, err
	}
	return &tarSource{f, entries}, nil
}

// First bytes of compressed content.
const (
	magicGzip = "\x1f\x8b"
	magicZstd = "\x28\xb5\x2f\xfd"
)

// compressors are the programs that undo a compression, by the first bytes.
// `docker load` accepts these, but they allow no random access.
var compressors = []struct{ magic, name, command string }{
	{magicGzip, "gzip", "gunzip"},
	{magicZstd, "zstd", "unzstd"},
	{"\xfd7zXZ\x00", "xz", "unxz"},
	{"BZh", "bzip2", "bunzip2"},
}

func checkMagic(r io.ReaderAt) error {
	head := make([]byte, 6)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n == 0 {
		return errors.New("the file is empty")
	}
	for _, c := range compressors {
		if bytes.HasPrefix(head[:n], []byte(c.magic)) {
			return fmt.Errorf("the archive as a whole is compressed with %s: decompress it first with %s", c.name, c.command)
		}
	}
	return nil
}

// indexTar locates all entries of a tar of size bytes. A name that is there
// twice is refused, since readers differ in which one they take.
func indexTar(r io.ReaderAt, size int64) (map[string]tarEntry, error) {
	sr := io.NewSectionReader(r, 0, size)
	tr := tar.NewReader(sr)
	entries := map[string]tarEntry{}
	for {
		h, err := tr.Next()
		switch {
		case errors.Is(err, io.EOF):
			return entries, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, fmt.Errorf("reading its entries: the archive is truncated: %w", err)
		case err != nil && len(entries) == 0:
			return nil, fmt.Errorf("reading its entries: not a tar archive: %w", err)
		case err != nil:
			return nil, fmt.Errorf("reading its entries: %w", err)
		case len(entries) == limit.ArchiveFiles:
			return nil, fmt.Errorf("reading its entries: there are more than %d, which is the limit", limit.ArchiveFiles)
		}
		// The tar reader does not read ahead, so this is where the content starts.
		offset, err := sr.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		e, ok, err := locate(h, offset, size)
		if err != nil {
			return nil, fmt.Errorf("reading entry %s: %w", printable(h.Name), err)
		}
		if !ok {
			continue
		}
		name := tarName(h.Name)
		if _, twice := entries[name]; twice {
			return nil, fmt.Errorf("reading entry %s: it is there twice", printable(name))
		}
		entries[name] = e
	}
}

// locate returns what to remember of an entry, if anything.
func locate(h *tar.Header, offset, size int64) (_ tarEntry, ok bool, _ error) {
	if len(h.Name) > limit.Path || len(h.Linkname) > limit.Path {
		return tarEntry{}, false, fmt.Errorf("its name is longer than %d bytes, which is the limit", limit.Path)
	}
	if isSparse(h) {
		return tarEntry{}, false, errors.New("sparse files are not supported")
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if h.Size > size-offset {
			return tarEntry{}, false, fmt.Errorf("the archive is truncated: %d bytes are missing", h.Size-(size-offset))
		}
		return tarEntry{offset: offset, size: h.Size}, true, nil
	case tar.TypeLink:
		return tarEntry{link: tarName(h.Linkname)}, true, nil
	case tar.TypeSymlink:
		return tarEntry{link: tarName(path.Join(path.Dir(h.Name), h.Linkname))}, true, nil
	default:
		return tarEntry{}, false, nil
	}
}

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

// tarName is the name without a leading or trailing slash or dot.
func tarName(name string) string { return CleanPath(name)[1:] }

func (t *tarSource) open(name string) (io.ReadCloser, int64, error) {
	name = tarName(name)
	for range maxLinks {
		e, ok := t.entries[name]
		if !ok {
			return nil, 0, fs.ErrNotExist
		}
		if e.link == "" {
			return io.NopCloser(io.NewSectionReader(t.File, e.offset, e.size)), e.size, nil
		}
		name = e.link
	}
	return nil, 0, ErrLoop
}
