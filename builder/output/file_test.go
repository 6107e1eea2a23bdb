package output_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/output"
)

func TestWriteFile(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T, dir string)
		// write is the path, and want where the content is found afterwards.
		write, want string
		tree        []string
	}{
		{"new", nil, "f", "f", []string{"f"}},
		{"replaced", func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "f"), "old content") }, "f", "f", []string{"f"}},
		{"link to a file", func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "f"), "old")
			link(t, "f", dir, "link")
		}, "link", "f", []string{"f", "link"}},
		{"chain of links", func(t *testing.T, dir string) {
			mkdir(t, dir, "sub")
			link(t, "../last", dir, "sub/first")
			link(t, filepath.Join(dir, "sub", "f"), dir, "last")
			writeFile(t, filepath.Join(dir, "sub", "f"), "old")
		}, "sub/first", "sub/f", []string{"last", "sub/", "sub/f", "sub/first"}},
		{"link to nothing", func(t *testing.T, dir string) { link(t, "f", dir, "link") }, "link", "f", []string{"f", "link"}},
		{"chain of links to nothing", func(t *testing.T, dir string) {
			mkdir(t, dir, "sub")
			link(t, "../last", dir, "sub/first")
			link(t, filepath.Join(dir, "sub", "f"), dir, "last")
		}, "sub/first", "sub/f", []string{"last", "sub/", "sub/f", "sub/first"}},
		{"through a link to a directory", func(t *testing.T, dir string) {
			mkdir(t, dir, "a")
			mkdir(t, dir, "a/b")
			link(t, "a/b", dir, "link")
			link(t, "../f", dir, "a/b/to")
		}, "link/to", "a/f", []string{"a/", "a/b/", "a/b/to", "a/f", "link"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.setup != nil {
				tt.setup(t, dir)
			}
			name := filepath.Join(dir, filepath.FromSlash(tt.write))
			if err := (&output.Archive{Path: name}).Check(); err != nil {
				t.Errorf("check: %v", err)
			}
			if err := output.WriteFile(name, []byte("content")); err != nil {
				t.Fatal(err)
			}
			if got := readFile(t, filepath.Join(dir, filepath.FromSlash(tt.want))); got != "content" {
				t.Errorf("got %q", got)
			}
			if diff := cmp.Diff(tt.tree, tree(t, dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if info, err := os.Lstat(name); err != nil || (info.Mode().Type() == fs.ModeSymlink) != (tt.write != tt.want) {
				t.Errorf("the link is gone: %v, %v", info.Mode(), err)
			}
		})
	}
}

func mkdir(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, filepath.FromSlash(name)), 0o700); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, target, dir, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}

// A place where no file can be written is found before anything is built, and
// when it is written all the same, and nothing happens to it.
func TestFileRefused(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), "old")
	mkdir(t, dir, "dir")
	link(t, "dir", dir, "to-dir")
	link(t, "b", dir, "a")
	link(t, "a", dir, "b")
	link(t, "nowhere/f", dir, "to-missing")
	before := tree(t, dir)
	tests := []struct{ name, path, want string }{
		{"missing directory", "no/f.tar", "writing DIR/no/f.tar: the directory is missing: DIR/no: no such file or directory"},
		{"missing directory above", "no/no/f.tar", "writing DIR/no/no/f.tar: the directory is missing: DIR/no/no: no such file or directory"},
		{"onto a directory", "dir", "writing DIR/dir: is a directory"},
		{"onto a directory with a slash", "dir/", "writing DIR/dir/: is a directory"},
		{"onto a link to a directory", "to-dir", "writing DIR/to-dir: is a directory"},
		{"slash at the end", "new/", "writing DIR/new/: a path that ends in a slash is a directory's"},
		{"file with a slash", "file/", "writing DIR/file/: not a directory"},
		{"below a file", "file/f.tar", "writing DIR/file/f.tar: not a directory"},
		{"link to a missing directory", "to-missing", "writing DIR/to-missing: the directory is missing: DIR/nowhere: no such file or directory"},
		{"links in a circle", "a", "writing DIR/a: too many levels of symbolic links"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name := dir + "/" + tt.path
			want := strings.ReplaceAll(tt.want, "DIR", dir)
			a := &output.Archive{Path: name}
			wantError(t, a.Check(), want)
			_, err := a.Write(t.Context(), single(t))
			wantError(t, err, want)
			wantError(t, output.WriteFile(name, nil), want)
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
	wantError(t, output.WriteFile("", nil), "writing : the path is empty")
}

// A long name leaves no room for one derived from it.
func TestWriteFileLongName(t *testing.T) {
	name := filepath.Join(t.TempDir(), strings.Repeat("x", 255))
	if err := output.WriteFile(name, []byte("content")); err != nil {
		t.Fatal(err)
	}
	err := output.WriteFile(name+"x", nil)
	if want := fmt.Sprintf("writing %sx: ", name); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "stagectl-") {
		t.Errorf("got %v", err)
	}
}

// Many processes write one file; one of them wins.
func TestWriteFileConcurrently(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	errs := make(chan error)
	const n = 20
	for i := range n {
		go func() { errs <- output.WriteFile(name, []byte(strings.Repeat(string(rune('a'+i)), 10_000))) }()
	}
	var all error
	for range n {
		all = errors.Join(all, <-errs)
	}
	if all != nil {
		t.Fatal(all)
	}
	if got := readFile(t, name); len(got) != 10_000 || strings.Trim(got, got[:1]) != "" {
		t.Errorf("got a mixture of %d bytes", len(got))
	}
	if diff := cmp.Diff([]string{"f"}, tree(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
