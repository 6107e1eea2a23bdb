package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// Change is one entry of the layer that turns one state of a stage into another.
type Change struct {
	Info
	// Deleted is set for a path that is not there any more. Of the rest, only
	// Path is set.
	Deleted bool
	// Open returns the content of a regular file.
	Open func() (io.ReadCloser, error)
}

// Whiteout is the path of the empty file that stands for a deletion in a layer
// (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
func (c Change) Whiteout() string {
	return path.Join(path.Dir(c.Path), ".wh."+path.Base(c.Path))
}

// Snapshot is the state of a stage at one time.
type Snapshot struct {
	upper  map[string]record
	hidden map[string]bool
}

// record tells one state of a path in the upper directory from another.
type record struct {
	info Info
	// change is 0 for what only programs worked on.
	change uint64
	file   fs.FileInfo
}

func (r record) same(o record) bool {
	if r.info != o.info || r.change != o.change {
		return false
	}
	return !r.info.Mode.IsRegular() ||
		r.file.ModTime().Equal(o.file.ModTime()) && os.SameFile(r.file, o.file)
}

// Snapshot returns the present state, for Changes to start from later.
func (f *FS) Snapshot() (*Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.snapshot()
	if err != nil {
		return nil, fmt.Errorf("listing the stage's files: %w", err)
	}
	return now, nil
}

func (s *stage) snapshot() (*Snapshot, error) {
	now := &Snapshot{upper: map[string]record{}}
	err := s.record(now, "/")
	if err == nil {
		err = s.reconcile(now)
	}
	now.hidden = maps.Clone(s.hidden)
	return now, err
}

// reconcile hides what a program removed from the upper directory, so that the
// lower tree does not show through.
func (s *stage) reconcile(now *Snapshot) error {
	for _, p := range slices.Sorted(maps.Keys(s.meta)) {
		if _, ok := now.upper[p]; ok || p == "/" {
			continue
		}
		delete(s.meta, p)
		if err := s.hide(p); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) record(now *Snapshot, dir string) error {
	list, err := s.readUpper(dir)
	if err != nil {
		return err
	}
	for _, fi := range list {
		p := path.Join(dir, fi.Name())
		if strings.HasPrefix(fi.Name(), ".wh.") {
			return pathError("list", p, ErrReserved)
		}
		info, err := s.upperInfo(p, fi)
		if err != nil {
			return err
		}
		r := record{info: info, file: fi}
		if m := s.meta[p]; m != nil {
			r.change = m.change
		}
		now.upper[p] = r
		if info.IsDir() {
			if err := s.record(now, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// Changes yields what changed since the snapshot, or since the beginning where
// that is nil, in the order of a layer: by path, parents first. The directories
// above what changed are among it, since an engine that finds none in a layer
// makes them anew, with another owner and mode; the root is not. After an error
// there is nothing more.
//
// A directory that was removed and made again comes with a deletion for each
// name that it does not have any more, never with an opaque whiteout.
func (f *FS) Changes(since *Snapshot) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		list, err := f.changes(since)
		if err != nil {
			yield(Change{}, fmt.Errorf("finding what the stage changed: %w", err))
			return
		}
		for _, c := range list {
			if c.Mode.IsRegular() && !c.Deleted {
				c.Open = f.opener(c.Path)
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// opener opens what is at p, whatever base the view has.
func (f *FS) opener(p string) func() (io.ReadCloser, error) {
	top := &FS{f.stage, "/"}
	return func() (io.ReadCloser, error) { return top.Open(p) }
}

func (f *FS) changes(since *Snapshot) ([]Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if since == nil {
		since = &Snapshot{}
	}
	now, err := f.snapshot()
	if err != nil {
		return nil, err
	}
	d := &diff{stage: f.stage, since: since, now: now, changes: map[string]Change{}}
	for p, r := range now.upper {
		if before, ok := since.upper[p]; !ok || !before.same(r) {
			d.changes[p] = Change{Info: r.info}
		}
	}
	if err := d.deletions(); err != nil {
		return nil, err
	}
	if err := d.parents(); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(d.changes), func(a, b Change) int { return strings.Compare(a.Path, b.Path) }), nil
}

// diff is the difference of two states.
type diff struct {
	*stage
	since, now *Snapshot
	changes    map[string]Change
}

// deletions finds what was there and is not, in both layers.
func (d *diff) deletions() error {
	for p := range d.since.upper {
		if _, ok := d.now.upper[p]; ok {
			continue
		}
		if err := d.deleted(p); err != nil {
			return err
		}
	}
	for p := range d.now.hidden {
		if d.wasHidden(p) {
			continue
		}
		if err := d.lowerGone(p); err != nil {
			return err
		}
	}
	return nil
}

// wasHidden tells whether p of the lower tree was not seen at the snapshot.
func (d *diff) wasHidden(p string) bool {
	for ; p != "/"; p = path.Dir(p) {
		if d.since.hidden[p] {
			return true
		}
	}
	return false
}

// deleted notes that p is gone, unless something is there, or its directory is
// gone, too.
func (d *diff) deleted(p string) error {
	dir, err := d.present(path.Dir(p))
	if err != nil || dir == nil || !dir.IsDir() {
		return err
	}
	info, err := d.present(p)
	if err == nil && info == nil {
		d.changes[p] = Change{Info: Info{Path: p}, Deleted: true}
	}
	return err
}

// present describes what is at p, and is nil where nothing is, or a link is in
// the place of a directory above.
func (d *diff) present(p string) (*Info, error) {
	if p != "/" {
		dir, err := d.present(path.Dir(p))
		if err != nil || dir == nil || !dir.IsDir() {
			return nil, err
		}
	}
	info, err := d.lookup(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &info, err
}

// lowerGone notes what of the lower tree, at p and below, is not there.
func (d *diff) lowerGone(p string) error {
	r, ok := d.now.upper[p]
	if !ok {
		return d.deleted(p)
	}
	if !r.info.IsDir() {
		return nil
	}
	info, err := d.lower.Lstat(p)
	if err != nil || !info.IsDir() {
		return err
	}
	list, err := d.lower.ReadDir(p)
	if err != nil {
		return err
	}
	for _, below := range list {
		if d.wasHidden(below.Path) {
			continue
		}
		if err := d.lowerGone(below.Path); err != nil {
			return err
		}
	}
	return nil
}

// parents adds the directories above each change.
func (d *diff) parents() error {
	for _, p := range slices.Collect(maps.Keys(d.changes)) {
		for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
			if _, ok := d.changes[dir]; ok {
				continue // with those above it, now or later
			}
			info, err := d.lookup(dir)
			if err != nil {
				return err
			}
			d.changes[dir] = Change{Info: info}
		}
	}
	return nil
}
