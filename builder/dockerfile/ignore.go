package dockerfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// Ignore says which files of a build context there are for COPY and ADD. Nil
// leaves none out. It may be used by several goroutines.
type Ignore struct {
	// Name of the file that it was read from.
	Name string
	// Patterns of the file, clean, in order.
	Patterns []string

	mu      sync.Mutex // the patterns compile themselves when first used
	matcher *patternmatcher.PatternMatcher
	// kept are the literal beginnings of what "!" keeps, by directories.
	kept [][]string
}

// ParseIgnore reads a .dockerignore; its name is for errors.
func ParseIgnore(name string, r io.Reader) (*Ignore, error) {
	patterns, err := ignorefile.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	i := &Ignore{Name: name, Patterns: patterns}
	var errs []error
	for _, p := range patterns {
		if err := checkPattern(p); err != nil {
			errs = append(errs, fmt.Errorf("%s: malformed pattern %q: %w", name, p, err))
		}
		if keep, ok := strings.CutPrefix(p, "!"); ok {
			i.kept = append(i.kept, literal(keep))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if i.matcher, err = patternmatcher.New(patterns); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return i, nil
}

// checkPattern finds what the matcher would only find at the first file.
func checkPattern(p string) error {
	m, err := patternmatcher.New([]string{p})
	if err == nil && m.Exclusions() {
		m, err = patternmatcher.New([]string{"*", p}) // it is only tried on what is excluded
	}
	if err != nil {
		return err
	}
	_, err = m.MatchesOrParentMatches("x")
	return err
}

// literal is the directory that all that a pattern matches is in.
func literal(pattern string) []string {
	var dirs []string
	for part := range strings.SplitSeq(pattern, "/") {
		if strings.ContainsAny(part, `*?[\`) {
			break
		}
		dirs = append(dirs, part)
	}
	return dirs
}

// FindIgnore reads the ignore file of a context: DOCKERFILE.dockerignore if it
// is there, or else .dockerignore at the root, or else none, which is nil. The
// first is beside the Dockerfile, which is in one file system and the context
// in another, where it is not in the context. Without a name, as from standard
// input, only the second is looked for.
func FindIgnore(beside fs.FS, dockerfile string, context fs.FS) (*Ignore, error) {
	if dockerfile != "" {
		if i, err := readIgnore(beside, dockerfile+".dockerignore"); i != nil || err != nil {
			return i, err
		}
	}
	return readIgnore(context, ".dockerignore")
}

func readIgnore(fsys fs.FS, name string) (*Ignore, error) {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	i, err := ParseIgnore(name, f)
	return i, errors.Join(err, f.Close())
}

// Excludes tells whether a file or directory of the context is left out, by
// its path from the root, with slashes. A directory that is left out may have
// files that are not.
func (i *Ignore) Excludes(name string) bool {
	if name = path.Clean(name); i == nil || name == "." {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	excluded, err := i.matcher.MatchesOrParentMatches(name)
	return err == nil && excluded // the patterns were tried when they were read
}

// Prunes tells whether a directory and all in it is left out, so that it need
// not be read.
func (i *Ignore) Prunes(dir string) bool {
	return i.Excludes(dir) && !i.keepsIn(dir)
}

// keepsIn tells whether "!" may keep something of a directory.
func (i *Ignore) keepsIn(dir string) bool {
	parts := strings.Split(path.Clean(dir), "/")
	for _, kept := range i.kept {
		n := min(len(parts), len(kept))
		if strings.Join(parts[:n], "/") == strings.Join(kept[:n], "/") {
			return true
		}
	}
	return false
}

// WalkDir calls fn, as fs.WalkDir does, for what is in the context below root.
// Directories are in it as far as something of them may be.
func (i *Ignore) WalkDir(context fs.FS, root string, fn fs.WalkDirFunc) error {
	return fs.WalkDir(context, root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && i.Excludes(name):
			return fs.SkipDir
		case err != nil || !i.Excludes(name):
			return fn(name, d, err)
		case d.IsDir() && i.Prunes(name):
			return fs.SkipDir
		case d.IsDir():
			return fn(name, d, nil)
		}
		return nil
	})
}
