package base_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/registry"
)

// TestLayersAreLazy also looks at what is asked of an image without its layers.
func TestLayersAreLazy(t *testing.T) {
	s := newServer(t)
	s.image(t, "x", "latest", amd64, "one", "two")
	var seen events
	r := newResolver(t)
	r.Progress = seen.add
	img := resolve(t, r, s.host+"/x", amd64)
	if diff := cmp.Diff([]string{"HEAD manifests", "GET manifests", "GET blobs"}, s.asked()); diff != "" {
		t.Fatalf("before (-want +got):\n%s", diff)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layersOf(t, img) {
		desc, err := partial.Descriptor(l)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m.Layers[i], *desc); diff != "" {
			t.Errorf("layer %d (-want +got):\n%s", i+1, diff)
		}
		diffID, err := l.DiffID()
		if err != nil {
			t.Fatal(err)
		}
		for by, get := range map[v1.Hash]func(v1.Hash) (v1.Layer, error){desc.Digest: img.LayerByDigest, diffID: img.LayerByDiffID} {
			same, err := get(by)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := same.Digest(); err != nil || got != desc.Digest {
				t.Errorf("layer by %s is %s, %v", by, got, err)
			}
		}
	}
	if got := s.asked(); len(got) > 0 {
		t.Errorf("requests %q, want none", got)
	}
	if _, err := read(layersOf(t, img)[1]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"GET blobs"}, s.asked()); diff != "" {
		t.Errorf("after one layer (-want +got):\n%s", diff)
	}
	// One download, told of in bytes; the config is not worth it.
	var last event.Event
	for _, e := range seen.all {
		if e.State == event.Updated {
			last = e
		}
	}
	want := event.Event{
		Phase: event.Pull, Subject: m.Layers[1].Digest.String(), State: event.Updated,
		Current: m.Layers[1].Size, Total: m.Layers[1].Size,
	}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if states := seen.of(event.Pull); states[0] != event.Started || states[len(states)-1] != event.Done {
		t.Errorf("events %v", states)
	}
}

func TestNoSuchLayer(t *testing.T) {
	s := newServer(t)
	s.image(t, "x", "latest", amd64, "one")
	img := resolve(t, newResolver(t), s.host+"/x", amd64)
	other := describe(t, "", "other").Digest
	if l, err := img.LayerByDigest(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, %v", l, err)
	}
	if l, err := img.LayerByDiffID(other); err == nil {
		t.Errorf("got %v", l)
	}
}

