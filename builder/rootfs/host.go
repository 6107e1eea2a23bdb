package rootfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/moby/patternmatcher"
)

// HostTree is a directory of the host to copy from: a build context. All in it
// belongs to root, as a builder takes it from its client. Sockets are left out.
type HostTree struct {
	mu   sync.Mutex
	root disk
	// ignore is nil where nothing is left out.
	ignore *patternmatcher.PatternMatcher
}

var _ Tree = (*HostTree)(nil)

// NewHostTree opens a directory of the host without what ignore matches, the
// patterns of a .dockerignore; nil leaves nothing out.
func NewHostTree(dir string, ignore *patternmatcher.PatternMatcher) (*HostTree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the directory to copy from: %w", err)
	}
	return &HostTree{root: disk{Root: root, holds: 1}, ignore: ignore}, nil
}

// Close lets go of the directory.
func (t *HostTree) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.root.forget()
	return t.root.Close()
}

// Lstat describes what is at p.
func (t *HostTree) Lstat(p string) (Info, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fi, err := t.root.lstat(p)
	if err != nil {
		if notThere(err) {
			err = fs.ErrNotExist
		}
		return Info{}, pathError("lstat", p, err)
	}
	info, ok, err := t.info(p, fi)
	if err == nil && !ok {
		err = fs.ErrNotExist
	}
	return info, pathError("lstat", p, err)
}

// info is false for what is left out.
func (t *HostTree) info(p string, fi fs.FileInfo) (Info, bool, error) {
	if fi.Mode()&fs.ModeSocket != 0 {
		return Info{}, false, nil
	}
	if ok, err := t.taken(p, fi); !ok || err != nil {
		return Info{}, false, err
	}
	info := Info{Path: p, Mode: fi.Mode() & (fs.ModeType | modeBits), Inode: inode(fi)}
	info.DevMajor, info.DevMinor = device(fi)
	if runtime.GOOS == "windows" {
		info.Mode |= 0o755 // as BuildKit's client does where there are no modes
	}
	switch {
	case info.Mode.IsRegular():
		info.Size = fi.Size()
	case info.IsSymlink():
		link, err := t.root.Readlink(rel(p))
		if err != nil {
			return Info{}, false, err
		}
		info.Link = filepath.ToSlash(link)
	}
	return info, true, nil
}

// taken tells whether p is not ignored, or is a directory that something below
// is in spite of it.
func (t *HostTree) taken(p string, fi fs.FileInfo) (bool, error) {
	if t.ignore == nil || p == "/" {
		return true, nil
	}
	ignored, err := t.ignore.MatchesOrParentMatches(rel(p))
	if err != nil || !ignored {
		return err == nil, err
	}
	if !fi.IsDir() || !t.ignore.Exclusions() {
		return false, nil
	}
	list, err := t.list(p)
	return len(list) > 0, err
}

// ReadDir lists a directory.
func (t *HostTree) ReadDir(p string) ([]Info, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list, err := t.list(p)
	return list, pathError("readdir", p, err)
}

func (t *HostTree) list(p string) ([]Info, error) {
	files, err := t.root.names(p)
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, fi := range files {
		info, ok, err := t.info(path.Join(p, fi.Name()), fi)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(a, b Info) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// Open opens a regular file.
func (t *HostTree) Open(p string) (io.ReadCloser, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	root, name := t.root.in(p)
	f, err := root.Open(name)
	if err != nil {
		return nil, pathError("open", p, err)
	}
	return f, nil
}
