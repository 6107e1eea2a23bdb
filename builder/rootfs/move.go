package rootfs

import (
	"errors"
	"maps"
	"os"
	"path"
	"strings"
	"syscall"
)

// Remove removes a file, a link or an empty directory.
func (f *FS) Remove(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.existing(p, false)
	if err == nil && at.info.IsDir() {
		var list []Info
		if list, err = f.list(at.path); err == nil && len(list) > 0 {
			err = syscall.ENOTEMPTY
		}
	}
	if err == nil {
		err = f.remove(*at.info)
	}
	return pathError("remove", p, err)
}

// RemoveAll removes what is at p, and a directory with all that is below. It is
// no error that nothing is there.
func (f *FS) RemoveAll(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.at(p, false)
	if notThere(err) || err == nil && at.info == nil {
		return nil
	}
	if err == nil {
		err = f.remove(*at.info)
	}
	return pathError("remove", p, err)
}

func (f *FS) remove(info Info) error {
	if info.Path == f.base || info.Path == "/" {
		return syscall.EBUSY
	}
	return f.stage.remove(info)
}

func (s *stage) remove(info Info) error {
	if info.IsDir() {
		s.forget()
	}
	if err := s.root.RemoveAll(rel(info.Path)); err != nil {
		return err
	}
	s.drop(info.Path, info.IsDir())
	return s.hide(info.Path)
}

// Link makes p another name of the file at old. As on Linux, a symbolic link can
// have two names, too, and a directory cannot.
func (f *FS) Link(old, p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.existing(old, false)
	if err == nil && at.info.IsDir() {
		err = syscall.EPERM
	}
	var to string
	if err == nil {
		to, err = f.place(p)
	}
	if err == nil {
		err = f.link(*at.info, to)
	}
	return pathError("link", p, err)
}

func (s *stage) link(info Info, to string) error {
	if err := s.copyUp(info.Path); err != nil {
		return err
	}
	if err := s.root.Link(rel(info.Path), rel(to)); err != nil {
		return err
	}
	m := s.own(info)
	if m.Inode == 0 {
		s.inodes++
		m.Inode = s.inodes
	}
	s.touch(m)
	s.meta[to] = m
	if info.IsSymlink() {
		return s.relink(to)
	}
	return nil
}

// Rename moves what is at old to p, and replaces what is there as rename(2) does.
func (f *FS) Rename(old, p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return pathError("rename", old, f.rename(old, p))
}

func (f *FS) rename(old, p string) error {
	from, err := f.existing(old, false)
	if err != nil {
		return err
	}
	to, err := f.at(p, false)
	switch {
	case err != nil:
		return err
	case from.path == f.base || to.path == f.base:
		return syscall.EBUSY
	case to.path == from.path:
		return nil
	case strings.HasPrefix(to.path, from.path+"/"):
		return syscall.EINVAL
	case to.info == nil && wantsDir(p) && !from.info.IsDir():
		return syscall.ENOTDIR
	case to.info != nil:
		same, err := f.replaceable(*from.info, *to.info)
		if same || err != nil {
			return err
		}
	}
	return f.move(*from.info, to)
}

// replaceable tells whether from may be moved to where to is, or is the same
// file already.
func (s *stage) replaceable(from, to Info) (same bool, err error) {
	switch {
	case from.IsDir() && !to.IsDir():
		return false, syscall.ENOTDIR
	case !from.IsDir() && to.IsDir():
		return false, syscall.EISDIR
	case from.IsDir():
		list, err := s.list(to.Path)
		if err == nil && len(list) > 0 {
			err = syscall.ENOTEMPTY
		}
		return false, err
	}
	return from.Inode != 0 && from.Inode == to.Inode, nil
}

func (s *stage) move(from Info, to found) error {
	if err := s.copyUpAll(from); err != nil {
		return err
	}
	if err := s.placeAt(to.path); err != nil {
		return err
	}
	if to.info != nil {
		if err := s.remove(*to.info); err != nil {
			return err
		}
	}
	s.forget()
	if err := s.root.Rename(rel(from.Path), rel(to.path)); err != nil {
		return err
	}
	s.rekey(from, to.path)
	return errors.Join(s.hide(from.Path), s.relinkBelow(to.path))
}

// rekey moves what is kept of a path, and of what is below a directory.
func (s *stage) rekey(from Info, to string) {
	moved := map[string]*meta{}
	for name, m := range s.meta {
		if rest, ok := strings.CutPrefix(name, from.Path); ok && (rest == "" || from.IsDir() && rest[0] == '/') {
			moved[to+rest] = m
		}
	}
	s.drop(from.Path, from.IsDir())
	maps.Copy(s.meta, moved)
}

// relinkBelow makes the links on disk at and below p lead where they should
// from their new place.
func (s *stage) relinkBelow(p string) error {
	fi, err := s.root.Lstat(rel(p))
	if err != nil {
		return err
	}
	if fi.Mode()&os.ModeSymlink != 0 {
		return s.relink(p)
	}
	if !fi.IsDir() {
		return nil
	}
	list, err := s.readUpper(p)
	if err != nil {
		return err
	}
	for _, fi := range list {
		if !fi.IsDir() && fi.Mode()&os.ModeSymlink == 0 {
			continue
		}
		if err := s.relinkBelow(path.Join(p, fi.Name())); err != nil {
			return err
		}
	}
	return nil
}

// relink makes the link on disk anew. One that a program made has its meaning
// only where it is, and keeps it.
func (s *stage) relink(p string) error {
	m := s.meta[p]
	if m == nil || !m.IsSymlink() || !linksOnDisk {
		return nil
	}
	if err := s.root.Remove(rel(p)); err != nil {
		return err
	}
	return s.root.Symlink(s.diskLink(p, m.Link), rel(p))
}
