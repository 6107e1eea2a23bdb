package cache

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// part is a part of the cache, by the name that users see.
type part struct {
	name, dir string
	// depth in dir of what is used, and pruned, as a whole.
	depth int
	// onlyDirs leaves out the files at that depth.
	onlyDirs bool
}

var parts = []part{
	{name: "blobs", dir: blobsDir, depth: 1},
	{name: "records", dir: recordsDir, depth: 2}, // kind, key
	{name: "links", dir: linksDir, depth: 1, onlyDirs: true},
	{name: "tmp", dir: tempDir, depth: 1},
}

// Usage is what one part of the cache takes.
type Usage struct {
	// Name is "blobs", "records", "links" or "tmp".
	Name  string `json:"name"`
	Files int    `json:"files"`
	// Bytes on disk, by the files' sizes.
	Bytes int64 `json:"bytes"`
}

// Usage of the cache, part by part.
func (c *Cache) Usage() ([]Usage, error) {
	usages := make([]Usage, 0, len(parts))
	for _, p := range parts {
		entries, err := p.list(c.path(p.dir), p.depth)
		if err != nil {
			return nil, fmt.Errorf("listing cache: %w", err)
		}
		u := Usage{Name: p.name}
		for _, e := range entries {
			u.Files += e.files
			u.Bytes += e.bytes
		}
		usages = append(usages, u)
	}
	return usages, nil
}

// entry is a file, or a directory with all that is in it.
type entry struct {
	name  string
	files int
	bytes int64
	used  time.Time
}

// list returns the entries at a depth below dir. What other processes remove
// at the same time is left out.
func (p part) list(dir string, depth int) ([]entry, error) {
	children, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, child := range children {
		if p.onlyDirs && !child.IsDir() {
			continue
		}
		name := filepath.Join(dir, child.Name())
		var some []entry
		if depth > 1 && child.IsDir() {
			some, err = p.list(name, depth-1)
		} else {
			some, err = measure(name)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// measure returns name as an entry, or nothing where it is gone.
func measure(name string) ([]entry, error) {
	e := entry{name: name}
	err := filepath.WalkDir(name, func(at string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if at == name || info.ModTime().After(e.used) {
			e.used = info.ModTime()
		}
		if !d.IsDir() {
			e.files++
			e.bytes += info.Size()
		}
		return nil
	})
	if err != nil || e.used.IsZero() {
		return nil, err
	}
	return []entry{e}, nil
}

// Policy says what Prune removes.
type Policy struct {
	// UnusedSince, unless zero, removes what was not used since then.
	UnusedSince time.Time
	// KeepBytes is how much may stay: what was used longest ago is removed
	// until no more is left. Negative is no limit.
	KeepBytes int64
	// Locked, unless nil, is called when no build is running any more, and
	// removing begins.
	Locked func()
}

// Prune removes what the policy says, whatever builds that were killed left
// half-written, and what is about directories that are no more. It reports what
// it removed, and waits for running builds as they do for it. When ctx ends, the
// rest stays.
func (c *Cache) Prune(ctx context.Context, p Policy) (removed Usage, err error) {
	unlock, err := c.exclude(ctx)
	if err != nil {
		return removed, err
	}
	defer unlock()
	if p.Locked != nil {
		p.Locked()
	}
	entries, err := c.stale(p)
	if err != nil {
		return removed, fmt.Errorf("listing cache: %w", err)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return removed, context.Cause(ctx)
		}
		for _, name := range []string{e.name, e.name + aboutSuffix} {
			if err := os.RemoveAll(name); err != nil {
				return removed, fmt.Errorf("pruning cache: %w", err)
			}
		}
		removed.Files += e.files
		removed.Bytes += e.bytes
	}
	return removed, nil
}

// stale lists what has to go: all that is temporary, since nobody is writing,
// what is about a directory that has been removed, and of the rest what the
// policy says.
func (c *Cache) stale(policy Policy) ([]entry, error) {
	var useless, rest []entry
	for _, p := range parts {
		entries, err := p.list(c.path(p.dir), p.depth)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if p.dir == tempDir || p.orphaned(e.name) {
				useless = append(useless, e)
			} else {
				rest = append(rest, e)
			}
		}
	}
	slices.SortFunc(rest, func(a, b entry) int { // the last used first
		return cmp.Or(b.used.Compare(a.used), cmp.Compare(a.name, b.name))
	})
	var total int64
	first := slices.IndexFunc(rest, func(e entry) bool {
		total += e.bytes
		return e.used.Before(policy.UnusedSince) || policy.KeepBytes == 0 ||
			(policy.KeepBytes > 0 && total > policy.KeepBytes)
	})
	if first < 0 {
		return useless, nil
	}
	return append(useless, rest[first:]...), nil
}

// aboutSuffix makes of the name of a directory of link outputs that of the file
// which says what they are about.
const aboutSuffix = ".json"

// about is the part of a record, or of such a file, that Prune looks at.
type about struct {
	// Checkout is the directory that it is about, absolute.
	Checkout string `json:"checkout"`
}

// orphaned tells whether the directory that an entry is about is gone. One that
// cannot be looked at may come back.
func (p part) orphaned(name string) bool {
	var a about
	switch p.dir {
	case recordsDir:
		raw, err := readFile(name)
		if err != nil {
			return false
		}
		if rec, ok := parseRecord(raw); !ok || json.Unmarshal(rec.Value, &a) != nil {
			return false
		}
	case linksDir:
		raw, err := readFile(name + aboutSuffix)
		if err != nil || json.Unmarshal(raw, &a) != nil {
			return false
		}
	}
	if !filepath.IsAbs(a.Checkout) {
		return false
	}
	_, err := os.Stat(a.Checkout)
	return errors.Is(err, fs.ErrNotExist)
}
