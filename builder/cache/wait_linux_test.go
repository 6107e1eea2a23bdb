package cache_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stagectl/stagectl/builder/cache"
)

// Whoever waits for the lock can be called off, and neither holds it then nor
// keeps others from it.
func TestWaitingHeedsContext(t *testing.T) {
	c := open(t, t.TempDir())
	put(t, c, large)
	why := errors.New("called off")
	// waits has something wait for the lock and calls it off.
	waits := func(wait func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() { done <- wait(ctx) }()
		for opened(t, filepath.Join(c.Dir(), "lock")) < 2 {
			runtime.Gosched()
		}
		cancel(why)
		wantErrorIs(t, <-done, why)
	}
	release, err := c.Pin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waits(func(ctx context.Context) error {
		_, err := c.Prune(ctx, cache.Policy{Locked: func() { t.Error("the lock was given twice") }})
		return err
	})
	release()
	_, err = c.Prune(t.Context(), cache.Policy{Locked: func() {
		waits(func(ctx context.Context) error {
			_, err := c.Pin(ctx)
			return err
		})
	}})
	if err != nil {
		t.Error(err)
	}
	if _, err := c.Prune(t.Context(), cache.Policy{}); err != nil {
		t.Error(err)
	}
	if got := files(t, c.Dir(), "blobs"); len(got) > 0 {
		t.Errorf("blobs %q are left", got)
	}
}

// opened counts how often this process has a file open.
func opened(t *testing.T, name string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if is, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil && is == name {
			n++
		}
	}
	return n
}
