package cache_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/cache"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c := open(t, filepath.Join("a", "b"))
	for name, got := range map[string]string{"b": c.Dir(), filepath.Join("b", "links"): c.Links()} {
		if !filepath.IsAbs(got) || !strings.HasSuffix(got, filepath.Join("a", name)) {
			t.Errorf("got %s, want the absolute path of a/%s", got, name)
		}
		if info, err := os.Stat(got); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v, want a directory for its owner alone", got, info, err)
		}
	}
	// What is in it stays when it is opened again.
	put(t, c, []byte("x"))
	if _, err := open(t, c.Dir()).Verified(digest([]byte("x"))); err != nil {
		t.Error(err)
	}
}

// A regular file stands for a directory that cannot be written to, since the
// permissions of one do not hold root back.
func TestOpenErrors(t *testing.T) {
	for _, inTheWay := range []string{".", "blobs", "records", "links", "tmp"} {
		t.Run(inTheWay, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			name := filepath.Join(dir, inTheWay)
			writeFile(t, name, nil)
			_, err := cache.Open(dir)
			if err == nil || !strings.HasPrefix(err.Error(), "opening cache: ") || !strings.Contains(err.Error(), name) {
				t.Errorf("got error %v, want one that names %s", err, name)
			}
		})
	}
}

// Everything works on when the cache is deleted between two calls.
func TestDeletedCache(t *testing.T) {
	content := []byte("content")
	tests := []struct {
		name string
		do   func(c *cache.Cache) error
	}{
		{"pin", func(c *cache.Cache) error {
			release, err := c.Pin(t.Context())
			if err == nil {
				release()
			}
			return err
		}},
		{"create", func(c *cache.Cache) error {
			w, err := c.Create()
			if err == nil {
				w.Discard()
			}
			return err
		}},
		{"put", func(c *cache.Cache) error {
			_, err := c.Put(digest(content), bytes.NewReader(content))
			return err
		}},
		{"set record", func(c *cache.Cache) error { return c.SetRecord("kind", "key", 1) }},
		{"check", (*cache.Cache).Check},
		{"usage", func(c *cache.Cache) error {
			_, err := c.Usage()
			return err
		}},
		{"prune", func(c *cache.Cache) error {
			_, err := c.Prune(t.Context(), cache.Policy{})
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, filepath.Join(t.TempDir(), "cache"))
			remove(t, c.Dir())
			if err := tt.do(c); err != nil {
				t.Error(err)
			}
		})
	}
}

// What cannot be written says which file it is about.
func TestWriteErrors(t *testing.T) {
	tests := []struct {
		name, inTheWay, want string
		do                   func(c *cache.Cache) error
	}{
		{"pin", "lock/x", "locking cache: ", func(c *cache.Cache) error {
			_, err := c.Pin(t.Context())
			return err
		}},
		{"prune", "lock/x", "locking cache: ", func(c *cache.Cache) error {
			_, err := c.Prune(t.Context(), cache.Policy{})
			return err
		}},
		{"check", "tmp", "writing into the cache: ", (*cache.Cache).Check},
		{"create", "tmp", "creating cached blob: ", func(c *cache.Cache) error {
			_, err := c.Create()
			return err
		}},
		{"put", "blobs", "writing cached blob: ", func(c *cache.Cache) error {
			_, err := c.Put(digest([]byte("x")), strings.NewReader("x"))
			return err
		}},
		{"set record without temporary files", "tmp", "writing cache record: ", func(c *cache.Cache) error {
			return c.SetRecord("kind", "key", 1)
		}},
		{"set record", "records", "writing cache record: ", func(c *cache.Cache) error {
			return c.SetRecord("kind", "key", 1)
		}},
		{"usage", "records", "listing cache: ", func(c *cache.Cache) error {
			_, err := c.Usage()
			return err
		}},
		{"list for prune", "tmp", "listing cache: ", func(c *cache.Cache) error {
			_, err := c.Prune(t.Context(), cache.Policy{})
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, t.TempDir())
			top, _, _ := strings.Cut(tt.inTheWay, "/")
			remove(t, filepath.Join(c.Dir(), top))
			writeFile(t, filepath.Join(c.Dir(), filepath.FromSlash(tt.inTheWay)), nil)
			err := tt.do(c)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || !strings.Contains(err.Error(), filepath.Join(c.Dir(), top)) {
				t.Errorf("got error %v, want one with %q that names %s", err, tt.want, top)
			}
			if diff := cmp.Diff([]string(nil), leftovers(t, c)); diff != "" {
				t.Errorf("temporary files (-want +got):\n%s", diff)
			}
		})
	}
}

// leftovers lists the temporary files, where their directory is one.
func leftovers(t *testing.T, c *cache.Cache) []string {
	t.Helper()
	if info, err := os.Stat(filepath.Join(c.Dir(), "tmp")); err != nil || !info.IsDir() {
		return nil
	}
	return files(t, c.Dir(), "tmp")
}
