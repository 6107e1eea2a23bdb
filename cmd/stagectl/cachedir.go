package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/event"
)

// cacheDir returns the directory of the cache: the one of --cache-dir, or that
// of the user.
func cacheDir(flag string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	dir, err := userCacheDir()
	return filepath.Join(dir, "stagectl"), err
}

// openCache opens the cache and keeps it from being pruned until release.
func (a *app) openCache(ctx context.Context, flag string) (c *cache.Cache, release func(), err error) {
	dir, err := cacheDir(flag)
	if err != nil {
		return nil, nil, err
	}
	if c, err = cache.Open(dir); err != nil {
		return nil, nil, err
	}
	c.Now = a.Now
	release, err = c.Pin(ctx)
	return c, release, err
}

// usableCache is openCache for those that can do without a cache: where it
// cannot be used, they are told why, and get one that is gone after release.
func (a *app) usableCache(ctx context.Context, f *commonFlags, progress event.Func) (*cache.Cache, func(), error) {
	why := f.cacheTrouble
	if why == nil {
		c, release, err := a.openCache(ctx, f.cacheDir)
		if err == nil {
			if err = c.Check(); err == nil {
				return c, release, nil
			}
			release()
		}
		if ctx.Err() != nil {
			return nil, nil, err
		}
		why = err
	}
	dir, err := os.MkdirTemp("", "stagectl-cache-")
	if err != nil {
		return nil, nil, errors.Join(why, err)
	}
	done := func() { removeAll(dir) }
	c, release, err := a.openCache(ctx, dir)
	if err != nil {
		done()
		return nil, nil, errors.Join(why, err)
	}
	progress(event.Event{
		Phase: event.Cache, Subject: dir, State: event.Message,
		Text: "warning: this is done without the cache, and takes longer: " + oneLine(why.Error()),
	})
	return c, func() { release(); done() }, nil
}

// removeAll removes a directory, also where the go command has put modules in
// it, which are in directories that are not writable.
func removeAll(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(name, 0o700)
		}
		return err
	})
	_ = os.RemoveAll(dir)
}

// withoutCache does something, and again without the cache where it failed
// because the cache cannot be written, on a full disk for one.
func (f *commonFlags) withoutCache(do func() error) error {
	err := do()
	if err == nil || f.cacheTrouble != nil {
		return err
	}
	dir, dirErr := cacheDir(f.cacheDir)
	if dirErr != nil {
		return err
	}
	if f.cacheTrouble = troubleIn(dir, err); f.cacheTrouble == nil {
		return err
	}
	return do()
}

// troubleIn returns what of err is about a file below dir that could not be
// written, or nil.
func troubleIn(dir string, err error) error {
	if ce := (*compile.Error)(nil); errors.As(err, &ce) {
		// The go command links in the cache's directory, and does not always say
		// which file it is about.
		if strings.Contains(string(ce.Output), syscall.ENOSPC.Error()) {
			return fmt.Errorf("linking in %s: %w", dir, syscall.ENOSPC)
		}
		return nil
	}
	below := func(name string) bool { return strings.HasPrefix(name, dir+string(filepath.Separator)) }
	switch e := err.(type) { //nolint:errorlint // every error of the tree is looked at
	case *fs.PathError:
		if below(e.Path) && !errors.Is(e, fs.ErrNotExist) {
			return e
		}
		return troubleIn(dir, e.Err) // it may be about a file of a stage
	case *os.LinkError:
		if below(e.New) && !errors.Is(e, fs.ErrNotExist) {
			return e
		}
	case interface{ Unwrap() error }:
		return troubleIn(dir, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			if found := troubleIn(dir, part); found != nil {
				return found
			}
		}
	}
	return nil
}
