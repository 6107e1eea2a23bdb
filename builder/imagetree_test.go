package builder

import (
	"errors"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/image/hostile"
	"github.com/stagectl/stagectl/builder/limit"
)

// What the layers of an image unpack to is kept on disk, and so is limited for
// all of them together, but for what the builder made itself.
func TestUnpackedTogether(t *testing.T) {
	for _, own := range []bool{false, true} {
		c, err := cache.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		var layers []v1.Layer
		for _, name := range []string{"a", "b"} {
			layers = append(layers, static.NewLayer([]byte(hostile.Tar(hostile.File(name, name))), types.OCIUncompressedLayer))
		}
		s := &session{Builder: Builder{Cache: c}}
		tree := s.imageTree("IMAGE", layers, t.TempDir())
		tree.own = own
		if _, err := tree.tree(); err != nil {
			t.Fatal(err)
		}
		// A tar of one small file has 2048 bytes.
		if err := tree.most.Take(limit.Free - 4000); err != nil {
			t.Fatal(err)
		}
		if got, err := readAt(tree, "/a"); got != "a" || err != nil {
			t.Errorf("/a is %q, %v", got, err)
		}
		got, err := readAt(tree, "/b")
		if own && (got != "b" || err != nil) {
			t.Errorf("/b of the builder's own layers is %q, %v", got, err)
		}
		if want := "reading the files of IMAGE: reading layer 2: it unpacks to more than 1073741824 bytes"; !own && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("/b: got %q, %v, want error %s", got, err, want)
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}
}

func readAt(t *imageTree, p string) (string, error) {
	rc, err := t.Open(p)
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(rc)
	return string(raw), errors.Join(err, rc.Close())
}
