package cache_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/cache"
)

func open(t testing.TB, dir string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func digest(content []byte) v1.Hash {
	sum := sha256.Sum256(content)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// put writes a blob and returns it with its path.
func put(t *testing.T, c *cache.Cache, content []byte) (blob *cache.Blob, name string) {
	t.Helper()
	blob, err := c.Put(digest(content), bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return blob, filepath.Join(c.Dir(), "blobs", "sha256", digest(content).Hex)
}

func wantContent(t *testing.T, blob *cache.Blob, want []byte) {
	t.Helper()
	if blob.Size != int64(len(want)) || blob.Digest != digest(want) {
		t.Errorf("blob is %s of %d bytes, want %s of %d", blob.Digest, blob.Size, digest(want), len(want))
	}
	rc := blob.Open()
	got, err := io.ReadAll(rc)
	if err := errors.Join(err, rc.Close()); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes were read, not the %d of the blob", len(got), len(want))
	}
}

func wantErrorIs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want one that is %q", err, want)
	}
}

// files lists what is in a part of the cache that is not a directory.
func files(t testing.TB, dir, part string) []string {
	t.Helper()
	var names []string
	top := filepath.Join(dir, part)
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, err = filepath.Rel(top, name)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func writeFile(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}
