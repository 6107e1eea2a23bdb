//go:build unix

package cache_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stagectl/stagectl/builder/cache"
)

// special are what may be in the place of a file of the cache and is none. A
// pipe is not waited for.
var special = []struct {
	name string
	put  func(t *testing.T, name string)
}{
	{"pipe", func(t *testing.T, name string) {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}},
	{"socket", func(t *testing.T, name string) {
		t.Chdir(filepath.Dir(name)) // a socket's path may not be long
		l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Base(name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}},
	{"link to nowhere", func(t *testing.T, name string) {
		if err := os.Symlink("nowhere", name); err != nil {
			t.Fatal(err)
		}
	}},
	{"link to a device", func(t *testing.T, name string) {
		if err := os.Symlink("/dev/zero", name); err != nil {
			t.Fatal(err)
		}
	}},
	{"link to itself", func(t *testing.T, name string) {
		if err := os.Symlink(name, name); err != nil {
			t.Fatal(err)
		}
	}},
}

func TestSpecialFiles(t *testing.T) {
	for _, tt := range special {
		t.Run("blob/"+tt.name, func(t *testing.T) {
			c := open(t, t.TempDir())
			_, name := put(t, c, large)
			remove(t, name)
			tt.put(t, name)
			_, err := c.Verified(digest(large))
			wantErrorIs(t, err, fs.ErrNotExist)
			wantAgain(t, c, name)
		})
		t.Run("record/"+tt.name, func(t *testing.T) {
			c := open(t, t.TempDir())
			name := setRecord(t, c)
			remove(t, name)
			tt.put(t, name)
			wantNoRecord(t, c, name)
		})
		t.Run("pruned/"+tt.name, func(t *testing.T) {
			c := open(t, t.TempDir())
			blob, name := put(t, c, large)
			record := setRecord(t, c)
			link := filepath.Join(c.Links(), "x")
			writeFile(t, filepath.Join(link, "binary"), nil)
			for _, name := range []string{name, record, link + ".json"} {
				_ = os.Remove(name)
				tt.put(t, name)
			}
			if _, err := c.Prune(t.Context(), cache.Policy{}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{name, record, link, link + ".json"} {
				if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is left: %v", filepath.Base(name), err)
				}
			}
			wantContent(t, blob, large)
		})
	}
}

// What may not be read is dropped as well.
func TestUnreadable(t *testing.T) {
	c := open(t, t.TempDir())
	_, blob := put(t, c, large)
	record := setRecord(t, c)
	for _, name := range []string{blob, record} {
		if err := os.Chmod(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	asNobody(t, c.Dir(), func() {
		_, err := c.Verified(digest(large))
		wantErrorIs(t, err, fs.ErrNotExist)
		wantAgain(t, c, blob)
		wantNoRecord(t, c, record)
	})
}

func setRecord(t *testing.T, c *cache.Cache) (name string) {
	t.Helper()
	if err := c.SetRecord("kind", "key", value{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(c.Dir(), "records", files(t, c.Dir(), "records")[0])
}

func wantNoRecord(t *testing.T, c *cache.Cache, name string) {
	t.Helper()
	var got value
	if c.Record("kind", "key", &got) {
		t.Errorf("the record is served: %+v", got)
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the record is left: %v", err)
	}
	if err := c.SetRecord("kind", "key", value{Name: "y"}); err != nil {
		t.Fatal(err)
	}
	if !c.Record("kind", "key", &got) || got.Name != "y" {
		t.Errorf("the record is %+v afterwards", got)
	}
}
