package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/cache"
)

// large is more than any buffer holds.
var large = bytes.Repeat([]byte("0123456789abcde\n"), 20_000)

func TestBlob(t *testing.T) {
	for name, content := range map[string][]byte{"empty": {}, "small": []byte("x"), "large": large} {
		t.Run(name, func(t *testing.T) {
			c := open(t, t.TempDir())
			_, err := c.Blob(digest(content))
			wantErrorIs(t, err, fs.ErrNotExist)
			_, err = c.Verified(digest(content))
			wantErrorIs(t, err, fs.ErrNotExist)

			blob, _ := put(t, c, content)
			wantContent(t, blob, content)
			wantContent(t, blob, content) // a second reader
			if blob, err = c.Blob(digest(content)); err != nil {
				t.Fatal(err)
			}
			wantContent(t, blob, content)
			if blob, err = c.Verified(digest(content)); err != nil {
				t.Fatal(err)
			}
			wantContent(t, blob, content)
			if err := iotest.TestReader(blob.Open(), content); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{digest(content).Hex}, files(t, c.Dir(), "blobs/sha256")); diff != "" {
				t.Errorf("blobs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string(nil), files(t, c.Dir(), "tmp")); diff != "" {
				t.Errorf("temporary files (-want +got):\n%s", diff)
			}
		})
	}
}

// damages are what can happen to the file of a blob with the content large.
var damages = []struct {
	name string
	do   func(t *testing.T, name string)
	// gone is where nothing is left to be opened.
	gone bool
}{
	{name: "first bit flipped", do: func(t *testing.T, name string) { flip(t, name, 0) }},
	{name: "last bit flipped", do: func(t *testing.T, name string) { flip(t, name, len(large)-1) }},
	{name: "truncated", do: func(t *testing.T, name string) { writeFile(t, name, large[:len(large)-1]) }},
	{name: "grown", do: func(t *testing.T, name string) { writeFile(t, name, append(bytes.Clone(large), 0)) }},
	{name: "empty", do: func(t *testing.T, name string) { writeFile(t, name, nil) }},
	{name: "zeros", do: func(t *testing.T, name string) { writeFile(t, name, make([]byte, len(large))) }},
	{name: "another blob", do: func(t *testing.T, name string) { writeFile(t, name, []byte("another")) }},
	{name: "link to good content", gone: true, do: func(t *testing.T, name string) {
		target := filepath.Join(t.TempDir(), "target")
		writeFile(t, target, large)
		remove(t, name)
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, large) {
				t.Errorf("the target of the link has %d bytes, %v, want it untouched", len(got), err)
			}
		})
	}},
	{name: "directory", gone: true, do: func(t *testing.T, name string) {
		remove(t, name)
		writeFile(t, filepath.Join(name, "x", "y"), large)
	}},
}

func flip(t *testing.T, name string, at int) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= 1
	writeFile(t, name, raw)
}

// wantAgain checks that a damaged blob was dropped, and that the cache takes a
// good one.
func wantAgain(t *testing.T, c *cache.Cache, name string) {
	t.Helper()
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the damaged blob is still there: %v", err)
	}
	put(t, c, large)
	blob, err := c.Verified(digest(large))
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, blob, large)
}

func TestVerifiedDamaged(t *testing.T) {
	for _, tt := range damages {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, t.TempDir())
			_, name := put(t, c, large)
			tt.do(t, name)
			_, err := c.Verified(digest(large))
			wantErrorIs(t, err, fs.ErrNotExist)
			if !tt.gone {
				wantErrorIs(t, err, cache.ErrCorrupt)
			}
			wantAgain(t, c, name)
		})
	}
}

