package rootfs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/patternmatcher"

	"github.com/stagectl/stagectl/builder/rootfs"
)

func hostDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"Dockerfile": "FROM scratch", "main.go": "package main", ".git/config": "[core]", "docs/a.md": "a", "docs/keep/b.md": "b", "docs/c/d.md": "d",
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o640))
	}
	must(t, os.Symlink("main.go", dir+"/link"))
	must(t, os.Symlink("../../etc", dir+"/out"))
	must(t, os.Link(dir+"/main.go", dir+"/same.go"))
	must(t, os.Chmod(dir+"/docs", fs.ModeSticky|0o700))
	return dir
}

func TestHostTree(t *testing.T) {
	tests := []struct {
		name   string
		ignore []string
		want   []string
	}{
		{"all", nil, []string{
			"drwxr-xr-x 0:0 /.git", "-rw-r----- 0:0 /.git/config [core]", "-rw-r----- 0:0 /Dockerfile FROM scratch",
			"drwx-----T 0:0 /docs", "-rw-r----- 0:0 /docs/a.md a", "drwxr-xr-x 0:0 /docs/c", "-rw-r----- 0:0 /docs/c/d.md d",
			"drwxr-xr-x 0:0 /docs/keep", "-rw-r----- 0:0 /docs/keep/b.md b", "lrwxrwxrwx 0:0 /link -> main.go",
			"-rw-r----- 0:0 /main.go package main", "lrwxrwxrwx 0:0 /out -> ../../etc", "-rw-r----- 0:0 /same.go package main",
		}},
		{"ignored", []string{".git", "**/*.md", "out"}, []string{
			"-rw-r----- 0:0 /Dockerfile FROM scratch", "drwx-----T 0:0 /docs", "drwxr-xr-x 0:0 /docs/c", "drwxr-xr-x 0:0 /docs/keep",
			"lrwxrwxrwx 0:0 /link -> main.go", "-rw-r----- 0:0 /main.go package main", "-rw-r----- 0:0 /same.go package main",
		}},
		{"taken back", []string{"*", "!docs/keep", "!main.go"}, []string{
			"drwx-----T 0:0 /docs", "drwxr-xr-x 0:0 /docs/keep", "-rw-r----- 0:0 /docs/keep/b.md b", "-rw-r----- 0:0 /main.go package main",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ignore *patternmatcher.PatternMatcher
			if tt.ignore != nil {
				var err error
				ignore, err = patternmatcher.New(tt.ignore)
				must(t, err)
			}
			tree, err := rootfs.NewHostTree(hostDir(t), ignore)
			must(t, err)
			defer tree.Close()
			if diff := cmp.Diff(tt.want, list(t, tree)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHostTreeIsContained(t *testing.T) {
	dir := hostDir(t)
	must(t, os.WriteFile(filepath.Join(filepath.Dir(dir), "etc"), []byte("secret"), 0o600))
	ignore, err := patternmatcher.New([]string{"main.go"})
	must(t, err)
	tree, err := rootfs.NewHostTree(dir, ignore)
	must(t, err)
	defer tree.Close()
	if p, info, err := rootfs.Resolve(tree, "/out"); err != nil || info != nil || p != "/etc" {
		t.Errorf("the link leads to %s, %v, %v", p, info, err)
	}
	if _, err := tree.Open("/out"); err == nil {
		t.Error("the link is followed out of the directory")
	}
	if _, info, err := rootfs.Resolve(tree, "/link"); err != nil || info != nil {
		t.Errorf("what is ignored is reached through a link: %v, %v", info, err)
	}
	a, err := tree.Lstat("/same.go")
	must(t, err)
	if a.Inode == 0 {
		t.Error("a file of two names counts as one")
	}
	if b, err := tree.Lstat("/Dockerfile"); err != nil || b.Inode != 0 {
		t.Errorf("got %v, %v", b, err)
	}
}
