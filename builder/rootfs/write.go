package rootfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"syscall"
)

// linksOnDisk is false where making a symbolic link takes privileges. A file
// stands for the link there.
const linksOnDisk = runtime.GOOS != "windows"

// ErrReserved is the cause where something would get a name that layers have
// for what they delete (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
var ErrReserved = errors.New("names that start with .wh. mark deletions in a layer")

// touch makes m count as changed.
func (s *stage) touch(m *meta) {
	s.changes++
	m.change = s.changes
}

// set keeps info beside the file at p.
func (s *stage) set(p string, info Info) *meta {
	info.Path = p
	m := &meta{Info: info}
	s.touch(m)
	s.meta[p] = m
	delete(s.known, p)
	return m
}

// drop forgets what is kept of p and, of a directory, of what is below it.
func (s *stage) drop(p string, dir bool) {
	delete(s.meta, p)
	if !dir {
		return
	}
	for name := range s.meta {
		if strings.HasPrefix(name, p+"/") {
			delete(s.meta, name)
		}
	}
}

// hide hides what the lower tree has at p, if it is still seen.
func (s *stage) hide(p string) error {
	_, err := s.lowerInfo(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for name := range s.hidden {
		if strings.HasPrefix(name, p+"/") {
			delete(s.hidden, name)
		}
	}
	s.hidden[p] = true
	return nil
}

// diskPerm is the mode on disk for mode: one that lets the builder read and
// write, and a program run what may be run.
func diskPerm(mode fs.FileMode) fs.FileMode {
	if mode.IsDir() || mode.Perm()&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

// put makes on disk what info describes, in a directory that is there, with no
// content. The caller closes the file, which is nil for what is none.
func (s *stage) put(info Info) (*os.File, error) {
	link := ""
	if info.IsSymlink() {
		link = s.diskLink(info.Path, info.Link)
	}
	root, name := s.root.in(info.Path)
	var file *os.File
	var err error
	switch {
	case info.IsDir():
		err = root.Mkdir(name, 0o755)
	case info.IsSymlink() && linksOnDisk:
		err = root.Symlink(link, name)
	default:
		file, err = root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, diskPerm(info.Mode))
	}
	if err != nil {
		return nil, err
	}
	s.set(info.Path, info)
	if info.Mode.IsRegular() {
		return file, nil
	}
	if file != nil {
		return nil, file.Close()
	}
	return nil, nil
}

// place finds where p is to be made: a directory has to be there, and p not.
func (f *FS) place(p string) (string, error) {
	at, err := f.at(p, false)
	switch {
	case err != nil:
		return "", err
	case at.info != nil:
		return "", syscall.EEXIST
	case wantsDir(p):
		return "", syscall.ENOENT
	}
	return at.path, f.placeAt(at.path)
}

// placeAt prepares the directory of p, which is resolved, on disk.
func (s *stage) placeAt(p string) error {
	if strings.HasPrefix(path.Base(p), ".wh.") {
		return ErrReserved
	}
	return s.copyUp(path.Dir(p))
}

// inherit gives what is new the group of its directory where that has setgid, and
// a directory the setgid itself, as Linux does.
func (s *stage) inherit(info Info) (Info, error) {
	dir, err := s.lookup(path.Dir(info.Path))
	if err != nil || dir.Mode&fs.ModeSetgid == 0 {
		return info, err
	}
	info.GID = dir.GID
	if info.IsDir() {
		info.Mode |= fs.ModeSetgid
	}
	return info, nil
}

// make makes what is not a regular file.
func (f *FS) make(op, p string, info Info) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.place(p)
	if err == nil {
		info.Path = at
		info, err = f.inherit(info)
	}
	if err == nil {
		_, err = f.put(info)
	}
	return pathError(op, p, err)
}

// Mkdir makes a directory.
func (f *FS) Mkdir(p string, mode fs.FileMode, o Owner) error {
	for len(p) > 1 && strings.HasSuffix(p, "/") {
		p = p[:len(p)-1] // "mkdir new/" asks for no directory that is there
	}
	return f.make("mkdir", p, Info{Mode: fs.ModeDir | mode&modeBits, UID: o.UID, GID: o.GID})
}

// Symlink makes a symbolic link to target, which need not be there.
func (f *FS) Symlink(target, p string, o Owner) error {
	if target == "" {
		return pathError("symlink", p, syscall.ENOENT)
	}
	return f.make("symlink", p, Info{Mode: fs.ModeSymlink | fs.ModePerm, Link: target, UID: o.UID, GID: o.GID})
}

// Mknod makes a device, a pipe or a socket, which is kept in the layer, and
// does nothing in the stage. Of info, the mode, the owner and the numbers count.
func (f *FS) Mknod(p string, info Info) error {
	info.Mode &= modeBits | fs.ModeDevice | fs.ModeCharDevice | fs.ModeNamedPipe | fs.ModeSocket
	if info.Mode.IsRegular() {
		return pathError("mknod", p, syscall.EINVAL)
	}
	info.Link, info.Size, info.Inode = "", 0, 0
	return f.make("mknod", p, info)
}

// MkdirAll makes the directory p and those above it that are missing, each with
// the mode and the owner. It returns the paths of those it made.
func (f *FS) MkdirAll(p string, mode fs.FileMode, o Owner) (made []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := walker{lstat: f.lookup, base: f.base, lenient: true}.resolve(p, true)
	if err == nil && at.info == nil {
		made, err = f.mkdirs(at.path, Info{Mode: fs.ModeDir | mode&modeBits, UID: o.UID, GID: o.GID})
	} else if err == nil && !at.info.IsDir() {
		err = syscall.ENOTDIR
	}
	return made, pathError("mkdir", p, err)
}

