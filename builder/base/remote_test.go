package base_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
)

func TestImage(t *testing.T) {
	s := newServer(t)
	single := s.image(t, "team/single", "v1", amd64, "one", "two")
	old := s.imageOf(t, docker, "team/docker", "v1", amd64, "one", "two")
	index := s.index(t, "team/multi", "latest", s.image(t, "team/multi", "", arm64, "three"), s.image(t, "team/multi", "", amd64, "four"))
	tests := map[string]struct {
		name      string
		reference string
		texts     []string
	}{
		"a tag":              {"/team/single:v1", "/team/single:v1", []string{"one", "two"}},
		"a digest":           {"/team/single@" + single.Digest.String(), "/team/single@" + single.Digest.String(), []string{"one", "two"}},
		"a tag and a digest": {"/team/single:v1@" + single.Digest.String(), "/team/single@" + single.Digest.String(), []string{"one", "two"}},
		"of Docker":          {"/team/docker@" + old.Digest.String(), "/team/docker@" + old.Digest.String(), []string{"one", "two"}},
		"an index":           {"/team/multi", "/team/multi:latest", []string{"four"}},
		"an index by digest": {"/team/multi@" + index.Digest.String(), "/team/multi@" + index.Digest.String(), []string{"four"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := resolve(t, newResolver(t), s.host+tt.name, amd64)
			if err := validate.Image(img); err != nil {
				t.Error(err)
			}
			if img.Reference != s.host+tt.reference {
				t.Errorf("reference %s, want %s", img.Reference, s.host+tt.reference)
			}
			var texts []string
			for _, l := range layersOf(t, img) {
				texts = append(texts, textOf(t, l))
			}
			if diff := cmp.Diff(tt.texts, texts); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
		})
	}
}

