package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/moby/patternmatcher"

	"github.com/stagectl/stagectl/builder/rootfs"
)

// treeCopy is a source being copied.
type treeCopy struct {
	*copier
	src rootfs.Tree
	// links has where the files of several names were copied to.
	links map[uint64]string
	// parents are the directories above, which are made when something below
	// them is taken.
	parents []parent
	// last is the directory that was copied to last, and setgid of it.
	last   string
	setgid bool
}

type parent struct {
	info rootfs.Info
	dest string
	made bool
}

// below is a path relative to the source, and what the patterns made of the
// directory above.
type below struct {
	name             string
	include, exclude patternmatcher.MatchInfo
}

// tree copies what info is to dest.
func (c *copier) tree(ctx context.Context, src rootfs.Tree, info rootfs.Info, dest string) error {
	t := &treeCopy{copier: c, src: src, links: map[uint64]string{}}
	return t.copy(ctx, info, dest, below{})
}

// selected tells whether the patterns take a path, and whether they may take
// something below one that they do not.
func (t *treeCopy) selected(b *below) (ok, deeper bool, err error) {
	if b.name == "" {
		return true, true, nil
	}
	ok, deeper = true, true
	if t.include != nil {
		if ok, b.include, err = t.include.MatchesUsingParentResults(b.name, b.include); err != nil {
			return false, false, fmt.Errorf("matching %s: %w", b.name, err)
		}
	}
	if t.exclude != nil {
		var excluded bool
		if excluded, b.exclude, err = t.exclude.MatchesUsingParentResults(b.name, b.exclude); err != nil {
			return false, false, fmt.Errorf("matching %s: %w", b.name, err)
		}
		if excluded {
			ok, deeper = false, t.exclude.Exclusions()
		}
	}
	return ok, deeper, nil
}

func (t *treeCopy) copy(ctx context.Context, info rootfs.Info, dest string, b below) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	take, deeper, err := t.selected(&b)
	if err != nil || !take && (!deeper || !info.IsDir()) {
		return err
	}
	if take {
		if err := t.makeParents(); err != nil {
			return err
		}
	}
	if info.IsDir() {
		return t.dir(ctx, info, dest, b, take, deeper)
	}
	if err := t.clear(dest); err != nil {
		return err
	}
	return t.file(ctx, info, dest)
}

// makeParents makes the directories above what is taken. One that is there gets
// the mode that it has in the source, and keeps its owner.
func (t *treeCopy) makeParents() error {
	for i := range t.parents {
		p := &t.parents[i]
		if p.made {
			continue
		}
		p.made = true
		if there, err := t.dst.Lstat(p.dest); err == nil && there.IsDir() && !t.Link {
			if err := t.dst.Chmod(p.dest, p.info.Mode); err != nil {
				return err
			}
			continue
		}
		if err := t.makeDir(p.info, p.dest); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory after info, or makes one that is there like it.
func (t *treeCopy) makeDir(info rootfs.Info, dest string) error {
	info.Path, info.Mode = dest, t.modeOf(info)
	return t.mergeDir(info, t.ownerOf(info))
}

func (t *treeCopy) dir(ctx context.Context, info rootfs.Info, dest string, b below, take, deeper bool) error {
	// The directory that the source is itself has its place already, or was there
	// before, and stays as it is.
	if take && b.name != "" {
		if err := t.makeDir(info, dest); err != nil {
			return err
		}
	}
	if b.name == "" {
		if err := t.wantDir(dest); err != nil {
			return err
		}
	}
	if !deeper {
		return nil
	}
	t.parents = append(t.parents, parent{info, dest, take})
	defer func() { t.parents = t.parents[:len(t.parents)-1] }()
	list, err := t.src.ReadDir(info.Path)
	if err != nil {
		return err
	}
	for _, child := range list {
		next := b
		next.name = path.Join(b.name, path.Base(child.Path))
		if err := t.copy(ctx, child, path.Join(dest, path.Base(child.Path)), next); err != nil {
			return err
		}
	}
	return nil
}

// wantDir checks that a directory can be copied to dest.
func (t *treeCopy) wantDir(dest string) error {
	there, err := t.dst.Lstat(dest)
	if err == nil && !there.IsDir() {
		err = &fs.PathError{Op: "copying a directory to", Path: dest, Err: syscall.ENOTDIR}
	}
	return err
}

// clear removes the file that is in the way. A directory is not replaced.
func (t *treeCopy) clear(dest string) error {
	there, err := t.dst.Lstat(dest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case there.IsDir() && (!t.Link || t.linked[dest]):
		return &fs.PathError{Op: "copying a file to", Path: dest, Err: syscall.EISDIR}
	}
	return t.dst.RemoveAll(dest)
}

func (t *treeCopy) file(ctx context.Context, info rootfs.Info, dest string) error {
	mode, owner := t.modeOf(info), t.ownerOf(info)
	first := t.links[info.Inode]
	var err error
	switch {
	case info.IsSymlink():
		err = t.dst.Symlink(info.Link, dest, owner)
	case !info.Mode.IsRegular():
		info.Mode, info.UID, info.GID = mode, owner.UID, owner.GID
		err = t.dst.Mknod(dest, info)
	case first != "" && info.Inode != 0:
		return t.dst.Link(first, dest)
	default:
		t.links[info.Inode] = dest
		err = t.content(ctx, info.Path, dest, mode, owner)
	}
	if err != nil || !t.inherits(path.Dir(dest)) {
		return err
	}
	if err := t.dst.Lchown(dest, owner); err != nil || info.IsSymlink() {
		return err
	}
	return t.dst.Chmod(dest, mode) // setuid, which a change of the owner drops
}

// inherits tells whether what is made in a directory gets the group of that.
func (t *treeCopy) inherits(dir string) bool {
	if t.last != dir {
		info, err := t.dst.Lstat(dir)
		t.last, t.setgid = dir, err == nil && info.Mode&fs.ModeSetgid != 0
	}
	return t.setgid
}

func (t *treeCopy) content(ctx context.Context, from, dest string, mode fs.FileMode, owner rootfs.Owner) (err error) {
	r, err := t.src.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w, err := t.dst.OpenFile(dest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode, owner)
	if err != nil {
		return err
	}
	return errors.Join(copyContent(ctx, w, r), w.Close())
}

// copyContent copies by pieces, between which it can be stopped, and lets the
// kernel copy them where both are files.
func copyContent(ctx context.Context, w io.Writer, r io.Reader) error {
	const piece = 32 << 20
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_, err := io.CopyN(w, r, piece)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *treeCopy) modeOf(info rootfs.Info) fs.FileMode {
	if t.mode == nil {
		return info.Mode
	}
	return t.mode.Apply(info.Mode, 0)
}

func (t *treeCopy) ownerOf(info rootfs.Info) rootfs.Owner {
	if t.owner != nil {
		return *t.owner
	}
	return info.Owner()
}