// TestLayerIsReadByMany reads one layer of two images at once.
func TestLayerIsReadByMany(t *testing.T) {
	s := newServer(t)
	s.image(t, "x", "a", amd64, "text")
	s.image(t, "x", "b", arm64, "text")
	r := newResolver(t)
	layers := []v1.Layer{
		layersOf(t, resolve(t, r, s.host+"/x:a", amd64))[0],
		layersOf(t, resolve(t, r, s.host+"/x:b", arm64))[0],
	}
	s.asked()
	// None is answered before all have asked what they will ask.
	waiting := make(chan struct{})
	s.spoiled(func(http.ResponseWriter, *http.Request) bool { <-waiting; return false })
	want := gzipped(t, layerOf(t, "text"))
	var g errgroup.Group
	for i := range 16 {
		g.Go(func() error {
			if i == 15 {
				close(waiting)
			}
			got, err := read(layers[i%2])
			if err == nil && got != want {
				err = fmt.Errorf("reader %d got %d bytes of %d", i, len(got), len(want))
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"GET blobs"}, s.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestWaitingReader has one whose context ends while another one downloads, and
// one that has to go on when that other's context ends.
func TestWaitingReader(t *testing.T) {
	s := newServer(t)
	s.image(t, "x", "latest", amd64, "text")
	r := newResolver(t)
	layer := func(ctx context.Context) v1.Layer {
		t.Helper()
		img, err := r.Image(ctx, s.host+"/x", amd64)
		if err != nil {
			t.Fatal(err)
		}
		return layersOf(t, img)[0]
	}
	first, cancelFirst := context.WithCancel(t.Context())
	second, cancelSecond := context.WithCancelCause(t.Context())
	a, b, c := layer(first), layer(second), layer(t.Context())
	asked := make(chan struct{}, 16)
	s.spoiled(func(_ http.ResponseWriter, req *http.Request) bool {
		asked <- struct{}{}
		<-req.Context().Done()
		return true
	})
	var g errgroup.Group
	g.Go(func() error {
		if _, err := read(a); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("the first got %w", err)
		}
		return nil
	})
	<-asked
	cause := errors.New("enough")
	cancelSecond(cause)
	if _, err := read(b); !errors.Is(err, cause) {
		t.Errorf("the second got %v, want %v", err, cause)
	}
	g.Go(func() error {
		_, err := read(c)
		return err
	})
	s.spoiled(nil)
	cancelFirst()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// TestWrongLayers has a registry that serves something else than it lists.
func TestWrongLayers(t *testing.T) {
	tests := map[string]struct {
		size  int64 // as listed, the right one where 0
		serve func(right string) string
		want  string
	}{
		"other bytes":    {serve: func(right string) string { return strings.Repeat("x", len(right)) }, want: "error verifying sha256 checksum"},
		"fewer bytes":    {serve: func(right string) string { return right[:len(right)-1] }, want: "error verifying"},
		"more bytes":     {serve: func(right string) string { return right + "x" }, want: "it has more bytes than it is listed with"},
		"listed as less": {size: 7, serve: func(right string) string { return right }, want: "it has more bytes than it is listed with"},
		"listed as more": {size: 1 << 20, serve: func(right string) string { return right }, want: "bytes, not the 1048576 it is listed with"},
		"nothing":        {serve: func(string) string { return "" }, want: "error verifying sha256 checksum"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			plain := layerOf(t, "text")
			layer := s.blob(t, types.OCILayer, gzipped(t, plain))
			if tt.size != 0 {
				layer.Size = tt.size
			}
			raw := s.manifestOf(t, oci, amd64, []v1.Descriptor{layer}, []v1.Hash{describe(t, "", plain).Digest})
			s.put(t, "x", "latest", types.OCIManifestSchema1, raw)
			s.spoiled(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, layer.Digest.String()) {
					return false
				}
				_, _ = w.Write([]byte(tt.serve(gzipped(t, plain))))
				return true
			})
			r := newResolver(t)
			img := resolve(t, r, s.host+"/x", amd64)
			for range 2 { // nothing that is wrong is kept
				_, err := read(layersOf(t, img)[0])
				if err == nil || !strings.HasPrefix(err.Error(), "reading a layer of base "+s.host+"/x: ") || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got  %v\nwant %s", err, tt.want)
				}
			}
			if tt.size != 0 {
				return
			}
			if b, err := r.Cache.Blob(layer.Digest); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the cache has %v, %v", b, err)
			}
			s.spoiled(nil)
			if got, err := read(layersOf(t, img)[0]); err != nil || got != gzipped(t, plain) {
				t.Errorf("the layer is wrong: %v", err)
			}
		})
	}
}

// TestMissingLayer is about what a build says that finds out late.
func TestMissingLayer(t *testing.T) {
	s := newServer(t)
	absent := describe(t, types.OCILayer, "absent")
	s.put(t, "x", "latest", types.OCIManifestSchema1, s.manifestOf(t, oci, amd64, []v1.Descriptor{absent}, []v1.Hash{absent.Digest}))
	_, err := read(layersOf(t, resolve(t, newResolver(t), s.host+"/x", amd64))[0])
	want := "reading a layer of base " + s.host + "/x: " + s.host + "/x@" + absent.Digest.String() + ": 404 Not Found, BLOB_UNKNOWN: Unknown blob"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestMediaTypes keeps what a base has, byte for byte.
func TestMediaTypes(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		kind     kind
		layer    types.MediaType
		compress func(string) string
	}{
		"oci":                 {oci, types.OCILayer, func(s string) string { return gzipped(t, s) }},
		"oci, zstd":           {oci, types.OCILayerZStd, func(s string) string { return string(w.EncodeAll([]byte(s), nil)) }},
		"oci, uncompressed":   {oci, types.OCIUncompressedLayer, func(s string) string { return s }},
		"docker":              {docker, types.DockerLayer, func(s string) string { return gzipped(t, s) }},
		"docker, unlike type": {docker, types.DockerLayer, func(s string) string { return s }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			plain := layerOf(t, "text")
			content := tt.compress(plain)
			layer := s.blob(t, tt.layer, content)
			layer.Annotations = map[string]string{"a": "b"}
			desc := s.put(t, "x", "latest", tt.kind.manifest,
				s.manifestOf(t, tt.kind, amd64, []v1.Descriptor{layer}, []v1.Hash{describe(t, "", plain).Digest}))
			img := resolve(t, newResolver(t), s.host+"/x", amd64)
			if err := validate.Image(img, validate.Fast); err != nil { // which reads gzip only
				t.Error(err)
			}
			if mt, err := img.MediaType(); err != nil || mt != tt.kind.manifest || digestOf(t, img) != desc.Digest {
				t.Errorf("got %s, %s, %v", mt, digestOf(t, img), err)
			}
			l := layersOf(t, img)[0]
			if got, err := partial.Descriptor(l); err != nil || !cmp.Equal(*got, layer) {
				t.Errorf("(-want +got):\n%s%v", cmp.Diff(layer, *got), err)
			}
			if got, err := read(l); err != nil || got != content {
				t.Errorf("the content is not as it was: %v", err)
			}
			if got := textOf(t, l); got != "text" {
				t.Errorf("got %q uncompressed", got)
			}
		})
	}
}

