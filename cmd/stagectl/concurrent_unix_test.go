//go:build unix

package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"
)

// Fifty processes at once, on a cache that does not exist yet and of which
// somebody removes what is not in use, all make the same image.
func TestConcurrentBuilds(t *testing.T) {
	const processes = 50
	dir := t.TempDir()
	for _, sub := range []string{"src/server", "out"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	writeFiles(t, dir, map[string]string{
		"src/go.mod":         "module example.com/m\n\ngo 1.21\n",
		"src/server/main.go": "package main\n\nfunc main() { println(1) }\n",
	})
	run := func(args ...string) error {
		cmd := exec.CommandContext(t.Context(), "stagectl", append(args, "--cache-dir", filepath.Join(dir, "cache"))...)
		cmd.Dir = filepath.Join(dir, "src")
		cmd.Env = append(os.Environ(), "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	build := func(i int) error {
		return run("build", "-q", "-o", filepath.Join(dir, "out", fmt.Sprintf("%d.tar", i)), "./server")
	}
	var g errgroup.Group
	for i := range processes {
		g.Go(func() error { return build(i) })
	}
	for _, what := range [][]string{nil, {"--older-than", "0s"}, {"--keep-size", "0"}, {"--older-than", "1h"}} {
		g.Go(func() error { return run(append([]string{"cache", "prune"}, what...)...) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	digests := map[[sha256.Size]byte]int{}
	for i := range processes {
		raw, err := os.ReadFile(filepath.Join(dir, "out", fmt.Sprintf("%d.tar", i)))
		if err != nil {
			t.Fatal(err)
		}
		digests[sha256.Sum256(raw)]++
	}
	if len(digests) != 1 {
		t.Errorf("%d different archives were made", len(digests))
	}
	wantFiles(t, filepath.Join(dir, "cache", "tmp"))
}
