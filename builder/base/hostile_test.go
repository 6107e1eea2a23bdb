package base_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/image/hostile"
)

// hostileImage is an image in a registry: hostile.Base, and a layer on it.
func hostileImage(t *testing.T, s *server, blob, plain string) *base.Image {
	t.Helper()
	layers := []v1.Descriptor{s.blob(t, types.OCIUncompressedLayer, hostile.Base()), s.blob(t, types.OCILayer, blob)}
	diffIDs := []v1.Hash{describe(t, "", hostile.Base()).Digest, describe(t, "", plain).Digest}
	desc := s.put(t, "x", "", types.OCIManifestSchema1, s.manifestOf(t, oci, amd64, layers, diffIDs))
	return resolve(t, newResolver(t), s.host+"/x@"+desc.Digest.String(), amd64)
}

// TestHostileLayers reads layers out of a registry as out of any other place.
func TestHostileLayers(t *testing.T) {
	s := newServer(t)
	for _, tt := range hostile.Layers(t.TempDir()) {
		t.Run(tt.Name, func(t *testing.T) {
			tree, err := image.ReadTree(hostileImage(t, s, gzipped(t, tt.Tar), tt.Tar))
			if tt.Refused != "" {
				if err == nil || !strings.HasPrefix(err.Error(), "reading layer 2, sha256:") || !strings.Contains(err.Error(), tt.Refused) {
					t.Errorf("got error %v, want one with %q", err, tt.Refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			tree.Walk(func(e image.Entry) { got = append(got, e.String()) })
			if diff := cmp.Diff(tt.Files, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHostileBombs(t *testing.T) {
	s := newServer(t)
	for _, tt := range hostile.Bombs() {
		t.Run(tt.Name, func(t *testing.T) {
			_, err := image.ReadTree(hostileImage(t, s, tt.Blob, "whatever"))
			if err == nil || !strings.HasPrefix(err.Error(), "reading layer 2, sha256:") || !strings.Contains(err.Error(), tt.Refused) {
				t.Errorf("got error %v, want one with %q", err, tt.Refused)
			}
		})
	}
}
