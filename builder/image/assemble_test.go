package image_test

import (
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/image"
)

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

// What has no layer is a line of the history, and nothing else.
func TestAssembleHistoryOnly(t *testing.T) {
	base := dockerBase(t, `{}`, gzipLayer("one"))
	img, err := image.Assemble(base, image.Spec{
		Layers: []image.Layer{{CreatedBy: "ENV A=b"}, {Layer: newLayer(t, "two").Layer, CreatedBy: "COPY two /"}, {CreatedBy: "CMD x"}},
		Author: "somebody",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img, validate.Fast); err != nil {
		t.Error(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range cf.History[len(cf.History)-3:] {
		got = append(got, fmt.Sprintf("%s %t", h.CreatedBy, h.EmptyLayer))
	}
	if diff := cmp.Diff([]string{"ENV A=b true", "COPY two / false", "CMD x true"}, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if len(cf.RootFS.DiffIDs) != 2 || cf.Author != "somebody" {
		t.Errorf("%d layers, author %q", len(cf.RootFS.DiffIDs), cf.Author)
	}
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
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := image.Assemble(tt.base, tt.spec); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
