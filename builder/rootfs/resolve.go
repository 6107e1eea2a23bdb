package rootfs

import (
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/stagectl/stagectl/builder/limit"
)

// maxLinks is how many symbolic links one path may go through, as on Linux.
const maxLinks = 40

// Resolve follows the symbolic links in p inside of the tree, as a process that
// has it as its root would. A path may go on where nothing is; what is there of
// it is kept as it is written. The info is nil where nothing is at the end.
func Resolve(t Tree, p string) (string, *Info, error) {
	at, err := walker{lstat: t.Lstat, base: "/", lenient: true}.resolve(p, true)
	if err != nil {
		return "", nil, &fs.PathError{Op: "resolve", Path: p, Err: err}
	}
	return at.path, at.info, nil
}

// elements are the names in p that lead somewhere, ".." included.
func elements(p string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range strings.SplitSeq(p, "/") {
			if name != "" && name != "." && !yield(name) {
				return
			}
		}
	}
}

// found is where a path leads.
type found struct {
	// path has no link in it, unless the last is not to be followed.
	path string
	// info is nil where nothing is there.
	info *Info
}

// walker follows paths in a tree.
type walker struct {
	lstat func(p string) (Info, error)
	// base is the directory that is the root for the path.
	base string
	// lenient lets a path go on where nothing is, which the kernel does not.
	lenient bool
}

// resolve follows p and the links in it; the one that p is itself only with
// follow, or where a slash at its end asks for a directory. The errors are
// those of the kernel.
func (w walker) resolve(p string, follow bool) (found, error) {
	if p == "" {
		return found{}, syscall.ENOENT
	}
	s := walk{walker: w, todo: slices.Collect(elements(p)), mustDir: wantsDir(p)}
	var err error
	if s.at, err = w.get(w.base); err != nil {
		return found{}, err
	}
	for steps := 1; len(s.todo) > 0; steps++ {
		if steps > limit.Steps {
			return found{}, syscall.ELOOP
		}
		name := s.todo[0]
		s.todo = s.todo[1:]
		if err := s.step(name, follow); err != nil {
			return found{}, err
		}
	}
	if s.mustDir && s.at.info != nil && !s.at.info.IsDir() {
		return found{}, syscall.ENOTDIR
	}
	return s.at, nil
}

// wantsDir tells whether only a directory can be at p.
func wantsDir(p string) bool {
	return strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || p == "."
}

func (w walker) get(p string) (found, error) {
	info, err := w.lstat(p)
	return found{p, &info}, err
}

// walk is a path being followed.
type walk struct {
	walker
	at   found
	todo []string
	// missing counts the elements of at that are not there.
	missing int
	links   int
	mustDir bool
}

// step goes on by one element. at is a directory, or missing.
func (s *walk) step(name string, follow bool) error {
	switch {
	case name == "..":
		return s.up()
	case s.missing > 0:
		s.missing++
		s.at.path = path.Join(s.at.path, name)
		return nil
	}
	next, err := s.get(path.Join(s.at.path, name))
	last := len(s.todo) == 0
	switch {
	case errors.Is(err, fs.ErrNotExist) && (last || s.lenient):
		s.at, s.missing = found{path: next.path}, 1
		return nil
	case err != nil:
		return err
	case next.info.IsSymlink() && (follow || s.mustDir || !last):
		return s.link(next.info.Link)
	case !last && !next.info.IsDir():
		return syscall.ENOTDIR
	}
	s.at = next
	return nil
}

// up goes to the directory above, and stays in the base.
func (s *walk) up() (err error) {
	dir := s.at.path
	if dir != s.base {
		dir = path.Dir(dir)
	}
	if s.missing > 0 {
		s.missing--
	}
	if s.missing > 0 {
		s.at.path = dir
		return nil
	}
	s.at, err = s.get(dir)
	return err
}

// link goes where a link in the present directory leads.
func (s *walk) link(target string) (err error) {
	if s.links++; s.links > maxLinks {
		return syscall.ELOOP
	}
	if target == "" {
		return syscall.ENOENT
	}
	if len(s.todo) == 0 && wantsDir(target) {
		s.mustDir = true
	}
	s.todo = append(slices.Collect(elements(target)), s.todo...)
	if path.IsAbs(target) {
		s.at, err = s.get(s.base)
	}
	return err
}
