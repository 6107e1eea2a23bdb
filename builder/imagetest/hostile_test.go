package imagetest_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/image/hostile"
	"github.com/stagectl/stagectl/builder/imagetest"
)

// hostileFS are the files of an image that is read as any other.
func hostileFS(t *testing.T, blob, plain string) (*imagetest.FS, error) {
	t.Helper()
	dir := t.TempDir()
	if err := hostile.WriteLayout(dir, blob, plain); err != nil {
		t.Fatal(err)
	}
	f, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return imagetest.NewFS(f.Images[0].Images[0].Image)
}

func TestHostileLayers(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(outside)
	for _, tt := range hostile.Layers(outside) {
		t.Run(tt.Name, func(t *testing.T) {
			fsys, err := hostileFS(t, tt.Tar, tt.Tar)
			if tt.Refused != "" {
				if err == nil || !strings.HasPrefix(err.Error(), "reading layer 2, sha256:") || !strings.Contains(err.Error(), tt.Refused) {
					t.Errorf("got error %v, want one with %q", err, tt.Refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.Files, fsys.List()); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			for _, name := range []string{"hard", "host/victim", "a", "up/victim", victim[1:], "victim"} {
				if got, err := fsys.ReadFile(name); strings.Contains(string(got), "untouched") {
					t.Errorf("%s is the file of the host: %q, %v", name, got, err)
				}
			}
		})
	}
}

// What a header says of a file with holes is believed within limits.
func TestHostileHoles(t *testing.T) {
	const size = 100_000
	tests := map[string]struct {
		size int
		want string
	}{
		"small": {size, ""},
		"large": {1<<33 - 1, "it unpacks to more than 1073741824 bytes, which is the limit for its size"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			layer := hostile.Sparse("holes", "data", tt.size)
			fsys, err := hostileFS(t, layer, layer)
			if err != nil {
				t.Fatal(err)
			}
			f, err := fsys.Open("holes")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			n, err := io.Copy(io.Discard, f)
			switch {
			case tt.want == "" && (err != nil || n != size):
				t.Errorf("read %d bytes, %v", n, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || n > 1<<30):
				t.Errorf("read %d bytes, %v", n, err)
			}
		})
	}
}

func TestHostileBombs(t *testing.T) {
	for _, tt := range hostile.Bombs() {
		t.Run(tt.Name, func(t *testing.T) {
			t.Parallel()
			if _, err := hostileFS(t, tt.Blob, "whatever"); err == nil || !strings.Contains(err.Error(), tt.Refused) {
				t.Errorf("got error %v, want one with %q", err, tt.Refused)
			}
		})
	}
}
