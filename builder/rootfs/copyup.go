package rootfs

import (
	"errors"
	"io"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// copyUp brings what is at p, which is resolved, into the upper directory: a
// file with its content, a directory without it.
func (s *stage) copyUp(p string) error {
	if p == "/" || s.above(p) {
		return nil
	}
	info, err := s.lookup(p)
	if err != nil {
		return err
	}
	if err := s.copyUp(path.Dir(p)); err != nil {
		return err
	}
	return s.bring(info)
}

// bring makes a copy of what the lower tree has in a directory that is there.
func (s *stage) bring(info Info) (err error) {
	info.Inode = 0 // its other names stay what they are
	dst, err := s.put(info)
	if err != nil || dst == nil {
		return err
	}
	src, err := s.lower.Open(info.Path)
	if err == nil {
		_, err = io.Copy(dst, src)
		err = errors.Join(err, src.Close())
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		// Half a file must not count as the lower one.
		delete(s.meta, info.Path)
		return errors.Join(err, s.root.Remove(rel(info.Path)))
	}
	return nil
}

// copyUpAll is copyUp with all that is below a directory.
func (s *stage) copyUpAll(info Info) error {
	err := s.copyUp(info.Path)
	if err != nil || !info.IsDir() {
		return err
	}
	return s.bringBelow(info.Path)
}

func (s *stage) bringBelow(p string) error {
	list, err := s.list(p)
	if err != nil {
		return err
	}
	for _, info := range list {
		if !s.above(info.Path) {
			err = s.bring(info)
		}
		if err == nil && info.IsDir() {
			err = s.bringBelow(info.Path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// diskLink is the target on disk of a link at p: relative, up only at its
// beginning, and no further than to the upper directory. A chain of such links
// cannot leave it, whatever is put in its way later.
func (s *stage) diskLink(p, target string) string {
	dir := path.Dir(p)
	full := target
	if !path.IsAbs(target) {
		full = dir + "/" + target
	}
	to := path.Clean("/" + full)
	if at, err := (walker{lstat: s.lookup, base: "/", lenient: true}).resolve(full, false); err == nil {
		to = at.path
	}
	return filepath.FromSlash(relative(dir, to))
}

// relative is the way from the directory to a path; both are clean.
func relative(dir, to string) string {
	from, names := split(dir), split(to)
	for len(from) > 0 && len(names) > 0 && from[0] == names[0] {
		from, names = from[1:], names[1:]
	}
	way := strings.Repeat("../", len(from)) + strings.Join(names, "/")
	return path.Clean(way)
}

func split(p string) []string {
	var names []string
	for name := range elements(p) {
		names = append(names, name)
	}
	return names
}

// HostPath returns the path on the host of what is at p, at the end of links if
// it is one, for a program that is to read or to make it. A file is there with
// its content; of a directory, only what the stage itself put there: HostDir
// has all. What is at p may be missing, and the directories above it.
func (f *FS) HostPath(p string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := walker{lstat: f.lookup, base: f.base, lenient: true}.resolve(p, true)
	if err != nil {
		return "", pathError("open", p, err)
	}
	there := at.path
	for at.info == nil {
		there = path.Dir(there)
		info, err := f.lookup(there)
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err == nil {
			at.info = &info
		} else if !notThere(err) || errors.Is(err, syscall.ENOTDIR) {
			return "", pathError("open", p, err)
		}
	}
	if err := f.copyUp(there); err != nil {
		return "", pathError("open", p, err)
	}
	return filepath.Join(f.dir, rel(at.path)), nil
}

// HostDir is HostPath for a directory that is to have all on the host that it
// has in the stage.
func (f *FS) HostDir(p string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.existing(p, true)
	if err == nil && !at.info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err == nil {
		err = f.copyUpAll(*at.info)
	}
	if err != nil {
		return "", pathError("open", p, err)
	}
	return filepath.Join(f.dir, rel(at.path)), nil
}

// Own gives the files at and below p that a program made to their owner.
func (f *FS) Own(p string, o Owner) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.existing(p, true)
	if err == nil {
		err = f.ownBelow(*at.info, o)
	}
	return pathError("chown", p, err)
}

func (s *stage) ownBelow(info Info, o Owner) error {
	if s.above(info.Path) && s.meta[info.Path] == nil && info.Path != "/" {
		info.UID, info.GID = o.UID, o.GID
		s.set(info.Path, info)
	}
	if !info.IsDir() {
		return nil
	}
	above, err := s.readUpper(info.Path)
	if err != nil {
		return err
	}
	for _, fi := range above {
		below, err := s.upperInfo(path.Join(info.Path, fi.Name()), fi)
		if err == nil {
			err = s.ownBelow(below, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
