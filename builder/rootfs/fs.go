package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/stagectl/stagectl/builder/limit"
)

// FS is the file system of a stage. Its methods take paths as a process in the
// stage would, relative ones from the root on, and may be called from several
// goroutines. Errors are *fs.PathError with the path as it was given.
//
// What is made in a directory with setgid gets the directory's group, whatever
// owner is asked for; Lchown gives it to another.
type FS struct {
	*stage
	// base is the directory that is the root.
	base string
}

var _ Tree = (*FS)(nil)

// stage is what the views of one file system share.
type stage struct {
	lower Tree
	dir   string

	mu   sync.Mutex
	root disk
	// known are directories, while the disk is held.
	known map[string]Info
	// meta is what the upper directory cannot tell, by path. A path that has
	// an entry here and no file there was removed by a program.
	meta map[string]*meta
	// hidden are the paths of the lower tree that are not seen any more, with
	// all that is below.
	hidden map[string]bool
	// changes counts them, so that no two states of a file look the same.
	changes uint64
	inodes  uint64
}

// meta is kept beside a file of the upper directory. The names of one file
// share one.
type meta struct {
	Info
	// change is the number of the last change.
	change uint64
}

// New returns the file system of a stage. upper is an empty directory of the
// host that nobody else uses; lower may be nil.
func New(lower Tree, upper string) (*FS, error) {
	dir, err := filepath.Abs(upper)
	if err != nil {
		return nil, fmt.Errorf("opening the stage's directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the stage's directory: %w", err)
	}
	return &FS{&stage{
		lower: lower, dir: dir, root: disk{Root: root},
		meta: map[string]*meta{}, hidden: map[string]bool{},
	}, "/"}, nil
}

// Close lets go of the upper directory, which stays.
func (f *FS) Close() error { return f.root.Close() }

// Hold tells that until release is called only the methods of f change the stage,
// and no program does, which makes them faster.
func (f *FS) Hold() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.root.holds++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.root.holds--
		f.forget()
	}
}

// forget is for when a directory may not be any more where it was.
func (s *stage) forget() {
	s.root.forget()
	s.known = nil
}

// Sub returns the directory as a file system of its own, in which no path leads
// out of it, as under chroot.
func (f *FS) Sub(dir string) (*FS, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.existing(dir, true)
	if err == nil && !at.info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("chroot", dir, err)
	}
	return &FS{f.stage, at.path}, nil
}

// pathError says which operation on which path of the stage failed. The paths of
// the host are left out.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	switch e := err.(type) { //nolint:errorlint // what wraps one says more
	case *fs.PathError:
		err = e.Err
	case *os.LinkError:
		err = e.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// notThere tells whether err says that there is no such path on disk.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// lookup describes what is at p, in whose parents there is no link.
func (s *stage) lookup(p string) (Info, error) {
	if s.root.holds == 0 {
		return s.look(p)
	}
	if info, ok := s.known[p]; ok {
		return info, nil
	}
	info, err := s.look(p)
	if err == nil && info.IsDir() {
		if s.known == nil {
			s.known = map[string]Info{}
		}
		s.known[p] = info
	}
	return info, err
}

func (s *stage) look(p string) (Info, error) {
	fi, err := s.root.lstat(p)
	if err == nil {
		if p == "/" {
			return s.top(), nil
		}
		return s.upperInfo(p, fi)
	}
	if !notThere(err) {
		return Info{}, err
	}
	return s.lowerInfo(p)
}

// top describes the root, which the upper directory has from the beginning.
func (s *stage) top() Info {
	info := Info{Path: "/", Mode: dirMode}
	if m := s.meta["/"]; m != nil {
		info = m.Info
	} else if below, err := s.lowerInfo("/"); err == nil && below.IsDir() {
		info = below
	}
	return info
}

// upperInfo describes a file of the upper directory.
func (s *stage) upperInfo(p string, fi fs.FileInfo) (Info, error) {
	info := Info{Path: p, Mode: fi.Mode().Type() | 0o644}
	if fi.IsDir() || fi.Mode()&0o100 != 0 {
		info.Mode |= 0o755
	}
	if m := s.meta[p]; m != nil && m.onDisk() == fi.Mode().Type() {
		info = m.Info
		info.Path = p
	}
	switch {
	case info.Mode.IsRegular():
		info.Size = fi.Size()
	case info.IsSymlink() && info.Link == "":
		link, err := s.root.Readlink(rel(p))
		if err != nil {
			return Info{}, err
		}
		info.Mode |= fs.ModePerm
		info.Link = s.stageLink(link)
	}
	return info, nil
}

// stageLink is the target, in the stage, of a link that a program made.
func (s *stage) stageLink(target string) string {
	if !filepath.IsAbs(target) {
		return filepath.ToSlash(target)
	}
	if below, err := filepath.Rel(s.dir, target); err == nil && filepath.IsLocal(below) {
		return path.Join("/", filepath.ToSlash(below))
	}
	return filepath.ToSlash(target)
}

