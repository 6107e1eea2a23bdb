package rootfs

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"syscall"
)

// coverPrefix is of names in the upper directory that are not the stage's: what
// is covered. No stage can have one, as they start with .wh.
const coverPrefix = ".wh..cover."

// cover is what Cover took away.
type cover struct {
	// made are directories above that were missing, the lowest first.
	made   []string
	stash  string
	meta   map[string]*meta
	hidden map[string]bool
}

// Cover takes away what is at p, at the end of links if it is one, so that nothing
// is there for a while, and makes the directories above it. It returns the path
// without links. What is put there is gone with uncover, which brings
// back what there was; the stage then has not changed. It is how a mount is done
// without privileges. Covers end in the reverse order.
func (f *FS) Cover(p string) (at string, uncover func() error, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, at, err := f.cover(p)
	if err != nil {
		return "", nil, pathError("cover", p, err)
	}
	return at, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		return pathError("uncover", p, f.uncover(c, at))
	}, nil
}

func (f *FS) cover(p string) (*cover, string, error) {
	at, err := walker{lstat: f.lookup, base: f.base, lenient: true}.resolve(p, true)
	switch {
	case err != nil:
		return nil, "", err
	case at.path == "/" || at.path == f.base:
		return nil, "", syscall.EBUSY
	case strings.HasPrefix(path.Base(at.path), ".wh."):
		return nil, "", ErrReserved
	}
	c := &cover{meta: map[string]*meta{}, hidden: map[string]bool{}}
	if c.made, err = f.coverParents(at.path); err != nil {
		return nil, "", err
	}
	f.forget()
	if f.above(at.path) {
		f.inodes++
		c.stash = fmt.Sprintf("%s%d", coverPrefix, f.inodes)
		if err := f.root.Rename(rel(at.path), c.stash); err != nil {
			return nil, "", err
		}
	}
	c.take(f.stage, at.path)
	f.hidden[at.path] = true
	return c, at.path, nil
}

// coverParents makes the directories above p and notes which were not there.
func (s *stage) coverParents(p string) (made []string, err error) {
	for dir := path.Dir(p); dir != "/" && !s.above(dir); dir = path.Dir(dir) {
		made = append(made, dir)
	}
	if _, err := s.lookup(path.Dir(p)); err == nil {
		return made, s.copyUp(path.Dir(p))
	}
	_, err = s.mkdirs(path.Dir(p), Info{Mode: dirMode})
	return made, err
}

// take remembers what is kept of p and what is below it.
func (c *cover) take(s *stage, p string) {
	for name, m := range s.meta {
		if name == p || strings.HasPrefix(name, p+"/") {
			c.meta[name] = m
		}
	}
	for name := range s.hidden {
		if name == p || strings.HasPrefix(name, p+"/") {
			c.hidden[name] = true
			delete(s.hidden, name)
		}
	}
	s.drop(p, true)
}

func (s *stage) uncover(c *cover, p string) error {
	s.forget()
	err := s.root.RemoveAll(rel(p))
	s.drop(p, true)
	for name := range s.hidden {
		if name == p || strings.HasPrefix(name, p+"/") {
			delete(s.hidden, name)
		}
	}
	maps.Copy(s.meta, c.meta)
	maps.Copy(s.hidden, c.hidden)
	if c.stash != "" {
		err = errors.Join(err, s.root.Rename(c.stash, rel(p)))
	}
	for _, dir := range c.made {
		// A directory that a program put something else into stays.
		if removeErr := s.root.Remove(rel(dir)); removeErr != nil {
			break
		}
		delete(s.meta, dir)
	}
	return err
}
