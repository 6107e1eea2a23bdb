package imagetest

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/stagectl/stagectl/builder/image"
)

// FS is the files of an image, or of one of its layers, as an fs.FS. Paths have
// no slash in front: "etc/passwd".
//
// Links are followed inside the image, as for a process that has it as its
// root. The Sys method of each fs.FileInfo returns an *image.Entry, which has
// owner, link target, device numbers and the layer. Special files are empty.
// Contents are read from the layers when they are asked for.
type FS struct {
	tree     *image.Tree
	contents *contents
}

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
)

// List returns one line a path, parents first, with type, mode, owner, size
// and link target, in the format of image.Entry's String:
//
//	drwxr-xr-x 0:0 /app
//	-rwxr-xr-x 0:0 123 /app/server
//	lrwxrwxrwx 0:0 /bin -> usr/bin
//
// It says all that matters about an image but for the contents, and so is good
// for comparing with a golden file.
func (f *FS) List() []string {
	var lines []string
	f.tree.Walk(func(e image.Entry) { lines = append(lines, e.String()) })
	return lines
}

// Open opens a file or a directory. A file's content is first read by Read.
func (f *FS) Open(name string) (fs.File, error) {
	e, err := f.stat("open", name)
	if err != nil {
		return nil, err
	}
	info := fileInfo{path.Base(name), e}
	if !info.IsDir() {
		return &openFile{info: info, name: name, fsys: f}, nil
	}
	return &openDir{info: info, name: name, entries: f.entries(e.Path)}, nil
}

// Stat describes the named file, at the end of links if it is one.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	e, err := f.stat("stat", name)
	if err != nil {
		return nil, err
	}
	return fileInfo{path.Base(name), e}, nil
}

// Lstat describes the named file, and the link itself if it is one.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	e, err := f.lstat("lstat", name)
	if err != nil {
		return nil, err
	}
	return fileInfo{path.Base(name), e}, nil
}

// ReadLink returns the target of a symbolic link as the image has it, which
// may be an absolute path.
func (f *FS) ReadLink(name string) (string, error) {
	e, err := f.lstat("readlink", name)
	if err != nil {
		return "", err
	}
	if e.Type != tar.TypeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return e.Link, nil
}

// ReadDir lists a directory, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := f.stat("readdir", name)
	if err != nil {
		return nil, err
	}
	if e.Type != tar.TypeDir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return f.entries(e.Path), nil
}

// ReadFile returns the content of a file.
func (f *FS) ReadFile(name string) (_ []byte, err error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return io.ReadAll(file)
}

// stat returns the entry at the end of links.
func (f *FS) stat(op, name string) (image.Entry, error) {
	if !fs.ValidPath(name) {
		return image.Entry{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	e, ok, err := f.tree.Stat(name)
	if errors.Is(err, image.ErrLoop) {
		err = image.ErrLoop // the path is in the PathError
	}
	if err == nil && !ok {
		err = fs.ErrNotExist
	}
	if err != nil {
		return image.Entry{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return e, nil
}

// lstat follows links but for the last element.
func (f *FS) lstat(op, name string) (image.Entry, error) {
	if name == "." || !fs.ValidPath(name) {
		return f.stat(op, name)
	}
	dir, err := f.stat(op, path.Dir(name))
	if err != nil {
		return image.Entry{}, err
	}
	e, ok := f.tree.Lstat(path.Join(dir.Path, path.Base(name)))
	if !ok {
		return image.Entry{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return e, nil
}

func (f *FS) entries(dir string) []fs.DirEntry {
	all := f.tree.ReadDir(dir)
	entries := make([]fs.DirEntry, len(all))
	for i, e := range all {
		entries[i] = fs.FileInfoToDirEntry(fileInfo{path.Base(e.Path), e})
	}
	return entries
}

// fileInfo is an entry under the name it was asked for.
type fileInfo struct {
	name  string
	entry image.Entry
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.entry.Size }
func (i fileInfo) Mode() fs.FileMode  { return i.entry.FileMode() }
func (i fileInfo) ModTime() time.Time { return time.Unix(i.entry.ModTime, 0).UTC() }
func (i fileInfo) IsDir() bool        { return i.entry.Type == tar.TypeDir }

// Sys returns a copy of the entry as an *image.Entry.
func (i fileInfo) Sys() any { return &i.entry }

// openFile reads the content from the layer once it is read.
type openFile struct {
	info    fileInfo
	name    string
	fsys    *FS
	content io.ReadCloser
	closed  bool
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }

func (f *openFile) Read(p []byte) (int, error) {
	if f.closed {
		return 0, f.fail(fs.ErrClosed)
	}
	if f.content == nil {
		layer, index, ok := f.fsys.tree.Locate(f.info.entry.Path)
		if !ok {
			return 0, io.EOF
		}
		rc, err := f.fsys.contents.open(place{layer, index})
		if err != nil {
			return 0, f.fail(err)
		}
		f.content = rc
	}
	n, err := f.content.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = f.fail(err)
	}
	return n, err
}

func (f *openFile) fail(err error) error { return &fs.PathError{Op: "read", Path: f.name, Err: err} }

func (f *openFile) Close() error {
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	f.closed = true
	if f.content == nil {
		return nil
	}
	return f.content.Close()
}

// openDir is a directory that is being listed.
type openDir struct {
	info    fileInfo
	name    string
	entries []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

// ReadDir returns the next n entries, or all that are left.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.entries) {
		n = len(d.entries)
	}
	entries := slices.Clone(d.entries[:n])
	d.entries = d.entries[n:]
	return entries, nil
}