// TestManifestWithoutType is one that leaves out what OCI lets it leave out.
func TestManifestWithoutType(t *testing.T) {
	s := newServer(t)
	raw := strings.Replace(s.manifestOf(t, oci, amd64, nil, []v1.Hash{}), `"mediaType":"`+string(types.OCIManifestSchema1)+`",`, "", 1)
	raw = strings.Replace(raw, `"layers":null`, `"layers":[]`, 1)
	desc := s.put(t, "x", "", types.OCIManifestSchema1, raw)
	s.put(t, "x", "latest", types.OCIImageIndex, `{"schemaVersion":2,"manifests":[`+asJSON(t, on(desc, amd64))+`]}`)
	img := resolve(t, newResolver(t), s.host+"/x", amd64)
	if mt, err := img.MediaType(); err != nil || mt != types.OCIManifestSchema1 || digestOf(t, img) != desc.Digest {
		t.Errorf("got %s, %s, %v", mt, digestOf(t, img), err)
	}
}

// TestForeignLayer has a layer that is at a URL, and not in the registry.
func TestForeignLayer(t *testing.T) {
	s := newServer(t)
	plain := layerOf(t, "text")
	content := gzipped(t, plain)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(content)) }))
	defer elsewhere.Close()
	layer := describe(t, types.DockerForeignLayer, content)
	// By its name: private addresses are refused.
	layer.URLs = []string{strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1) + "/layer"}
	s.put(t, "x", "latest", types.DockerManifestSchema2,
		s.manifestOf(t, docker, amd64, []v1.Descriptor{layer}, []v1.Hash{describe(t, "", plain).Digest}))
	r := newResolver(t)
	l := layersOf(t, resolve(t, r, s.host+"/x", amd64))[0]
	if got, err := partial.Descriptor(l); err != nil || !cmp.Equal(*got, layer) {
		t.Errorf("(-want +got):\n%s%v", cmp.Diff(layer, *got), err)
	}
	if got, err := read(l); err != nil || got != content {
		t.Errorf("the layer is wrong: %v", err)
	}
	offline := with(r.Cache, &registry.Client{Offline: true})
	if _, err := read(layersOf(t, resolve(t, offline, s.host+"/x", amd64))[0]); err != nil {
		t.Error(err)
	}
}

// TestMountableLayers is what lets a push mount layers instead of uploading them.
func TestMountableLayers(t *testing.T) {
	mirror, origin := newServer(t), newServer(t)
	desc := mirror.image(t, "cache/x", "latest", amd64, "text")
	origin.image(t, "x", "latest", amd64, "text")
	tests := map[string]struct {
		mirrors []registry.Mirror
		want    string
	}{
		"the origin": {nil, origin.host + "/x@" + desc.Digest.String()},
		"a mirror":   {[]registry.Mirror{{Host: origin.host, Prefix: mirror.host + "/cache"}}, mirror.host + "/cache/x@" + desc.Digest.String()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := with(newResolver(t).Cache, &registry.Client{Mirrors: tt.mirrors})
			img := resolve(t, r, origin.host+"/x", amd64)
			layers := layersOf(t, img)
			for _, get := range []func(v1.Hash) (v1.Layer, error){img.LayerByDigest, img.LayerByDiffID} {
				for _, id := range []func() (v1.Hash, error){layers[0].Digest, layers[0].DiffID} {
					h, err := id()
					if err != nil {
						t.Fatal(err)
					}
					if l, err := get(h); err == nil {
						layers = append(layers, l)
					}
				}
			}
			if len(layers) != 3 {
				t.Errorf("%d layers, want 3", len(layers))
			}
			for _, l := range layers {
				if ml, ok := l.(*remote.MountableLayer); !ok || ml.Reference.Name() != tt.want {
					t.Errorf("got %#v, want one of %s", l, tt.want)
				}
			}
		})
	}
}
