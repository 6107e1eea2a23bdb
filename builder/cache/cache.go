// Package cache keeps content-addressed blobs, small records and the go
// command's link outputs on disk. Any number of processes may share one cache:
// files appear whole by rename, and a blob that does not match its name is
// dropped, never served. Deleting the cache at any time costs time alone.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// The parts of a cache directory.
const (
	blobsDir   = "blobs/sha256"
	recordsDir = "records"
	linksDir   = "links"
	tempDir    = "tmp"
	lockName   = "lock"
)

// Cache is a directory of blobs, records and link outputs.
type Cache struct {
	dir string
	// Now, when set, is asked for the time that is noted as a blob's last use,
	// which Prune goes by.
	Now func() time.Time
}

// Open returns the cache in dir, making the directory where it is missing.
func Open(dir string) (*Cache, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening cache: %w", err)
	}
	c := &Cache{dir: dir}
	for _, sub := range []string{blobsDir, recordsDir, linksDir, tempDir} {
		if err := os.MkdirAll(c.path(sub), 0o700); err != nil {
			return nil, fmt.Errorf("opening cache: %w", err)
		}
	}
	return c, nil
}

// Check says early why nothing can be written into the cache. It leaves nothing
// behind.
func (c *Cache) Check() error {
	f, err := c.temp("check-*")
	if err == nil {
		_, err = f.WriteString("x")
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return fmt.Errorf("writing into the cache: %w", err)
	}
	return nil
}

// Dir returns the cache's directory, absolute.
func (c *Cache) Dir() string { return c.dir }

// Links returns the directory in which the compiler keeps link outputs. Each
// directory in it is pruned as a whole. Files beside those are its locks,
// which stay: somebody may wait for one. A JSON object in NAME.json beside NAME
// may have a field checkout: when that directory is gone, so are both.
func (c *Cache) Links() string { return c.path(linksDir) }

func (c *Cache) path(part string, names ...string) string {
	return filepath.Join(append([]string{c.dir, filepath.FromSlash(part)}, names...)...)
}

// Pin keeps Prune of any process away until release is called, which has to
// happen, and before a Prune in the same goroutine. It waits for one that is at
// work, for as long as ctx lives.
func (c *Cache) Pin(ctx context.Context) (release func(), err error) {
	return c.lock(ctx, func() (func(), error) {
		f, err := lockedfile.OpenFile(c.path(lockName), os.O_CREATE|os.O_RDONLY, 0o600)
		if err != nil {
			return nil, err
		}
		return func() { _ = f.Close() }, nil
	})
}

// exclude waits until nobody has pinned the cache, and keeps others away.
func (c *Cache) exclude(ctx context.Context) (release func(), err error) {
	return c.lock(ctx, lockedfile.MutexAt(c.path(lockName)).Lock)
}

// lock takes a lock, which itself knows no context.
func (c *Cache) lock(ctx context.Context, take func() (func(), error)) (release func(), err error) {
	type result struct {
		release func()
		err     error
	}
	got := make(chan result, 1)
	go func() {
		var r result
		r.err = retry(c.dir, func() (err error) {
			r.release, err = take()
			return err
		})
		got <- r
	}()
	select {
	case r := <-got:
		if r.err != nil {
			return nil, fmt.Errorf("locking cache: %w", r.err)
		}
		return sync.OnceFunc(r.release), nil
	case <-ctx.Done():
		go func() {
			if r := <-got; r.err == nil {
				r.release()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// touch notes the use of a file. That it can't, on a read-only cache, only
// makes Prune less fair.
func (c *Cache) touch(name string) {
	if c.Now != nil {
		now := c.Now()
		_ = os.Chtimes(name, now, now)
	}
}

// retry does what needs dir to be there, and does it again with dir made where
// it was not: the cache may be deleted in the middle of a build.
func retry(dir string, do func() error) error {
	err := do()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return do()
}

// temp makes a file that place gives its name.
func (c *Cache) temp(pattern string) (f *os.File, err error) {
	dir := c.path(tempDir)
	err = retry(dir, func() error {
		f, err = os.CreateTemp(dir, pattern)
		return err
	})
	return f, err
}

// place renames a temporary file to name, whatever is there.
func place(temp, name string) error {
	err := os.Rename(temp, name)
	if err == nil {
		return nil
	}
	if info, err := os.Lstat(name); err == nil && info.IsDir() {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
		return os.Rename(temp, name)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.Rename(temp, name)
}
