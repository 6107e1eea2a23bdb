package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"

	"github.com/stagectl/stagectl/builder/rootfs"
)

// match is a path that a source stands for.
type match struct {
	// path is absolute. It may lead through links.
	path string
	// pattern is what below it is taken, with Parents.
	pattern string
}

// source copies all that one source stands for.
func (c *copier) source(ctx context.Context, src rootfs.Tree, source string) error {
	matches, err := c.matches(src, source)
	if err != nil {
		return err
	}
	for _, m := range matches {
		c.include = nil
		if m.pattern != "" {
			if c.include, err = patternmatcher.New([]string{m.pattern}); err != nil {
				return fmt.Errorf("reading source %s: %w", source, err)
			}
		}
		if err := c.copyOne(ctx, src, m, c.Unpack); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) matches(src rootfs.Tree, source string) ([]match, error) {
	if !c.Parents {
		paths, err := wildcard(src, path.Join("/", source))
		var matches []match
		for _, p := range paths {
			matches = append(matches, match{path: p})
		}
		return matches, err
	}
	dir, pattern, pivot := strings.Cut(source, "/./")
	if !pivot {
		dir, pattern = "/", source
	}
	pattern = strings.TrimPrefix(path.Join("/", pattern), "/")
	if !hasWildcard(dir) && !hasWildcard(pattern) {
		full := path.Join("/", dir, pattern)
		if _, info, err := rootfs.Resolve(src, full); err != nil {
			return nil, err
		} else if info == nil {
			return nil, &fs.PathError{Op: "finding", Path: full, Err: fs.ErrNotExist}
		}
	}
	paths, err := wildcard(src, path.Join("/", dir))
	var matches []match
	for _, p := range paths {
		matches = append(matches, match{p, pattern})
	}
	return matches, err
}

func hasWildcard(name string) bool {
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '*', '?', '[':
			return true
		case '\\':
			i++
		}
	}
	return false
}

// wildcard returns the paths that p matches, in order. The part in front of the
// first wildcard may lead through links, the others match what is really there.
// Without any wildcard it is p, whether it is there or not.
func wildcard(src rootfs.Tree, p string) ([]string, error) {
	if _, err := path.Match(p, ""); err != nil {
		return nil, fmt.Errorf("malformed source %q: %w", p, err)
	}
	names := strings.Split(strings.TrimPrefix(p, "/"), "/")
	first := slices.IndexFunc(names, hasWildcard)
	if first < 0 {
		return []string{p}, nil
	}
	dir, info, err := rootfs.Resolve(src, "/"+strings.Join(names[:first], "/"))
	if err != nil {
		return nil, err
	}
	if info == nil || !info.IsDir() {
		return nil, nil
	}
	return matchBelow(src, dir, names[first:])
}

func matchBelow(src rootfs.Tree, dir string, patterns []string) ([]string, error) {
	list, err := src.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var matches []string
	for _, info := range list {
		ok, err := path.Match(patterns[0], path.Base(info.Path))
		if err != nil {
			return nil, err
		}
		switch {
		case !ok:
		case len(patterns) == 1:
			matches = append(matches, info.Path)
		case info.IsDir():
			below, err := matchBelow(src, info.Path, patterns[1:])
			if err != nil {
				return nil, err
			}
			matches = append(matches, below...)
		}
	}
	return matches, nil
}

// single is the tree of a file alone.
type single struct{ File }

func (s single) Lstat(p string) (rootfs.Info, error) {
	switch p {
	case "/":
		return rootfs.Info{Path: "/", Mode: fs.ModeDir | 0o755}, nil
	case "/" + s.Name:
		return rootfs.Info{Path: p, Mode: s.Mode, Size: s.Size}, nil
	}
	return rootfs.Info{}, &fs.PathError{Op: "lstat", Path: p, Err: fs.ErrNotExist}
}

func (s single) ReadDir(string) ([]rootfs.Info, error) { return nil, errors.ErrUnsupported }

func (s single) Open(string) (io.ReadCloser, error) { return s.File.Open() }