// A reader never gets as far as the end of a damaged blob, not even one that
// asks for a number of bytes and does not look for more.
func TestReadDamaged(t *testing.T) {
	readers := map[string]func(r io.Reader, size int64) (int64, error){
		"all": func(r io.Reader, _ int64) (int64, error) { return io.Copy(io.Discard, r) },
		"exactly": func(r io.Reader, size int64) (int64, error) {
			n, err := io.ReadFull(r, make([]byte, size))
			return int64(n), err
		},
		"limited":       func(r io.Reader, size int64) (int64, error) { return io.CopyN(io.Discard, r, size) },
		"byte for byte": func(r io.Reader, _ int64) (int64, error) { return io.Copy(io.Discard, iotest.OneByteReader(r)) },
	}
	for _, tt := range damages {
		for how, read := range readers {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				c := open(t, t.TempDir())
				_, name := put(t, c, large)
				tt.do(t, name)
				blob, err := c.Blob(digest(large))
				if tt.gone {
					wantErrorIs(t, err, fs.ErrNotExist)
					wantAgain(t, c, name)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				r := blob.Open()
				n, err := read(r, max(blob.Size, 1))
				wantErrorIs(t, err, cache.ErrCorrupt)
				if n > 0 && n >= blob.Size {
					t.Errorf("%d bytes of %d were given out", n, blob.Size)
				}
				if _, err := r.Read(make([]byte, 1)); !errors.Is(err, cache.ErrCorrupt) {
					t.Errorf("got %v from the next read, want the same error", err)
				}
				wantAgain(t, c, name)
			})
		}
	}
}

// Damage that comes after the blob was opened is noticed, too.
func TestDamagedWhileOpen(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, name string)
	}{
		{"flipped", func(t *testing.T, name string) { flip(t, name, len(large)-1) }},
		{"truncated", func(t *testing.T, name string) {
			if err := os.Truncate(name, int64(len(large)/2)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, t.TempDir())
			_, name := put(t, c, large)
			blob, err := c.Verified(digest(large))
			if err != nil {
				t.Fatal(err)
			}
			r := blob.Open()
			if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			tt.do(t, name)
			_, err = io.Copy(io.Discard, r)
			wantErrorIs(t, err, cache.ErrCorrupt)
			wantAgain(t, c, name)
		})
	}
}

// What reads a damaged blob does not drop the good one that came after it.
func TestDropSparesReplacement(t *testing.T) {
	c := open(t, t.TempDir())
	_, name := put(t, c, large)
	flip(t, name, 0)
	damaged, err := c.Blob(digest(large))
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, large)
	_, err = io.Copy(io.Discard, damaged.Open())
	wantErrorIs(t, err, cache.ErrCorrupt)
	if _, err := c.Verified(digest(large)); err != nil {
		t.Error(err)
	}
}

// A digest that nobody has parsed may be a path; nothing there is touched.
func TestMalformedDigest(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "cache"))
	victim := filepath.Join(filepath.Dir(c.Dir()), "victim")
	writeFile(t, filepath.Join(victim, "x"), nil)
	up := "../../../victim"
	path := strings.Repeat("./", (64-len(up))/2) + "/" + up
	good := digest(nil).Hex
	for name, h := range map[string]v1.Hash{
		"zero":              {},
		"path":              {Algorithm: "sha256", Hex: path},
		"short":             {Algorithm: "sha256", Hex: good[1:]},
		"upper case":        {Algorithm: "sha256", Hex: strings.ToUpper(good)},
		"another algorithm": {Algorithm: "sha512", Hex: strings.Repeat("0", 128)},
		"no algorithm":      {Hex: good},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Blob(h)
			wantErrorIs(t, err, fs.ErrNotExist)
			_, err = c.Put(h, strings.NewReader(""))
			wantErrorIs(t, err, cache.ErrCorrupt)
		})
	}
	if _, err := os.Stat(filepath.Join(victim, "x")); err != nil {
		t.Error(err)
	}
	if len(path) != 64 {
		t.Errorf("the path has %d characters, want those of a digest", len(path))
	}
}

