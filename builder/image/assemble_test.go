package image_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
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

func TestAssembleLayers(t *testing.T) {
	in := []baseLayer{gzipLayer("one"), plainBaseLayer("two"), zstdLayer("three"), foreignLayer("four")}
	base := dockerBase(t, `{}`, in...)
	own := newLayer(t, "server")
	img := assemble(t, base, image.Spec{Platform: amd64, Epoch: epoch, Layers: []image.Layer{own}})

	want := []v1.Descriptor{
		{MediaType: types.OCILayer}, {MediaType: types.OCIUncompressedLayer}, {MediaType: types.OCILayerZStd},
		{MediaType: types.OCIRestrictedLayer, URLs: []string{foreignURL}},
	}
	for i, l := range in {
		want[i].Digest, want[i].Size = digestOf(l.blob), int64(len(l.blob))
	}
	last, err := partial.Descriptor(own.Layer)
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, *last)
	if diff := cmp.Diff(want, manifestOf(t, img).Layers, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("layers of the manifest (-want +got):\n%s", diff)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range in {
		if got := read(t, layers[i].Compressed); got != l.blob {
			t.Errorf("the bytes of layer %d are others than the base's", i+1)
		}
	}
}

// A push has to recognise where a base's layer was found.
func TestAssembleUnwrap(t *testing.T) {
	ref, err := name.ParseReference("example.com/base:v1")
	if err != nil {
		t.Fatal(err)
	}
	base := dockerBase(t, `{}`, gzipLayer("one"))
	img := assemble(t, mountable{base, ref}, image.Spec{Platform: amd64})
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	wrapper, ok := layers[0].(interface{ Unwrap() v1.Layer })
	if !ok {
		t.Fatalf("a %T cannot be unwrapped", layers[0])
	}
	if ml, ok := wrapper.Unwrap().(*remote.MountableLayer); !ok || ml.Reference != ref {
		t.Errorf("unwrapped, it is %#v", wrapper.Unwrap())
	}
}

// mountable is an image as a registry has it.
type mountable struct {
	v1.Image
	ref name.Reference
}

func (m mountable) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	l, err := m.Image.LayerByDigest(h)
	return &remote.MountableLayer{Layer: l, Reference: m.ref}, err
}

func TestAssembleConfig(t *testing.T) {
	const base = `{
		"architecture": "arm64", "variant": "v8", "os": "linux", "os.version": "1.2", "os.features": ["f"],
		"author": "someone", "container": "abc", "docker_version": "1.12", "created": "2001-01-01T00:00:00Z",
		"container_config": {"Hostname": "abc"}, "unknown": 1,
		"config": {
			"User": "app", "Env": ["PATH=/bin"], "WorkingDir": "/srv", "Labels": {"l": "base"}, "Volumes": {"/v": {}},
			"ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT", "Shell": ["/bin/ash"],
			"Entrypoint": ["/entry"], "Cmd": ["sh"],
			"Hostname": "abc", "Domainname": "d", "Image": "sha256:1", "OnBuild": ["RUN false"]
		}
	}`
	inherited := v1.Config{
		User: "app", Env: []string{"PATH=/bin"}, WorkingDir: "/srv", Labels: map[string]string{"l": "base"},
		Volumes: map[string]struct{}{"/v": {}}, ExposedPorts: map[string]struct{}{"80/tcp": {}},
		StopSignal: "SIGQUIT", Shell: []string{"/bin/ash"}, Entrypoint: []string{"/entry"}, Cmd: []string{"sh"},
	}
	changed := *inherited.DeepCopy()
	changed.Entrypoint, changed.Cmd, changed.Labels["l"] = []string{"/app/server"}, nil, "own"
	tests := []struct {
		name      string
		configure func(*v1.Config)
		want      v1.Config
	}{
		{"kept", nil, inherited},
		{"changed", func(c *v1.Config) {
			c.Entrypoint, c.Cmd, c.Labels["l"] = []string{"/app/server"}, nil, "own"
		}, changed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := gzipLayer("one")
			own := newLayer(t, "server")
			p := v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
			zone := time.FixedZone("somewhere", 3600)
			img := assemble(t, dockerBase(t, base, l), image.Spec{
				Platform: p, Epoch: epoch.In(zone), Layers: []image.Layer{own}, Configure: tt.configure,
			})
			diffID, err := own.Layer.DiffID()
			if err != nil {
				t.Fatal(err)
			}
			want := &v1.ConfigFile{
				Architecture: "arm", Variant: "v7", OS: "linux", OSVersion: "1.2", OSFeatures: []string{"f"},
				Created: v1.Time{Time: epoch}, RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{l.diffID, diffID}},
				History: []v1.History{
					{CreatedBy: "base 1"},
					{CreatedBy: "COPY server", Created: v1.Time{Time: epoch}, Comment: "stagectl"},
				},
				Config: tt.want,
			}
			if diff := cmp.Diff(want, configOf(t, img)); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			raw := string(mustRaw(t, img))
			for _, s := range []string{"container", "unknown", "docker_version", "+01:00"} {
				if strings.Contains(raw, s) {
					t.Errorf("the config has %q in it: %s", s, raw)
				}
			}
		})
	}
}