// onDisk is the type of the file that stands for m in the upper directory.
func (m *meta) onDisk() fs.FileMode {
	switch {
	case m.IsDir(), m.IsSymlink() && linksOnDisk:
		return m.Mode.Type()
	}
	return 0 // devices, pipes and sockets take privileges, or listeners
}

// lowerInfo describes what is at p in the lower tree, if it is still seen.
func (s *stage) lowerInfo(p string) (Info, error) {
	if !s.seen(p) {
		return Info{}, syscall.ENOENT
	}
	info, err := s.lower.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) {
		err = syscall.ENOENT // as from everywhere else
	}
	info.Path = p
	return info, err
}

// seen tells whether what the lower tree has at p has not been hidden.
func (s *stage) seen(p string) bool {
	if s.lower == nil || s.meta[p] != nil {
		return false
	}
	if len(s.hidden) == 0 {
		return true
	}
	for ; p != "/"; p = path.Dir(p) {
		if s.hidden[p] {
			return false
		}
	}
	return !s.hidden["/"]
}

// at resolves p as the kernel would.
func (f *FS) at(p string, follow bool) (found, error) {
	return walker{lstat: f.lookup, base: f.base}.resolve(p, follow)
}

// existing resolves p, which has to be there.
func (f *FS) existing(p string, follow bool) (found, error) {
	at, err := f.at(p, follow)
	if err == nil && at.info == nil {
		err = syscall.ENOENT
	}
	return at, err
}

// Lstat describes what is at p, and the link itself if it is one.
func (f *FS) Lstat(p string) (Info, error) { return f.info("lstat", p, false) }

// Stat describes what is at p, at the end of links if it is one.
func (f *FS) Stat(p string) (Info, error) { return f.info("stat", p, true) }

func (f *FS) info(op, p string, follow bool) (Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.existing(p, follow)
	if err != nil {
		return Info{}, pathError(op, p, err)
	}
	return *at.info, nil
}

// Resolve follows the symbolic links in p. The path may go on where nothing is;
// what is there of it is kept as it is written.
func (f *FS) Resolve(p string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := walker{lstat: f.lookup, base: f.base, lenient: true}.resolve(p, true)
	return at.path, pathError("resolve", p, err)
}

// Readlink returns the target of a symbolic link as it was written.
func (f *FS) Readlink(p string) (string, error) {
	info, err := f.info("readlink", p, false)
	if err == nil && !info.IsSymlink() {
		err = pathError("readlink", p, syscall.EINVAL)
	}
	return info.Link, err
}

// ReadDir lists a directory, sorted by name.
func (f *FS) ReadDir(p string) ([]Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.existing(p, true)
	if err == nil && !at.info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("readdir", p, err)
	}
	list, err := f.list(at.path)
	return list, pathError("readdir", p, err)
}

// list merges what both layers have in the directory p.
func (s *stage) list(p string) ([]Info, error) {
	above, err := s.readUpper(p)
	if err != nil {
		return nil, err
	}
	var list []Info
	taken := map[string]bool{}
	for _, fi := range above {
		name := path.Join(p, fi.Name())
		info, err := s.upperInfo(name, fi)
		if err != nil {
			return nil, err
		}
		taken[name] = true
		list = append(list, info)
	}
	below, err := s.readLower(p)
	if err != nil {
		return nil, err
	}
	for _, info := range below {
		if !taken[info.Path] && s.meta[info.Path] == nil && !s.hidden[info.Path] {
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(a, b Info) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// readLower lists what of the lower tree is seen in the directory p, but for
// the names that are hidden themselves.
func (s *stage) readLower(p string) ([]Info, error) {
	if s.lower == nil || !s.seenDir(p) {
		return nil, nil
	}
	info, err := s.lower.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.lower.ReadDir(p)
}

// seenDir tells whether the directory p, if the lower tree has it, is merged
// with what the upper one has there.
func (s *stage) seenDir(p string) bool {
	for ; p != "/"; p = path.Dir(p) {
		if s.hidden[p] {
			return false
		}
	}
	return true
}

// readUpper lists a directory on disk, and nothing where it is not there.
func (s *stage) readUpper(p string) ([]fs.FileInfo, error) {
	list, err := s.root.names(p)
	if notThere(err) {
		return nil, nil
	}
	return list, err
}

// Open returns the content of a regular file, at the end of links if it is one.
func (f *FS) Open(p string) (io.ReadCloser, error) { return f.OpenFile(p, os.O_RDONLY, 0, Root) }

// ReadFile returns the content of a regular file, which may be no larger than
// package limit says: it may be an image's.
func (f *FS) ReadFile(p string) (_ []byte, err error) {
	r, err := f.Open(p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	raw, err := io.ReadAll(io.LimitReader(r, limit.File+1))
	if len(raw) > limit.File {
		return nil, pathError("read", p, syscall.EFBIG)
	}
	return raw, err
}