func TestPutErrors(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name string
		r    io.Reader
		want error
	}{
		{"other content", strings.NewReader("other"), cache.ErrCorrupt},
		{"less", bytes.NewReader(large[1:]), cache.ErrCorrupt},
		{"nothing", strings.NewReader(""), cache.ErrCorrupt},
		{"error", io.MultiReader(bytes.NewReader(large), iotest.ErrReader(broken)), broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, t.TempDir())
			_, err := c.Put(digest(large), tt.r)
			wantErrorIs(t, err, tt.want)
			if got := append(files(t, c.Dir(), "blobs"), files(t, c.Dir(), "tmp")...); len(got) > 0 {
				t.Errorf("the cache keeps %q", got)
			}
		})
	}
}

func TestWriter(t *testing.T) {
	c := open(t, t.TempDir())
	w, err := c.Create()
	if err != nil {
		t.Fatal(err)
	}
	for chunk := range bytes.Lines(large) {
		if n, err := w.Write(chunk); n != len(chunk) || err != nil {
			t.Fatal(n, err)
		}
	}
	blob, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	w.Discard()
	wantContent(t, blob, large)
	if _, err := c.Verified(digest(large)); err != nil {
		t.Error(err)
	}
	if _, err := w.Commit(); err == nil {
		t.Error("a second Commit works")
	}

	if w, err = c.Create(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	w.Discard()
	w.Discard()
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("Write works after Discard")
	}
	if _, err := w.Commit(); err == nil {
		t.Error("Commit works after Discard")
	}
	if diff := cmp.Diff([]string{digest(large).Hex}, files(t, c.Dir(), "blobs/sha256")); diff != "" {
		t.Errorf("blobs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string(nil), files(t, c.Dir(), "tmp")); diff != "" {
		t.Errorf("temporary files (-want +got):\n%s", diff)
	}
}

// A cache that is deleted in the middle of a build costs that build nothing.
func TestDeletedWhileWriting(t *testing.T) {
	for _, part := range []string{".", "blobs", "tmp"} {
		t.Run(part, func(t *testing.T) {
			c := open(t, t.TempDir())
			w, err := c.Create()
			if err != nil {
				t.Fatal(err)
			}
			remove(t, filepath.Join(c.Dir(), part))
			if _, err := w.Write(large); err != nil {
				t.Fatal(err)
			}
			blob, err := w.Commit()
			if err != nil {
				t.Fatal(err)
			}
			wantContent(t, blob, large)
			put(t, c, large)
			if _, err := c.Verified(digest(large)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDeletedWhileReading(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "cache"))
	written, _ := put(t, c, large)
	found, err := c.Verified(digest(large))
	if err != nil {
		t.Fatal(err)
	}
	remove(t, c.Dir())
	wantContent(t, written, large)
	wantContent(t, found, large)
}

// What is in the place of a blob by mistake is replaced.
func TestCommitOverDirectory(t *testing.T) {
	c := open(t, t.TempDir())
	_, name := put(t, c, large)
	remove(t, name)
	writeFile(t, filepath.Join(name, "x"), nil)
	put(t, c, large)
	if _, err := c.Verified(digest(large)); err != nil {
		t.Error(err)
	}
}

func TestManyWriters(t *testing.T) {
	c := open(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			if _, err := c.Put(digest(large), iotest.HalfReader(bytes.NewReader(large))); err != nil {
				t.Error(err)
			}
			blob, err := c.Verified(digest(large))
			if err != nil {
				t.Error(err)
				return
			}
			wantContent(t, blob, large)
			if err := c.SetRecord("kind", "key", i); err != nil {
				t.Error(err)
			}
			var got int
			if !c.Record("kind", "key", &got) {
				t.Error("there is no record")
			}
		})
	}
	wg.Wait()
	got := fmt.Sprint(len(files(t, c.Dir(), "blobs")), len(files(t, c.Dir(), "records")), len(files(t, c.Dir(), "tmp")))
	if got != "1 1 0" {
		t.Errorf("blobs, records and temporary files: %s, want 1 1 0", got)
	}
}