func mustRaw(t testing.TB, img v1.Image) []byte {
	t.Helper()
	raw, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAssembleHistory(t *testing.T) {
	const own, filler = "COPY server", "layer of the base"
	tests := []struct {
		name, base string
		want       []string
	}{
		{"one a layer", `{"history": [{"created_by": "1"}, {"created_by": "2"}]}`, []string{"1", "2", own}},
		{
			"some for no layer", `{"history": [{"created_by": "1"}, {"created_by": "e", "empty_layer": true}, {"created_by": "2"}]}`,
			[]string{"1", "-e", "2", own},
		},
		{"none", `{"history": null}`, []string{filler, filler, own}},
		{
			"too short", `{"history": [{"created_by": "e", "empty_layer": true}, {"created_by": "1"}]}`,
			[]string{"-e", "1", filler, own},
		},
		{
			"too long", `{"history": [{"created_by": "1"}, {"created_by": "2"}, {"created_by": "3"}, {"created_by": "4"}]}`,
			[]string{"1", "2", "-3", "-4", own},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := dockerBase(t, tt.base, gzipLayer("one"), gzipLayer("two"))
			img := assemble(t, base, image.Spec{Platform: amd64, Epoch: epoch, Layers: []image.Layer{newLayer(t, "server")}})
			var got []string
			for _, h := range configOf(t, img).History {
				if h.EmptyLayer {
					h.CreatedBy = "-" + h.CreatedBy
				}
				got = append(got, h.CreatedBy)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("history, with - for no layer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAssembleAnnotations(t *testing.T) {
	base := dockerBase(t, `{}`, gzipLayer("one"))
	tests := []struct {
		name      string
		add, want map[string]string
	}{
		{"none", nil, nil},
		{"own", map[string]string{"k": "v"}, map[string]string{"k": "v"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img := assemble(t, base, image.Spec{Platform: amd64, Annotations: tt.add})
			if diff := cmp.Diff(tt.want, manifestOf(t, img).Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAssembleHealthcheck(t *testing.T) {
	const base = `{"config": {"Healthcheck": {"Test": ["CMD", "/check"], "Interval": 9007199254740995, "StartInterval": 9007199254740993}}}`
	tests := []struct {
		name, base string
		configure  func(*v1.Config)
		want       string
	}{
		{"kept", base, nil, `{"Interval":9007199254740995,"StartInterval":9007199254740993,"Test":["CMD","/check"]}`},
		{"kept beside other changes", base, func(c *v1.Config) { c.User = "app" }, `{"Interval":9007199254740995,"StartInterval":9007199254740993,"Test":["CMD","/check"]}`},
		{"interval changed", base, func(c *v1.Config) { c.Healthcheck.Interval = 1 }, `{"Interval":1,"StartInterval":9007199254740993,"Test":["CMD","/check"]}`},
		{"replaced", base, func(c *v1.Config) { c.Healthcheck = &v1.HealthConfig{Test: []string{"CMD", "/other"}} }, `{"Test":["CMD","/other"]}`},
		{"replaced by the like", base, func(c *v1.Config) {
			c.Healthcheck = &v1.HealthConfig{Test: []string{"CMD", "/check"}, Interval: 9007199254740995}
		}, `{"Test":["CMD","/check"],"Interval":9007199254740995}`},
		{"removed", base, func(c *v1.Config) { c.Healthcheck = nil }, ``},
		{"without a start interval", `{"config": {"Healthcheck": {"Test": ["NONE"]}}}`, nil, `{"Test":["NONE"]}`},
		{"none", `{}`, nil, ``},
		{"new", `{}`, func(c *v1.Config) { c.Healthcheck = &v1.HealthConfig{Retries: 2} }, `{"Retries":2}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img := assemble(t, dockerBase(t, tt.base, gzipLayer("one")), image.Spec{
				Platform: amd64, Configure: tt.configure, Layers: []image.Layer{newLayer(t, "server")},
				Annotations: map[string]string{"k": "v"},
			})
			var cf struct {
				Config struct{ Healthcheck json.RawMessage } `json:"config"`
			}
			if err := json.Unmarshal(mustRaw(t, img), &cf); err != nil {
				t.Fatal(err)
			}
			if got := string(cf.Config.Healthcheck); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if m := manifestOf(t, img); len(m.Layers) != 2 || m.Annotations["k"] != "v" {
				t.Errorf("the rest is lost: %+v", m)
			}
			config, err := img.LayerByDigest(manifestOf(t, img).Config.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, config.Compressed); got != string(mustRaw(t, img)) {
				t.Errorf("the config as a layer is %s", got)
			}
		})
	}
}

// Layers that are there twice, and layers that differ in compression only.
func TestAssembleSameLayers(t *testing.T) {
	one := gzipLayer("one")
	zstdOne := baseLayer{mediaType: dockerZstd, blob: zstded(tarOf(files{"base": "one"})), diffID: one.diffID}
	own := newLayer(t, "server")
	tests := []struct {
		name string
		base []baseLayer
		own  []image.Layer
	}{
		{"twice in the base", []baseLayer{one, one}, nil},
		{"twice on top", []baseLayer{one}, []image.Layer{own, own}},
		{"on top again", []baseLayer{one}, []image.Layer{{Layer: layerOf(t, dockerBase(t, `{}`, one))}}},
		{"same diffID in the base", []baseLayer{one, zstdOne}, nil},
		{"same diffID on top", []baseLayer{one}, []image.Layer{{Layer: layerOf(t, dockerBase(t, `{}`, zstdOne))}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := dockerBase(t, `{}`, tt.base...)
			img := assemble(t, base, image.Spec{Platform: amd64, Layers: tt.own})
			var want, got []v1.Hash
			for _, l := range tt.base {
				want = append(want, digestOf(l.blob))
			}
			for _, l := range tt.own {
				digest, err := l.Layer.Digest()
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, digest)
			}
			layers, err := img.Layers()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range layers {
				got = append(got, digestOf(read(t, l.Compressed)))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
		})
	}
}

// layerOf returns the only layer of img with OCI's media type.
func layerOf(t testing.TB, img v1.Image) v1.Layer {
	t.Helper()
	layers, err := assemble(t, img, image.Spec{Platform: amd64}).Layers()
	if err != nil {
		t.Fatal(err)
	}
	return layers[0]
}

func TestAssembleScratch(t *testing.T) {
	p := v1.Platform{OS: "linux", Architecture: "arm", Variant: "v6", OSVersion: "1", OSFeatures: []string{"f"}}
	for _, n := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("%d layers", n), func(t *testing.T) {
			base, err := image.Empty(p)
			if err != nil {
				t.Fatal(err)
			}
			wellFormed(t, base)
			own := []image.Layer{newLayer(t, "one"), newLayer(t, "two")}[:n]
			img := assemble(t, base, image.Spec{Platform: p, Epoch: epoch, Layers: own})
			cf := configOf(t, img)
			if got := cf.Platform(); !got.Equals(p) || len(cf.History) != n {
				t.Errorf("platform %s, %d entries in the history", got, len(cf.History))
			}
			noNull(t, base)
			noNull(t, img)
		})
	}
}

// A base's JSON may have null for an empty list, which ours does not.
func TestAssembleNoLists(t *testing.T) {
	img := dockerBase(t, `{"rootfs": {"type": "layers"}, "history": null}`)
	m := manifestOf(t, img)
	m.Layers = nil
	noNull(t, assemble(t, &shared{Image: img, m: m, cf: configOf(t, img)}, image.Spec{Platform: amd64}))
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

func TestAssembleLeavesBase(t *testing.T) {
	const config = `{
		"history": [{"created_by": "1"}],
		"config": {"Env": ["A=1"], "Labels": {"l": "base"}, "Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 5}}
	}`
	img := dockerBase(t, config, gzipLayer("one"), plainBaseLayer("two"))
	base := &shared{img, manifestOf(t, img), configOf(t, img)}
	before := dump(t, base)
	own := newLayer(t, "server")
	one := func(value string) v1.Image {
		return assemble(t, base, image.Spec{
			Platform: arm64, Epoch: epoch, Layers: []image.Layer{own}, Annotations: map[string]string{"a": value},
			Configure: func(c *v1.Config) {
				c.Env[0], c.Labels["l"], c.Healthcheck.Test[1] = "A="+value, value, value
			},
		})
	}
	a := one("a")
	first := dump(t, a)
	one("b")
	if got := dump(t, a); got != first {
		t.Errorf("the first image changed:\n%s", cmp.Diff(first, got))
	}
	if got := dump(t, one("a")); got != first {
		t.Errorf("the same again is another image:\n%s", cmp.Diff(first, got))
	}
	if got := dump(t, base); got != before {
		t.Errorf("the base changed:\n%s", cmp.Diff(before, got))
	}
}

// Images on one base are assembled and read at the same time.
func TestAssembleConcurrently(t *testing.T) {
	base := dockerBase(t, `{"config": {"Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 5}}}`, gzipLayer("one"))
	own := newLayer(t, "server")
	spec := image.Spec{Platform: amd64, Layers: []image.Layer{own}, Annotations: map[string]string{"k": "v"}}
	common := assemble(t, base, spec)
	want := dump(t, common)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			img, err := image.Assemble(base, spec)
			if err != nil {
				t.Error(err)
				return
			}
			for _, img := range []v1.Image{img, common} {
				if got := dump(t, img); got != want {
					t.Errorf("another image came out:\n%s", got)
				}
				if _, err := img.Layers(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// failing is an image of which a part can't be had.
type failing struct {
	v1.Image
	manifest, config, raw error
}

func (f failing) Manifest() (*v1.Manifest, error) {
	if f.manifest != nil {
		return nil, f.manifest
	}
	return f.Image.Manifest()
}

func (f failing) ConfigFile() (*v1.ConfigFile, error) {
	if f.config != nil {
		return nil, f.config
	}
	return f.Image.ConfigFile()
}

func (f failing) RawConfigFile() ([]byte, error) {
	if f.raw != nil {
		return nil, f.raw
	}
	return f.Image.RawConfigFile()
}

func TestAssembleErrors(t *testing.T) {
	boom := errors.New("boom")
	base := dockerBase(t, `{"config": {"Healthcheck": {"Test": ["NONE"]}}}`, gzipLayer("one"))
	tests := []struct {
		name string
		base v1.Image
		spec image.Spec
		want string
	}{
		{"manifest", failing{Image: base, manifest: boom}, image.Spec{}, "reading base manifest: boom"},
		{"config", failing{Image: base, config: boom}, image.Spec{}, "reading base config: boom"},
		{"raw config", failing{Image: base, raw: boom}, image.Spec{}, "reading base config: boom"},
		{"no layer", base, image.Spec{Layers: []image.Layer{{}}}, "appending layers: unable to add a nil layer to the image"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := image.Assemble(tt.base, tt.spec); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
