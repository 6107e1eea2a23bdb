package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/cache"
)

// workerDir, where it is in the environment, makes the test binary one of the
// processes that share a cache.
const workerDir = "CACHE_TEST_WORKER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(workerDir); dir != "" {
		if err := work(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// contents of the blobs that every worker writes and reads.
func contents() [][]byte {
	all := make([][]byte, 4)
	for i := range all {
		all[i] = bytes.Repeat([]byte{byte('a' + i)}, 100_000*i)
	}
	return all
}

// work is what a build does, and now and then a prune, against others that do
// the same.
func work(dir string) error {
	c, err := cache.Open(dir)
	if err != nil {
		return err
	}
	for range 5 {
		for i, content := range contents() {
			if err := workOn(c, fmt.Sprint("key ", i), content); err != nil {
				return err
			}
		}
		if _, err := c.Prune(context.Background(), cache.Policy{KeepBytes: 150_000}); err != nil {
			return err
		}
		if _, err := c.Usage(); err != nil {
			return err
		}
	}
	return nil
}

// workOn writes and reads in two pins, so that the blob may be gone between.
func workOn(c *cache.Cache, key string, content []byte) error {
	release, err := c.Pin(context.Background())
	if err != nil {
		return err
	}
	w, err := c.Create()
	if err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	blob, err := w.Commit()
	if err != nil {
		return err
	}
	if err := c.SetRecord("kind", key, blob.Digest.String()); err != nil {
		return err
	}
	var digest string
	if !c.Record("kind", key, &digest) || digest != blob.Digest.String() {
		return fmt.Errorf("record %s is %q", key, digest)
	}
	if _, err := c.Verified(blob.Digest); err != nil {
		return err
	}
	release()
	if release, err = c.Pin(context.Background()); err != nil {
		return err
	}
	defer release()
	if _, err := c.Put(blob.Digest, bytes.NewReader(content)); err != nil {
		return err
	}
	got, err := io.ReadAll(blob.Open())
	if err != nil {
		return err
	}
	if !bytes.Equal(got, content) {
		return fmt.Errorf("blob %s has other content", blob.Digest)
	}
	return nil
}

// Several processes write the same blobs, and prune, at the same time.
func TestProcesses(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	workers := make([]*exec.Cmd, 6)
	outputs := make([]bytes.Buffer, len(workers))
	for i := range workers {
		workers[i] = exec.CommandContext(t.Context(), exe)
		workers[i].Env = append(os.Environ(), workerDir+"="+dir)
		workers[i].Stderr = &outputs[i]
		if err := workers[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, w := range workers {
		if err := w.Wait(); err != nil {
			t.Errorf("worker %d: %v\n%s", i, err, &outputs[i])
		}
	}
	c := open(t, dir)
	for _, content := range contents() {
		if _, err := c.Put(digest(content), bytes.NewReader(content)); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string(nil), files(t, dir, "tmp")); diff != "" {
		t.Errorf("temporary files (-want +got):\n%s", diff)
	}
}
