// Package transfer does what COPY and ADD of a Dockerfile do: it puts files of a
// tree, or of the Dockerfile itself, where a stage's own files decide that they
// go. It does as BuildKit does, but for what would be a silent surprise: a name
// in --chown that the stage does not know is an error.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"github.com/moby/patternmatcher"

	"github.com/stagectl/stagectl/builder/rootfs"
)

// Spec is one COPY or ADD.
type Spec struct {
	// Sources are paths in the tree, from its root on, with the wildcards of
	// path.Match. Of a directory, the contents are copied. A wildcard that
	// matches nothing copies nothing.
	Sources []string
	// Files are more of them, from here-documents or from URLs. Archives among
	// them are extracted only with UnpackFiles.
	Files []File
	// Dest is absolute. With a trailing slash it is a directory to copy into.
	Dest string
	// Owner is USER[:GROUP] of all that is copied. Empty keeps that of the
	// source.
	Owner string
	// Mode is octal or symbolic. Empty keeps that of the source.
	Mode string
	// Exclude are patterns of what is left out, each relative to a source.
	Exclude []string
	// Parents keeps the directories of a source, from its /./ on.
	Parents bool
	// Link copies as if the stage were empty: no link of it is followed, and
	// what is in the way is replaced. Together with Mode it does nothing, as in
	// BuildKit.
	Link bool
	// Unpack extracts sources that are archives, UnpackFiles those of Files.
	Unpack, UnpackFiles bool
}

// File is a file that is in no tree.
type File struct {
	Name string
	Mode fs.FileMode
	Size int64
	Open func() (io.ReadCloser, error)
}

// Copy copies from src, which may be nil where the spec has no sources. An error
// that is fs.ErrNotExist with the source in a *fs.PathError says that the source
// is missing.
func Copy(ctx context.Context, dst *rootfs.FS, src rootfs.Tree, spec Spec) error {
	defer dst.Hold()()
	c, err := newCopier(dst, spec)
	if err != nil {
		return err
	}
	for _, source := range spec.Sources {
		if err := c.source(ctx, src, source); err != nil {
			return err
		}
	}
	for _, f := range spec.Files {
		f.Name = path.Base(f.Name)
		if err := c.copyOne(ctx, single{f}, match{"/" + f.Name, ""}, spec.UnpackFiles); err != nil {
			return err
		}
	}
	return nil
}

// copier carries out a Spec.
type copier struct {
	Spec
	dst     *rootfs.FS
	owner   *rootfs.Owner
	mode    *rootfs.Mode
	exclude *patternmatcher.PatternMatcher
	include *patternmatcher.PatternMatcher
	// linked are the directories that are in the layer of a Link.
	linked map[string]bool
}

func newCopier(dst *rootfs.FS, spec Spec) (*copier, error) {
	c := &copier{Spec: spec, dst: dst, linked: map[string]bool{"/": true}}
	c.Link = spec.Link && spec.Mode == ""
	if spec.Mode != "" {
		m, err := rootfs.ParseMode(spec.Mode)
		if err != nil {
			return nil, err
		}
		c.mode = &m
	}
	if spec.Owner != "" {
		if spec.Link && strings.Trim(spec.Owner, "0123456789:") != "" && !rootOnly(spec.Owner) {
			return nil, fmt.Errorf("owner %s: names cannot be looked up with --link, give numbers", spec.Owner)
		}
		o, err := dst.Owner(spec.Owner)
		if err != nil {
			return nil, err
		}
		c.owner = &o
	}
	if len(spec.Exclude) > 0 {
		m, err := patternmatcher.New(spec.Exclude)
		if err != nil {
			return nil, fmt.Errorf("reading the patterns of what to leave out: %w", err)
		}
		c.exclude = m
	}
	return c, nil
}

// rootOnly tells whether the only name in an owner is root, which is 0 anywhere.
func rootOnly(owner string) bool {
	for name := range strings.SplitSeq(owner, ":") {
		if name != "root" && strings.Trim(name, "0123456789") != "" {
			return false
		}
	}
	return true
}

