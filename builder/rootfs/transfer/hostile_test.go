package transfer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagectl/stagectl/builder/image/hostile"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
)

// TestHostileArchives extracts what is hostile as a layer, which an archive may
// be as well. Nothing leaves the destination, be it in the stage or on the host.
func TestHostileArchives(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	must(t, os.WriteFile(victim, []byte("untouched"), 0o600))
	t.Chdir(outside)
	for _, tt := range hostile.Layers(outside) {
		t.Run(tt.Name, func(t *testing.T) {
			upper := filepath.Join(t.TempDir(), "upper")
			must(t, os.Mkdir(upper, 0o755))
			dst, err := rootfs.New(rootfstest.NewTree("-rw-r--r-- 0:0 /victim untouched"), upper)
			must(t, err)
			defer dst.Close()
			_ = add(t, dst, "/opt/", tt.Tar) // TestAddArchive says what is refused
			for c, err := range dst.Changes(nil) {
				must(t, err)
				if c.Path != "/opt" && !strings.HasPrefix(c.Path, "/opt/") {
					t.Errorf("%s is outside of the destination", c.Path)
				}
			}
			if list, err := os.ReadDir(filepath.Dir(upper)); err != nil || len(list) != 1 {
				t.Errorf("beside the stage there are %v, %v", list, err)
			}
			for _, name := range []string{"/opt/hard", "/opt/host/victim", "/opt/a"} {
				if got, err := dst.ReadFile(name); strings.Contains(string(got), "untouched") {
					t.Errorf("%s has what is outside: %q, %v", name, got, err)
				}
			}
		})
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "untouched" {
		t.Errorf("the file outside is %q, %v", got, err)
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
		t.Errorf("outside there are %v, %v", list, err)
	}
}

func TestAddBombs(t *testing.T) {
	const tooMuch = " bytes: it unpacks to more than 1073741824 bytes, which is the limit for its size"
	tests := map[string]struct{ content, want string }{
		"zstd ratio":  {hostile.ZstdBomb(), `"zeros" has 1107296256` + tooMuch},
		"holes":       {hostile.Sparse("a", "data", 1<<33-1), `"a" has 8589934591` + tooMuch},
		"zstd window": {hostile.ZstdWindow(28), "window size exceeded: the limit is 134217728"},
		// The root as a file stands for nothing, and its content is passed over.
		"what is passed over": {strings.Repeat(hostile.Zstd(hostile.Block('0', ".", 64<<20, nil)+strings.Repeat("\x00", 64<<20)), 17), "it unpacks to more than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dst := newStage(t)
			err := add(t, dst, "/new", tt.content)
			if err == nil || !strings.HasPrefix(err.Error(), "extracting /x.tar: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// Of a file with holes, the content is extracted, if it is not too large.
func TestAddHoles(t *testing.T) {
	dst := newStage(t)
	must(t, add(t, dst, "/new/", hostile.Sparse("a", "data", 100_000)))
	got, err := dst.ReadFile("/new/a")
	if want := "data" + strings.Repeat("\x00", 100_000-4); err != nil || string(got) != want {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}
