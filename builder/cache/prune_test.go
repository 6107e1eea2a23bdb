package cache_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/cache"
)

// at is the time of the hour of a day.
func at(hour int) time.Time { return time.Date(2024, 1, 1, hour, 0, 0, 0, time.UTC) }

func writeAt(t *testing.T, name string, size, hour int) {
	t.Helper()
	writeFile(t, name, make([]byte, size))
	if err := os.Chtimes(name, at(hour), at(hour)); err != nil {
		t.Fatal(err)
	}
}

// filled is a cache with things of a size that were last used at an hour:
//
//	blobs    "a" 1 byte at 1, "bb" 2 at 3, "cccc" 4 at 5
//	records  tags/r 100 at 2
//	links    l1 of two files, 30 at 4, l2 8 at 6; locks beside both
//	tmp      blob-1 1000 at 7
func filled(t *testing.T) *cache.Cache {
	t.Helper()
	c := open(t, t.TempDir())
	for hour, content := range map[int]string{1: "a", 3: "bb", 5: "cccc"} {
		c.Now = func() time.Time { return at(hour) }
		put(t, c, []byte(content))
	}
	writeAt(t, filepath.Join(c.Dir(), "records", "tags", "r"), 100, 2)
	writeAt(t, filepath.Join(c.Links(), "l1", "x"), 10, 3)
	writeAt(t, filepath.Join(c.Links(), "l1", "sub", "y"), 20, 4)
	writeAt(t, filepath.Join(c.Links(), "l2", "x"), 8, 6)
	for dir, hour := range map[string]int{"l1/sub": 1, "l1": 1, "l2": 1} {
		if err := os.Chtimes(filepath.Join(c.Links(), filepath.FromSlash(dir)), at(hour), at(hour)); err != nil {
			t.Fatal(err)
		}
	}
	writeAt(t, filepath.Join(c.Links(), "l1.lock"), 0, 0)
	writeAt(t, filepath.Join(c.Links(), "l2.lock"), 0, 0)
	writeAt(t, filepath.Join(c.Dir(), "tmp", "blob-1"), 1000, 7)
	return c
}

// remaining lists what is in a filled cache, by the names that filled has.
func remaining(t *testing.T, c *cache.Cache) []string {
	t.Helper()
	var names []string
	for _, content := range []string{"a", "bb", "cccc"} {
		if slices.Contains(files(t, c.Dir(), "blobs/sha256"), digest([]byte(content)).Hex) {
			names = append(names, content)
		}
	}
	for _, part := range []string{"records", "links", "tmp"} {
		names = append(names, files(t, c.Dir(), part)...)
	}
	return names
}

func TestUsage(t *testing.T) {
	got, err := filled(t).Usage()
	if err != nil {
		t.Fatal(err)
	}
	want := []cache.Usage{
		{Name: "blobs", Files: 3, Bytes: 7}, {Name: "records", Files: 1, Bytes: 100},
		{Name: "links", Files: 3, Bytes: 38}, {Name: "tmp", Files: 1, Bytes: 1000},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
}

func TestPrune(t *testing.T) {
	locks := []string{"l1.lock", "l2.lock"}
	all := []string{"a", "bb", "cccc", "tags/r", "l1/sub/y", "l1/x", "l1.lock", "l2/x", "l2.lock"}
	tests := []struct {
		name   string
		policy cache.Policy
		// want is what remains; wantGone is what Prune reports.
		want     []string
		wantGone cache.Usage
	}{
		{"everything", cache.Policy{}, locks, cache.Usage{Files: 8, Bytes: 1145}},
		{"nothing but what is temporary", cache.Policy{KeepBytes: -1}, all, cache.Usage{Files: 1, Bytes: 1000}},
		{"all of it may stay", cache.Policy{KeepBytes: 145}, all, cache.Usage{Files: 1, Bytes: 1000}},
		{
			"all of it but one byte may stay", cache.Policy{KeepBytes: 144},
			[]string{"bb", "cccc", "tags/r", "l1/sub/y", "l1/x", "l1.lock", "l2/x", "l2.lock"},
			cache.Usage{Files: 2, Bytes: 1001},
		},
		{
			// 8 of l2, 4 of cccc, 30 of l1, 2 of bb; a would fit, but was used before r.
			"the longest unused goes first", cache.Policy{KeepBytes: 60},
			[]string{"bb", "cccc", "l1/sub/y", "l1/x", "l1.lock", "l2/x", "l2.lock"},
			cache.Usage{Files: 3, Bytes: 1101},
		},
		{
			"directory of links as a whole", cache.Policy{KeepBytes: 41},
			[]string{"cccc", "l1.lock", "l2/x", "l2.lock"}, cache.Usage{Files: 6, Bytes: 1133},
		},
		{"one byte", cache.Policy{KeepBytes: 1}, locks, cache.Usage{Files: 8, Bytes: 1145}},
		{
			"old ones", cache.Policy{UnusedSince: at(3), KeepBytes: -1},
			[]string{"bb", "cccc", "l1/sub/y", "l1/x", "l1.lock", "l2/x", "l2.lock"},
			cache.Usage{Files: 3, Bytes: 1101},
		},
		{
			"directory of links by its youngest file", cache.Policy{UnusedSince: at(4), KeepBytes: -1},
			[]string{"cccc", "l1/sub/y", "l1/x", "l1.lock", "l2/x", "l2.lock"},
			cache.Usage{Files: 4, Bytes: 1103},
		},
		{"none is old", cache.Policy{UnusedSince: at(1), KeepBytes: -1}, all, cache.Usage{Files: 1, Bytes: 1000}},
		{"all are old", cache.Policy{UnusedSince: at(7), KeepBytes: -1}, locks, cache.Usage{Files: 8, Bytes: 1145}},
		{
			"old ones, and still too much", cache.Policy{UnusedSince: at(3), KeepBytes: 12},
			[]string{"cccc", "l1.lock", "l2/x", "l2.lock"}, cache.Usage{Files: 6, Bytes: 1133},
		},
		{
			"enough, but old ones", cache.Policy{UnusedSince: at(6), KeepBytes: 100},
			[]string{"l1.lock", "l2/x", "l2.lock"}, cache.Usage{Files: 7, Bytes: 1137},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := filled(t)
			gone, err := c.Prune(t.Context(), tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.wantGone, gone); diff != "" {
				t.Errorf("reported (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, remaining(t, c)); diff != "" {
				t.Errorf("what remains (-want +got):\n%s", diff)
			}
			put(t, c, []byte("again"))
		})
	}
}

// Reading counts as use, for blobs and records.
func TestPruneSparesWhatWasRead(t *testing.T) {
	c := open(t, t.TempDir())
	c.Now = func() time.Time { return at(1) }
	for _, content := range []string{"a", "bb"} {
		put(t, c, []byte(content))
		if err := c.SetRecord("kind", content, content); err != nil {
			t.Fatal(err)
		}
	}
	c.Now = func() time.Time { return at(2) }
	if _, err := c.Blob(digest([]byte("bb"))); err != nil {
		t.Fatal(err)
	}
	var value string
	if !c.Record("kind", "bb", &value) {
		t.Fatal("there is no record")
	}
	if _, err := c.Prune(t.Context(), cache.Policy{UnusedSince: at(2), KeepBytes: -1}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{digest([]byte("bb")).Hex}, files(t, c.Dir(), "blobs/sha256")); diff != "" {
		t.Errorf("blobs (-want +got):\n%s", diff)
	}
	if c.Record("kind", "a", &value) || !c.Record("kind", "bb", &value) {
		t.Error("the wrong record was pruned")
	}
}

// Empty directories are entries, too, and of nothing there is nothing to keep.
func TestPruneEmpty(t *testing.T) {
	c := open(t, t.TempDir())
	put(t, c, nil)
	if err := os.Mkdir(filepath.Join(c.Links(), "l"), 0o700); err != nil {
		t.Fatal(err)
	}
	gone, err := c.Prune(t.Context(), cache.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cache.Usage{Files: 1}, gone); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
	for _, dir := range []string{c.Links(), filepath.Join(c.Dir(), "blobs", "sha256")} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s has %v, %v, want nothing", dir, entries, err)
		}
	}
}

