package rootfs_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/rootfs"
)

// Whatever is covered, and whatever is done meanwhile, the stage is afterwards
// what it was.
func TestCover(t *testing.T) {
	below := append([]string{"-rw-r--r-- 0:0 /app/lower lower", "-rw-r--r-- 0:0 /app/gone gone"}, etc...)
	tests := []struct{ name, path string }{
		{"directory of both", "/app"}, {"file of the upper", "/app/upper"}, {"file of the lower", "/app/lower"}, {"directory of the lower", "/srv/data"},
		{"nothing", "/new"}, {"nothing, deep", "/x/y/z"}, {"what was deleted", "/app/gone"}, {"through a link", "/var/run"}, {"below the lower", "/srv/data/a/b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := newFS(t, lower(below...))
			must(t, f.WriteFile("/app/upper", []byte("upper"), 0o600, app))
			must(t, f.Remove("/app/gone"))
			before := list(t, f)
			since, err := f.Snapshot()
			must(t, err)
			at, uncover, err := f.Cover(tt.path)
			must(t, err)
			if _, err := f.Stat(tt.path); err == nil {
				t.Error("something is still there")
			}
			must(t, f.Mkdir(at, 0o755, rootfs.Root))
			must(t, f.WriteFile(tt.path+"/mounted", []byte("m"), 0o644, rootfs.Root))
			host, err := f.HostDir(tt.path)
			must(t, err)
			must(t, os.WriteFile(host+"/program", nil, 0o644))
			if entries := list(t, f); len(entries) < 3 {
				t.Errorf("there is only %v", entries)
			}
			must(t, uncover())
			if diff := cmp.Diff(before, list(t, f)); diff != "" {
				t.Errorf("after (-before +after):\n%s", diff)
			}
			for c, err := range f.Changes(since) {
				must(t, err)
				if !c.IsDir() {
					t.Errorf("changed: %v", c)
				}
			}
		})
	}
	f, _ := newFS(t, nil)
	_, _, err := f.Cover("/")
	wantError(t, err, "cover /: device or resource busy")
	_, _, err = f.Cover("/a/.wh.b")
	wantError(t, err, "names that start with .wh.")
	at, uncover, err := f.Cover("/a/b")
	must(t, err)
	if at != "/a/b" {
		t.Errorf("covers %s", at)
	}
	must(t, uncover())
	wantList(t, f)
}
