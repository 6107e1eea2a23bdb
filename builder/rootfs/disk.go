package rootfs

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

// disk is a directory of the host. While it is held, nobody else changes which
// directories there are, and it keeps the one used last open: a path is then
// found in one step, where an os.Root takes one for each element.
type disk struct {
	*os.Root
	holds int
	path  string
	last  *os.Root
}

// rel is the path below the directory.
func rel(p string) string {
	if p == "/" {
		return "."
	}
	return filepath.FromSlash(p[1:])
}

// in returns a root to reach p from, and the name of p there.
func (d *disk) in(p string) (*os.Root, string) {
	dir := path.Dir(p)
	if d.holds == 0 || dir == "/" {
		return d.Root, rel(p)
	}
	if d.last == nil || d.path != dir {
		d.forget()
		last, err := d.OpenRoot(rel(dir))
		if err != nil {
			return d.Root, rel(p) // which says what is wrong
		}
		d.path, d.last = dir, last
	}
	return d.last, path.Base(p)
}

// forget closes the directory that is kept open.
func (d *disk) forget() {
	if d.last != nil {
		_ = d.last.Close()
		d.last = nil
	}
}

// opened tells whether p is the directory that is kept open, and so is there.
func (d *disk) opened(p string) bool { return d.last != nil && d.path == p }

func (d *disk) lstat(p string) (os.FileInfo, error) {
	root, name := d.in(p)
	return root.Lstat(name)
}

// names lists a directory and describes what is in it.
func (d *disk) names(p string) ([]os.FileInfo, error) {
	// Within an os.Root of its own a name cannot lead elsewhere.
	dir, err := d.OpenRoot(rel(p))
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	list := make([]os.FileInfo, 0, len(names))
	for _, name := range names {
		if strings.HasPrefix(name, coverPrefix) {
			continue
		}
		fi, err := dir.Lstat(name)
		if err != nil {
			return nil, err
		}
		list = append(list, fi)
	}
	return list, nil
}