// textOf returns what layerOf put into a layer.
func textOf(t *testing.T, l v1.Layer) string {
	t.Helper()
	rc, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	er := image.NewEntryReader(rc, nil)
	if _, err := er.Next(); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(er)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestResolveEvents is about what is said of the search for a base.
func TestResolveEvents(t *testing.T) {
	s := newServer(t)
	desc := s.image(t, "x", "latest", amd64, "text")
	var seen events
	r := newResolver(t)
	r.Progress = seen.add
	for range 2 {
		resolve(t, r, s.host+"/x", amd64)
	}
	if _, err := r.Image(t.Context(), s.host+"/nope", amd64); err == nil {
		t.Error("no error")
	}
	var got []event.Event
	for _, e := range seen.all {
		if e.State == event.Failed {
			e.Text = ""
		}
		got = append(got, e)
	}
	want := []event.Event{
		{Phase: event.Resolve, Subject: s.host + "/x", State: event.Started},
		{Phase: event.Resolve, Subject: s.host + "/x", State: event.Done, Text: desc.Digest.String()},
		{Phase: event.Resolve, Subject: s.host + "/nope", State: event.Started},
		{Phase: event.Resolve, Subject: s.host + "/nope", State: event.Failed},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func platform(s string) v1.Platform {
	parts := append(strings.Split(s, "/"), "", "")
	return v1.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

func TestPlatform(t *testing.T) {
	tests := map[string]struct {
		have []string
		want string
		// got is the index of the image, -1 for a PlatformError.
		got int
	}{
		"the same":                    {[]string{"linux/arm64", "linux/amd64"}, "linux/amd64", 1},
		"arm64 is v8":                 {[]string{"linux/amd64", "linux/arm64/v8"}, "linux/arm64", 1},
		"arm is v7":                   {[]string{"linux/arm/v6", "linux/arm"}, "linux/arm/v7", 1},
		"v7 before v6":                {[]string{"linux/arm/v6", "linux/arm/v7", "linux/arm/v5"}, "linux/arm/v7", 1},
		"v6 for v7":                   {[]string{"linux/arm/v5", "linux/arm/v6"}, "linux/arm/v7", 1},
		"not v7 for v6":               {[]string{"linux/arm/v7"}, "linux/arm/v6", -1},
		"amd64 for v3":                {[]string{"linux/amd64"}, "linux/amd64/v3", 0},
		"v2 for v3":                   {[]string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v4"}, "linux/amd64/v3", 1},
		"not v3 for amd64":            {[]string{"linux/amd64/v3"}, "linux/amd64", -1},
		"another system":              {[]string{"windows/amd64"}, "linux/amd64", -1},
		"the first of two":            {[]string{"linux/amd64", "linux/amd64"}, "linux/amd64", 0},
		"unknown is no image":         {[]string{"unknown/unknown", "linux/amd64"}, "linux/amd64", 1},
		"nothing but unknown":         {[]string{"unknown/unknown"}, "linux/amd64", -1},
		"none":                        {nil, "linux/amd64", -1},
		"a platform that is not said": {[]string{"", "linux/arm64"}, "linux/amd64", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			var descs []v1.Descriptor
			var have []string
			for i, p := range tt.have {
				listed := platform(p)
				if p == "" {
					listed = amd64
				}
				desc := s.image(t, "x", "", listed, fmt.Sprint(i))
				if p == "" {
					desc.Platform = nil
				}
				if listed.OS != "unknown" {
					have = append(have, p)
				}
				descs = append(descs, desc)
			}
			s.index(t, "x", "latest", descs...)
			img, err := newResolver(t).Image(t.Context(), s.host+"/x", platform(tt.want))
			if tt.got >= 0 {
				if err != nil {
					t.Fatal(err)
				}
				if got := digestOf(t, img); got != descs[tt.got].Digest {
					t.Errorf("got %s, want number %d of %v", got, tt.got, descs)
				}
				return
			}
			pe := (*base.PlatformError)(nil)
			if !errors.As(err, &pe) {
				t.Fatalf("got %v", err)
			}
			text := strings.Join(have, ", ")
			if text == "" {
				text = "none"
			}
			want := fmt.Sprintf("base %s/x has no image for %s: it has %s", s.host, tt.want, text)
			if err.Error() != want || pe.Want.String() != tt.want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
		})
	}
}

func TestPlatformError(t *testing.T) {
	err := &base.PlatformError{Base: "x", Want: amd64, Have: []v1.Platform{
		{OS: "windows", Architecture: "amd64", OSVersion: "10.0.1"}, {}, arm64, {OS: "windows", Architecture: "amd64", OSVersion: "10.0.2"}, arm64,
	}}
	const want = "base x has no image for linux/amd64: it has windows/amd64:10.0.1, one for no platform, linux/arm64, windows/amd64:10.0.2"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

// TestSinglePlatform is about manifests without an index, where only the config
// tells the platform.
func TestSinglePlatform(t *testing.T) {
	s := newServer(t)
	s.image(t, "one", "latest", v1.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, "text")
	r := newResolver(t)
	got, err := r.Platforms(t.Context(), s.host+"/one")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]v1.Platform{{OS: "linux", Architecture: "arm", Variant: "v6"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	resolve(t, r, s.host+"/one", platform("linux/arm/v7"))
	for _, p := range []string{"linux/amd64", "linux/arm/v5"} {
		_, err := r.Image(t.Context(), s.host+"/one", platform(p))
		want := "base " + s.host + "/one has no image for " + p + ": it has linux/arm/v6"
		if pe := (*base.PlatformError)(nil); !errors.As(err, &pe) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestPlatforms(t *testing.T) {
	s := newServer(t)
	attestation := s.image(t, "x", "", v1.Platform{OS: "unknown", Architecture: "unknown"})
	marked := s.image(t, "x", "", arm64, "not to be run")
	marked.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	other := s.blob(t, "text/plain", "neither an image nor an index")
	s.index(t, "x", "latest",
		s.image(t, "x", "", platform("linux/arm64/v8")), attestation, marked, other,
		s.image(t, "x", "", platform("linux/arm")), s.image(t, "x", "", amd64))
	r := newResolver(t)
	tests := map[string][]v1.Platform{
		s.host + "/x": {arm64, platform("linux/arm/v7"), amd64},
		"static":      staticPlatforms,
		"scratch":     staticPlatforms,
	}
	for name, want := range tests {
		got, err := r.Platforms(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// staticPlatforms is what "all" stands for with a base that fits every platform.
var staticPlatforms = []v1.Platform{
	amd64, arm64, platform("linux/arm/v7"), platform("linux/arm/v6"), platform("linux/386"),
	platform("linux/ppc64le"), platform("linux/riscv64"), platform("linux/s390x"),
}

func TestBuiltIn(t *testing.T) {
	var seen events
	r := &base.Resolver{Progress: seen.add} // neither registry nor cache
	for name, layers := range map[string]int{"static": 1, "scratch": 0} {
		img := resolve(t, r, name, platform("linux/riscv64"))
		if err := validate.Image(img); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cf, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if p := cf.Platform(); p == nil || p.String() != "linux/riscv64" || len(layersOf(t, img)) != layers || img.Reference != "" {
			t.Errorf("%s: platform %v, %d layers, reference %q", name, p, len(layersOf(t, img)), img.Reference)
		}
	}
	if len(seen.all) > 0 { // there is nothing to look for
		t.Errorf("events %v, want none", seen.all)
	}
}

// TestRefused has manifests that are no images, or not what they seem to be.
func TestRefused(t *testing.T) {
	const zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	s := newServer(t)
	config := func(mt types.MediaType, content string) string { return asJSON(t, s.blob(t, mt, content)) }
	good := s.image(t, "x", "", amd64, "text")
	index := s.index(t, "x", "", good)
	ociConfig := config(types.OCIConfigJSON, `{"os":"linux","architecture":"amd64"}`)
	sha512 := "sha512:" + strings.Repeat("0", 128)
	tests := map[string]struct {
		mt   types.MediaType
		raw  string
		want string
	}{
		"a chart": {
			types.OCIManifestSchema1, `{"config":` + config("application/vnd.cncf.helm.config.v1+json", "{}") + `}`,
			"not an image: its config is application/vnd.cncf.helm.config.v1+json",
		},
		"an artifact": {
			types.OCIManifestSchema1, `{"mediaType":"` + string(types.OCIManifestSchema1) + `","config":` + config(types.OCIEmptyJSON, "{}") + `}`,
			"not an image: its config is application/vnd.oci.empty.v1+json",
		},
		"a config of no type": {
			types.OCIManifestSchema1, `{"config":{"digest":"` + zeros + `"}}`,
			"not an image: its config is of no known type",
		},
		"no manifest": {types.OCIManifestSchema1, `{}`, "not an image: the manifest is of no known type"},
		"another manifest": {
			types.OCIManifestSchema1, `{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[]}`,
			"not an image: the manifest is application/vnd.oci.artifact.manifest.v1+json",
		},
		"layers alone": {types.OCIManifestSchema1, `{"layers":[]}`, "not an image: the manifest is of no known type"},
		"no JSON":      {types.OCIManifestSchema1, `not JSON`, "reading manifest: invalid character 'o' in literal null (expecting 'u')"},
		"both": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[],"manifests":[]}`,
			"the manifest is both an image and an index",
		},
		"layers and manifests": {types.OCIManifestSchema1, `{"layers":[],"manifests":[]}`, "the manifest is both an image and an index"},
		"an image that says it is an index": {
			types.OCIManifestSchema1, `{"mediaType":"` + string(types.OCIImageIndex) + `","config":` + ociConfig + `}`,
			"the manifest is an image, but says it is application/vnd.oci.image.index.v1+json",
		},
		"an index that says it is an image": {
			types.OCIImageIndex, `{"mediaType":"` + string(types.OCIManifestSchema1) + `","manifests":[]}`,
			"the manifest is an index, but says it is application/vnd.oci.image.manifest.v1+json",
		},
		"layers and manifests in other letters": {types.OCIManifestSchema1, `{"LAYERS":[],"manifestſ":[]}`, "the manifest is both an image and an index"},
		"a key twice": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[],"layers":[]}`,
			`reading manifest: it has "layers" twice`,
		},
		"a key twice in other letters": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[],"CONFIG":` + ociConfig + `}`,
			`reading manifest: it has "config" twice`,
		},
		"schema 1": {
			types.DockerManifestSchema1, `{"schemaVersion":1,"fsLayers":[]}`,
			"the manifest has the format of Docker before 1.10 (schema 1), which is not supported: push the image again",
		},
		"schema 1 by its content": {
			types.OCIManifestSchema1, `{"schemaVersion":1,"fsLayers":[]}`,
			"the manifest has the format of Docker before 1.10 (schema 1), which is not supported: push the image again",
		},
		"an index inside an index": {
			types.OCIImageIndex, `{"manifests":[` + asJSON(t, index) + `]}`,
			"an index inside an index (" + index.Digest.String() + ") is not supported",
		},
		"a config without a platform": {
			types.OCIManifestSchema1, `{"config":` + config(types.OCIConfigJSON, `{}`) + `,"layers":[]}`,
			": it names no platform",
		},
		"a config that is no JSON": {
			types.OCIManifestSchema1, `{"config":` + config(types.OCIConfigJSON, `x`) + `,"layers":[]}`,
			": invalid character 'x' looking for beginning of value",
		},
		"a config with other layers": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[{"digest":"` + zeros + `","size":1}]}`,
			": it lists 0 layers, manifest",
		},
		"a config without a digest": {
			types.OCIManifestSchema1, `{"config":{"mediaType":"` + string(types.OCIConfigJSON) + `"},"layers":[]}`,
			"the manifest names a config without a digest",
		},
		"a layer without a digest": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[{"size":1}]}`,
			"the manifest names a layer without a digest",
		},
		"a layer of a negative size": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[{"digest":"` + zeros + `","size":-1}]}`,
			"layer " + zeros + " has a size of -1",
		},
		"a digest of another kind": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[{"digest":"` + sha512 + `","size":1}]}`,
			"layer " + sha512 + ": only sha256 digests are supported",
		},
		"a digest that is none": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[{"digest":"sha256:../../x","size":1}]}`,
			"reading manifest: found non-hex character in hash: .",
		},
		"a digest in capital letters": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[{"digest":"sha256:` + strings.Repeat("A", 64) + `","size":1}]}`,
			"reading manifest: found non-hex character in hash: A",
		},
		"a config with a digest that leads out": {
			types.OCIManifestSchema1, `{"config":{"mediaType":"` + string(types.OCIConfigJSON) + `","digest":"sha256:../../x","size":1},"layers":[]}`,
			"reading manifest: found non-hex character in hash: .",
		},
		"more layers than can be stacked": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[` + strings.Repeat(`{"digest":"`+zeros+`","size":1},`, 512) + `{"digest":"` + zeros + `","size":1}]}`,
			"the manifest lists 513 layers, the limit is 512",
		},
		"more images than there are platforms": {
			types.OCIImageIndex, `{"manifests":[` + strings.Repeat(asJSON(t, good)+",", 1024) + asJSON(t, good) + `]}`,
			"the index lists 1025 manifests, the limit is 1024",
		},
		"a layer of a terabyte": {
			types.OCIManifestSchema1, `{"config":` + ociConfig + `,"layers":[{"digest":"` + zeros + `","size":1099511627776}]}`,
			"layer " + zeros + " has 1099511627776 bytes, the limit is 274877906944",
		},
		"a config that is too large": {
			types.OCIManifestSchema1, `{"config":{"mediaType":"` + string(types.OCIConfigJSON) + `","digest":"` + zeros + `","size":4194305},"layers":[]}`,
			"config " + zeros + " has 4194305 bytes, the limit is 4194304",
		},
		"a listed manifest that is too large": {
			types.OCIImageIndex, `{"manifests":[{"mediaType":"x","digest":"` + zeros + `","size":4194305}]}`,
			"manifest " + zeros + " has 4194305 bytes, the limit is 4194304",
		},
		"an image listed as another type": {
			types.OCIImageIndex, `{"manifests":[` + asJSON(t, retyped(good, types.DockerManifestSchema2)) + `]}`,
			"manifest " + good.Digest.String() + " is listed as application/vnd.docker.distribution.manifest.v2+json, but is application/vnd.oci.image.manifest.v1+json",
		},
		"an index listed as an image": {
			types.OCIImageIndex, `{"manifests":[` + asJSON(t, on(retyped(index, types.OCIManifestSchema1), amd64)) + `]}`,
			"manifest " + index.Digest.String() + " is listed as application/vnd.oci.image.manifest.v1+json, but is application/vnd.oci.image.index.v1+json",
		},
		"an image listed with another size": {
			types.OCIImageIndex, `{"manifests":[` + asJSON(t, resized(good, 7)) + `]}`,
			fmt.Sprintf("%s has %d bytes, not the 7 it is listed with", good.Digest, good.Size),
		},
		"an image listed for another platform": {
			types.OCIImageIndex, `{"manifests":[` + asJSON(t, on(s.put(t, "x", "", types.OCIManifestSchema1, s.manifestOf(t, oci, arm64, nil, nil)), amd64)) + `]}`,
			" for linux/amd64, but its config is for linux/arm64",
		},
		"an image listed for a platform that it does not name": {
			types.OCIImageIndex, `{"manifests":[` + asJSON(t, on(s.put(t, "x", "", types.OCIManifestSchema1, s.manifestOf(t, oci, v1.Platform{}, nil, nil)), amd64)) + `]}`,
			" for linux/amd64, but its config is for no platform",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			desc := s.put(t, "x", "", tt.mt, tt.raw)
			base := s.host + "/x@" + desc.Digest.String()
			_, err := newResolver(t).Image(t.Context(), base, amd64)
			if err == nil || !strings.HasPrefix(err.Error(), "resolving base "+base+": ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func on(d v1.Descriptor, p v1.Platform) v1.Descriptor {
	d.Platform = &p
	return d
}

func retyped(d v1.Descriptor, mt types.MediaType) v1.Descriptor {
	d.MediaType = mt
	return on(d, amd64)
}

func resized(d v1.Descriptor, n int64) v1.Descriptor {
	d.Size = n
	return d
}
