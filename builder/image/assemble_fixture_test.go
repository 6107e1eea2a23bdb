package image_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/layer"
)

const (
	dockerZstd = types.MediaType("application/vnd.docker.image.rootfs.diff.tar.zstd")
	foreignURL = "https://example.com/foreign.tar.gz"
)

var epoch = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

// baseLayer is a layer of a base in the making.
type baseLayer struct {
	mediaType types.MediaType
	blob      string
	diffID    v1.Hash
	urls      []string
}

func gzipLayer(content string) baseLayer {
	plain := tarOf(files{"base": content})
	return baseLayer{mediaType: types.DockerLayer, blob: gzipped(plain), diffID: digestOf(plain)}
}

func plainBaseLayer(content string) baseLayer {
	plain := tarOf(files{"plain": content})
	return baseLayer{mediaType: types.DockerUncompressedLayer, blob: plain, diffID: digestOf(plain)}
}

func zstdLayer(content string) baseLayer {
	plain := tarOf(files{"zstd": content})
	return baseLayer{mediaType: dockerZstd, blob: zstded(plain), diffID: digestOf(plain)}
}

func foreignLayer(content string) baseLayer {
	l := gzipLayer(content)
	l.mediaType, l.urls = types.DockerForeignLayer, []string{foreignURL}
	return l
}

// dockerBase returns an image with Docker's media types. Its config is what
// the JSON says, besides the platform, the layers and, unless the JSON says
// otherwise, a history of one entry a layer.
func dockerBase(t testing.TB, config string, layers ...baseLayer) v1.Image {
	t.Helper()
	f := newFiles()
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.DockerManifestSchema2,
		Annotations: map[string]string{"of": "base", "org.opencontainers.image.title": "base"},
		Layers:      []v1.Descriptor{},
	}
	diffIDs, history := []v1.Hash{}, []v1.History{}
	for i, l := range layers {
		desc := f.blob(l.mediaType, l.blob)
		desc.URLs = l.urls
		m.Layers = append(m.Layers, desc)
		diffIDs = append(diffIDs, l.diffID)
		history = append(history, v1.History{CreatedBy: fmt.Sprintf("base %d", i+1)})
	}
	cf := map[string]any{
		"os": "linux", "architecture": "amd64", "history": history,
		"rootfs": v1.RootFS{Type: "layers", DiffIDs: diffIDs},
	}
	d := json.NewDecoder(strings.NewReader(config))
	d.UseNumber()
	if err := d.Decode(&cf); err != nil {
		t.Fatal(err)
	}
	m.Config = f.blob(types.DockerConfigJSON, asJSON(cf))
	f.list(f.blob(types.DockerManifestSchema2, asJSON(m)))
	return open(t, f.writeDir(t)).Images[0].Images[0].Image
}

// newLayer returns a layer of ours.
func newLayer(t testing.TB, content string) image.Layer {
	t.Helper()
	var blob bytes.Buffer
	info, err := layer.Write(t.Context(), &blob, []layer.File{{
		Path: "/app/" + content, Mode: 0o755, Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}}, layer.Options{Compression: layer.Compression{Algorithm: layer.Gzip}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := layer.New(layer.Blob{
		Info: info, Digest: digestOf(blob.String()), Size: int64(blob.Len()),
		Open: func() io.ReadCloser { return io.NopCloser(bytes.NewReader(blob.Bytes())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return image.Layer{Layer: l, CreatedBy: "COPY " + content}
}

func assemble(t testing.TB, base v1.Image, s image.Spec) v1.Image {
	t.Helper()
	img, err := image.Assemble(base, s)
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, img)
	return img
}

// wellFormed checks that all that img says of itself is true, and that it has
// OCI media types only.
func wellFormed(t testing.TB, img v1.Image) {
	t.Helper()
	if err := validateImage(img); err != nil {
		t.Errorf("validating the image: %v", err)
	}
	m, cf := manifestOf(t, img), configOf(t, img)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != len(m.Layers) || len(layers) != len(cf.RootFS.DiffIDs) {
		t.Fatalf("%d layers, the manifest has %d and the config %d", len(layers), len(m.Layers), len(cf.RootFS.DiffIDs))
	}
	for i, l := range layers {
		desc, err := partial.Descriptor(l)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m.Layers[i], *desc, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("descriptor of layer %d (-manifest +layer):\n%s", i+1, diff)
		}
		blob := read(t, l.Compressed)
		if got := digestOf(blob); got != desc.Digest || int64(len(blob)) != desc.Size {
			t.Errorf("layer %d is %s of %d bytes, not %s of %d", i+1, got, len(blob), desc.Digest, desc.Size)
		}
		for how, by := range map[string]func() (v1.Layer, error){
			"digest": func() (v1.Layer, error) { return img.LayerByDigest(desc.Digest) },
			"diffID": func() (v1.Layer, error) { return img.LayerByDiffID(cf.RootFS.DiffIDs[i]) },
		} {
			found, err := by()
			if err != nil {
				t.Fatalf("layer %d by %s: %v", i+1, how, err)
			}
			if mt, err := found.MediaType(); err != nil || strings.Contains(string(mt), "docker") {
				t.Errorf("layer %d by %s has media type %s, %v", i+1, how, mt, err)
			}
		}
	}
	if mt, err := img.MediaType(); err != nil || mt != types.OCIManifestSchema1 || m.MediaType != mt {
		t.Errorf("media type %s, in the manifest %s, %v", mt, m.MediaType, err)
	}
	if m.Config.MediaType != types.OCIConfigJSON {
		t.Errorf("media type of the config %s", m.Config.MediaType)
	}
}

func manifestOf(t testing.TB, img v1.Image) *v1.Manifest {
	t.Helper()
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func configOf(t testing.TB, img v1.Image) *v1.ConfigFile {
	t.Helper()
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return cf
}

func read(t testing.TB, open func() (io.ReadCloser, error)) string {
	t.Helper()
	rc, err := open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(rc)
	if err := errors.Join(err, rc.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustRaw(t testing.TB, img v1.Image) []byte {
	t.Helper()
	raw, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func noNull(t testing.TB, img v1.Image) {
	t.Helper()
	raw, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if s := string(raw) + string(mustRaw(t, img)); strings.Contains(s, "null") {
		t.Errorf("null is not a list: %s", s)
	}
}

// dump is all that an image says of itself.
func dump(t testing.TB, img v1.Image) string {
	t.Helper()
	raw, err := img.RawManifest()
	if err != nil {
		t.Error(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Error(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Error(err)
	}
	return strings.Join([]string{string(raw), string(mustRaw(t, img)), asJSON(cf), asJSON(m)}, "\n")
}

// shared is an image that hands out its own manifest, config and descriptors,
// not copies, as an implementation may.
type shared struct {
	v1.Image
	m  *v1.Manifest
	cf *v1.ConfigFile
}

func (s *shared) Manifest() (*v1.Manifest, error)     { return s.m, nil }
func (s *shared) ConfigFile() (*v1.ConfigFile, error) { return s.cf, nil }

func (s *shared) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	l, err := s.Image.LayerByDigest(h)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.m.Layers, func(d v1.Descriptor) bool { return d.Digest == h })
	return &sharedLayer{l, &s.m.Layers[i]}, nil
}

type sharedLayer struct {
	v1.Layer
	desc *v1.Descriptor
}

func (l *sharedLayer) Descriptor() (*v1.Descriptor, error) { return l.desc, nil }