func (s *stage) mkdirs(p string, info Info) ([]string, error) {
	above, err := s.lookup(path.Dir(p))
	var made []string
	if errors.Is(err, fs.ErrNotExist) {
		made, err = s.mkdirs(path.Dir(p), info)
		above.Mode = fs.ModeDir
	}
	if err == nil && !above.IsDir() {
		err = syscall.ENOTDIR
	}
	if err == nil {
		err = s.placeAt(p)
	}
	if err != nil {
		return made, err
	}
	info.Path = p
	fresh, err := s.inherit(info)
	if err == nil {
		_, err = s.put(fresh)
	}
	return append(made, p), err
}

// WriteFile writes a file as os.WriteFile does: the mode and the owner are those
// of a new one.
func (f *FS) WriteFile(p string, content []byte, mode fs.FileMode, o Owner) error {
	w, err := f.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode, o)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return errors.Join(pathError("write", p, err), w.Close())
}

// File is an open file.
type File interface {
	io.ReadWriteCloser
}

// OpenFile opens a regular file with the flags of package os. The mode and the
// owner are those of a new one.
func (f *FS) OpenFile(p string, flag int, mode fs.FileMode, o Owner) (File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := f.open(p, flag, Info{Mode: mode & modeBits, UID: o.UID, GID: o.GID})
	if err != nil {
		return nil, pathError("open", p, err)
	}
	return file, nil
}

func (f *FS) open(p string, flag int, fresh Info) (File, error) {
	exclusive := flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL
	at, err := f.at(p, !exclusive)
	write := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch {
	case err != nil:
		return nil, err
	case at.info == nil && (flag&os.O_CREATE == 0 || wantsDir(p)):
		return nil, syscall.ENOENT
	case at.info == nil:
		if err := f.placeAt(at.path); err != nil {
			return nil, err
		}
		fresh.Path = at.path
		if fresh, err = f.inherit(fresh); err != nil {
			return nil, err
		}
		return file(f.put(fresh))
	case exclusive:
		return nil, syscall.EEXIST
	case at.info.IsDir():
		return nil, syscall.EISDIR
	case !at.info.Mode.IsRegular():
		return nil, syscall.ENXIO
	case write:
		return f.openToWrite(*at.info, flag)
	}
	return f.openToRead(at.path)
}

// file avoids a File that is not nil and holds nil.
func file(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (s *stage) openToRead(p string) (File, error) {
	root, name := s.root.in(p)
	fd, err := root.Open(name)
	if !notThere(err) {
		return file(fd, err)
	}
	r, err := s.lower.Open(p)
	if err != nil {
		return nil, err
	}
	return readOnly{r}, nil
}

// readOnly is a file of the lower tree.
type readOnly struct{ io.ReadCloser }

func (readOnly) Write([]byte) (int, error) { return 0, syscall.EBADF }

func (s *stage) openToWrite(info Info, flag int) (File, error) {
	p := info.Path
	if flag&os.O_TRUNC != 0 && !s.above(p) {
		if err := s.placeAt(p); err != nil {
			return nil, err
		}
		info.Inode = 0
		return file(s.put(info))
	}
	if err := s.copyUp(p); err != nil {
		return nil, err
	}
	s.touch(s.own(info))
	return file(s.root.OpenFile(rel(p), flag&^(os.O_CREATE|os.O_EXCL), 0))
}

// above tells whether the upper directory has p.
func (s *stage) above(p string) bool {
	if s.root.opened(p) {
		return true
	}
	_, err := s.root.lstat(p)
	return err == nil
}

// own returns what is kept beside a file that may come from a program.
func (s *stage) own(info Info) *meta {
	m := s.meta[info.Path]
	if m == nil || m.Mode.Type() != info.Mode.Type() {
		m = s.set(info.Path, info)
	}
	return m
}

// Chmod sets the permission bits, setuid, setgid and sticky of what is at p, at
// the end of links if it is one.
func (f *FS) Chmod(p string, mode fs.FileMode) error {
	return f.change("chmod", p, true, func(i *Info) { i.Mode = i.Mode&^modeBits | mode&modeBits })
}

// Chown sets the owner of what is at p, at the end of links if it is one. As on
// Linux, a file that may be executed loses setuid and setgid.
func (f *FS) Chown(p string, o Owner) error { return f.change("chown", p, true, o.take) }

// Lchown is Chown for the link itself if it is one.
func (f *FS) Lchown(p string, o Owner) error { return f.change("lchown", p, false, o.take) }

func (o Owner) take(i *Info) {
	i.UID, i.GID = o.UID, o.GID
	if i.Mode.IsRegular() {
		i.Mode &^= fs.ModeSetuid
		if i.Mode&0o010 != 0 {
			i.Mode &^= fs.ModeSetgid
		}
	}
}

func (f *FS) change(op, p string, follow bool, fn func(*Info)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.existing(p, follow)
	if err == nil {
		err = f.changeAt(*at.info, fn)
	}
	return pathError(op, p, err)
}

func (s *stage) changeAt(info Info, fn func(*Info)) error {
	next := info
	if fn(&next); next == info {
		return nil
	}
	if err := s.copyUp(info.Path); err != nil {
		return err
	}
	m := s.own(info)
	m.Mode, m.UID, m.GID = next.Mode, next.UID, next.GID
	s.touch(m)
	delete(s.known, info.Path)
	if info.Mode.IsRegular() && diskPerm(info.Mode) != diskPerm(next.Mode) {
		return s.root.Chmod(rel(info.Path), diskPerm(next.Mode))
	}
	return nil
}
