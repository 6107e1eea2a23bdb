package rootfs_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
)

func lower(lines ...string) *rootfstest.Tree { return rootfstest.NewTree(lines...) }

// newFS makes a stage over lower, which may be nil, in a directory of its own
// beside a file that nothing may touch.
func newFS(t *testing.T, lower rootfs.Tree) (*rootfs.FS, string) {
	t.Helper()
	outside := t.TempDir()
	upper := outside + "/upper"
	must(t, os.Mkdir(upper, 0o755))
	must(t, os.WriteFile(outside+"/secret", []byte("secret"), 0o600))
	f, err := rootfs.New(lower, upper)
	must(t, err)
	t.Cleanup(func() {
		f.Close()
		entries, err := os.ReadDir(outside)
		must(t, err)
		content, err := os.ReadFile(outside + "/secret")
		must(t, err)
		if len(entries) != 2 || string(content) != "secret" {
			t.Errorf("what is beside the stage's directory changed: %v, %q", entries, content)
		}
	})
	return f, upper
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, tree rootfs.Tree) []string {
	t.Helper()
	lines, err := rootfstest.List(tree)
	must(t, err)
	return lines
}

func wantList(t *testing.T, f *rootfs.FS, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, list(t, f)); diff != "" {
		t.Errorf("files of the stage (-want +got):\n%s", diff)
	}
}

func wantChanges(t *testing.T, f *rootfs.FS, since *rootfs.Snapshot, want ...string) {
	t.Helper()
	got, err := rootfstest.Changes(f, since)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}