// Any number of builds may pin the cache; a prune waits for all of them.
func TestPinKeepsPruneAway(t *testing.T) {
	c := open(t, t.TempDir())
	put(t, c, large)
	first, err := c.Pin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := open(t, c.Dir()).Pin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		close(started)
		_, err := c.Prune(t.Context(), cache.Policy{})
		done <- err
	}()
	<-started
	stays := func() {
		t.Helper()
		for range 200 {
			runtime.Gosched()
			if _, err := c.Verified(digest(large)); err != nil {
				t.Fatal("the cache was pruned under a pin: ", err)
			}
		}
	}
	stays()
	first()
	first() // once more does no harm, and releases no other
	stays()
	second()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := files(t, c.Dir(), "blobs"); len(got) > 0 {
		t.Errorf("blobs %q, want none after the prune", got)
	}
	// And afterwards the lock is free.
	release, err := c.Pin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// What is about a directory that has been removed goes, whatever the policy is.
func TestPruneOrphans(t *testing.T) {
	c := open(t, t.TempDir())
	here, gone := t.TempDir(), filepath.Join(t.TempDir(), "gone")
	type about struct {
		Checkout string `json:"checkout,omitempty"`
	}
	for kind, checkout := range map[string]string{"here": here, "gone": gone, "relative": "gone", "none": ""} {
		if err := c.SetRecord(kind, "key", about{checkout}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetRecord("list", "key", []string{gone}); err != nil {
		t.Fatal(err)
	}
	for name, checkout := range map[string]string{"here": here, "gone": gone} {
		writeFile(t, filepath.Join(c.Links(), name, "binary"), []byte("x"))
		writeFile(t, filepath.Join(c.Links(), name+".json"), []byte(`{"checkout":"`+checkout+`"}`))
		writeFile(t, filepath.Join(c.Links(), name+".lock"), nil)
	}
	writeFile(t, filepath.Join(c.Links(), "unsaid", "binary"), []byte("x"))
	put(t, c, []byte("blob"))
	removed, err := c.Prune(t.Context(), cache.Policy{KeepBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	if removed.Files != 2 {
		t.Errorf("removed %+v, want a record and a binary", removed)
	}
	want := []string{"gone.lock", "here/binary", "here.json", "here.lock", "unsaid/binary"}
	if diff := cmp.Diff(want, files(t, c.Dir(), "links")); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	for _, kind := range []string{"here", "relative", "none"} {
		var a about
		if !c.Record(kind, "key", &a) {
			t.Errorf("the record %s is gone", kind)
		}
	}
	var a about
	if c.Record("gone", "key", &a) {
		t.Error("the record of a directory that is gone is still there")
	}
}

// A prune that is called off while it removes keeps the rest.
func TestPruneHeedsContext(t *testing.T) {
	c := open(t, t.TempDir())
	put(t, c, large)
	ctx, cancel := context.WithCancel(t.Context())
	removed, err := c.Prune(ctx, cache.Policy{Locked: cancel})
	wantErrorIs(t, err, context.Canceled)
	if removed.Files != 0 || len(files(t, c.Dir(), "blobs")) != 1 {
		t.Errorf("removed %+v", removed)
	}
}