// dirMode is that of directories that are made on the way.
func (c *copier) dirMode() fs.FileMode {
	if c.mode != nil {
		if bits, octal := c.mode.Octal(); octal {
			return bits & fs.ModePerm
		}
	}
	return 0o755
}

// dirOwner is that of directories that are made on the way.
func (c *copier) dirOwner() rootfs.Owner {
	if c.owner != nil {
		return *c.owner
	}
	return rootfs.Root
}

// mkdirAll makes the directory p, which is resolved.
func (c *copier) mkdirAll(p string) error {
	if c.Link {
		return c.linkDirs(p)
	}
	made, err := c.dst.MkdirAll(p, c.dirMode(), c.dirOwner())
	for _, dir := range made {
		if err == nil && c.owner != nil {
			err = c.dst.Lchown(dir, *c.owner)
		}
	}
	return err
}

// linkDirs makes directories as in an empty stage that is then laid over this
// one: what is there takes the owner and mode, and what is none is replaced.
func (c *copier) linkDirs(p string) error {
	if c.linked[p] {
		return nil
	}
	if err := c.linkDirs(path.Dir(p)); err != nil {
		return err
	}
	return c.mergeDir(rootfs.Info{Path: p, Mode: fs.ModeDir | c.dirMode()}, c.dirOwner())
}

// mergeDir makes the directory, or gives one that is there owner and mode.
func (c *copier) mergeDir(info rootfs.Info, o rootfs.Owner) error {
	c.linked[info.Path] = true
	there, err := c.dst.Lstat(info.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = c.dst.Mkdir(info.Path, info.Mode, o)
	case err != nil:
	case !there.IsDir() && c.Link:
		if err = c.dst.Remove(info.Path); err == nil {
			err = c.dst.Mkdir(info.Path, info.Mode, o)
		}
	case !there.IsDir():
		err = &fs.PathError{Op: "copying a directory to", Path: info.Path, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return err
	}
	return errors.Join(c.dst.Lchown(info.Path, o), c.dst.Chmod(info.Path, info.Mode))
}

// resolve is where p leads in the stage.
func (c *copier) resolve(p string) (string, error) {
	if c.Link {
		return path.Clean(p), nil
	}
	return c.dst.Resolve(p)
}

// copyOne copies one match to the destination.
func (c *copier) copyOne(ctx context.Context, src rootfs.Tree, m match, unpack bool) error {
	p, info, err := rootfs.Resolve(src, m.path)
	if err == nil && info == nil {
		err = &fs.PathError{Op: "finding", Path: m.path, Err: fs.ErrNotExist}
	}
	if err != nil {
		return err
	}
	if unpack && info.Mode.IsRegular() {
		if done, err := c.unpack(ctx, src, *info, p); done || err != nil {
			return err
		}
	}
	dest, err := c.destination(m.path, *info)
	if err != nil {
		return err
	}
	return c.tree(ctx, src, *info, dest)
}

// destination is where a source goes, in a directory that is there.
func (c *copier) destination(source string, info rootfs.Info) (string, error) {
	above := c.Dest
	if dir, name := path.Split(c.Dest); name != "" && name != "." {
		above = dir
	}
	above, err := c.resolve(above)
	if err == nil {
		err = c.mkdirAll(above)
	}
	if err != nil {
		return "", err
	}
	dest, err := c.resolve(path.Clean(c.Dest))
	if err != nil {
		return "", err
	}
	isDir, missing, err := c.look(dest)
	switch {
	case err != nil:
		return "", err
	case info.IsDir() && missing:
		return dest, c.mkdirAll(dest)
	case !info.IsDir() && isDir:
		dest = path.Join(dest, path.Base(source))
	}
	return dest, c.mkdirAll(path.Dir(dest))
}

// look tells what is at the destination; with Link, what the layer has there.
func (c *copier) look(dest string) (isDir, missing bool, err error) {
	if c.Link {
		return c.linked[dest], !c.linked[dest], nil
	}
	there, err := c.dst.Lstat(dest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, true, nil
	}
	return there.IsDir(), false, err
}
