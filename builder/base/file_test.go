package base_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
)

// imageOf makes an image without a registry.
func imageOf(t *testing.T, p v1.Platform, text string) v1.Image {
	t.Helper()
	content := gzipped(t, layerOf(t, text))
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	cf, err := img.ConfigFile()
	if err == nil {
		cf = cf.DeepCopy()
		cf.OS, cf.Architecture, cf.Variant = p.OS, p.Architecture, p.Variant
		img, err = mutate.ConfigFile(img, cf)
	}
	if err == nil {
		img, err = mutate.AppendLayers(img, layer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// refName is the annotation by which a layout names its images.
const refName = "org.opencontainers.image.ref.name"

// layoutOf writes an OCI layout with images by their tags.
func layoutOf(t *testing.T, dir string, images map[string]v1.Image) {
	t.Helper()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for tag, img := range images {
		err := p.ReplaceImage(img, match.Name(tag), layout.WithAnnotations(map[string]string{refName: tag}))
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	one, two, arm := imageOf(t, amd64, "one"), imageOf(t, amd64, "two"), imageOf(t, v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, "arm")
	layoutOf(t, in("layout"), map[string]v1.Image{"v1": one})
	layoutOf(t, in("with:colon"), map[string]v1.Image{"v1": one})
	layoutOf(t, in("both"), map[string]v1.Image{"v1": one, "v2": two})
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}},
		mutate.IndexAddendum{Add: one, Descriptor: v1.Descriptor{Platform: &amd64}})
	if p, err := layout.Write(in("index"), empty.Index); err != nil {
		t.Fatal(err)
	} else if err := p.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	ref, other := name.MustParseReference("team/one:v1"), name.MustParseReference("team/two:v1")
	if err := tarball.WriteToFile(in("saved.tar"), ref, one); err != nil {
		t.Fatal(err)
	}
	if err := tarball.MultiRefWriteToFile(in("two.tar"), map[name.Reference]v1.Image{ref: one, other: two}); err != nil {
		t.Fatal(err)
	}
	archive := &output.Archive{Path: in("ours.tar"), Docker: true}
	_, err := archive.Write(t.Context(), []image.Result{{Name: "one", Tags: []string{"one:latest"}, Images: []image.Platform{{Platform: amd64, Image: one}}}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		name     string
		platform v1.Platform // amd64 where empty
		text     string
	}{
		"a layout":                      {name: "oci:layout", text: "one"},
		"a layout, with its tag":        {name: "oci:layout:v1", text: "one"},
		"a layout, absolute":            {name: "oci:" + in("layout"), text: "one"},
		"a layout, absolute and tag":    {name: "oci:" + in("layout") + ":v1", text: "one"},
		"a layout with a colon":         {name: "oci:with:colon", text: "one"},
		"a layout with a colon and tag": {name: "oci:with:colon:v1", text: "one"},
		"one of two":                    {name: "oci:both:v2", text: "two"},
		"by digest":                     {name: "oci:both:" + digestOf(t, two).String(), text: "two"},
		"an index":                      {name: "oci:index", text: "one"},
		"an index, another platform":    {name: "oci:index", platform: arm64, text: "arm"},
		"an archive":                    {name: "docker-archive:saved.tar", text: "one"},
		"an archive, with its name":     {name: "docker-archive:saved.tar:team/one:v1", text: "one"},
		"one of two in an archive":      {name: "docker-archive:two.tar:docker.io/team/two:v1", text: "two"},
		"an archive of ours":            {name: "docker-archive:ours.tar", text: "one"},
		"an archive as a layout":        {name: "oci:ours.tar", text: "one"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := amd64
			if tt.platform.OS != "" {
				p = tt.platform
			}
			img := resolve(t, &base.Resolver{Dir: dir}, tt.name, p)
			if err := validate.Image(img); err != nil {
				t.Error(err)
			}
			layers := layersOf(t, img)
			if len(layers) != 1 || textOf(t, layers[0]) != tt.text || img.Reference != "" {
				t.Errorf("%d layers, the first of %q, reference %q", len(layers), textOf(t, layers[0]), img.Reference)
			}
		})
	}
	got, err := (&base.Resolver{Dir: dir}).Platforms(t.Context(), "oci:index")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]v1.Platform{arm64, amd64}, got); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	one, two := imageOf(t, amd64, "one"), imageOf(t, amd64, "two")
	layoutOf(t, in("layout"), map[string]v1.Image{"v1": one})
	layoutOf(t, in("both"), map[string]v1.Image{"v1": one, "v2": two})
	layoutOf(t, in("none"), map[string]v1.Image{"v1": imageOf(t, v1.Platform{}, "none")})
	layoutOf(t, in("damaged"), map[string]v1.Image{"v1": one})
	config, err := one.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in("damaged/blobs/sha256/"+config.Hex), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"text.tar": "text", "empty.tar": ""} {
		if err := os.WriteFile(in(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// An archive of an index of which only a part was pulled.
	listed := imageOf(t, arm64, "absent")
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: one, Descriptor: v1.Descriptor{Platform: &amd64}},
		mutate.IndexAddendum{Add: listed, Descriptor: v1.Descriptor{Platform: &arm64}})
	if p, err := layout.Write(in("partial"), empty.Index); err != nil {
		t.Fatal(err)
	} else if err := p.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(in("partial/blobs/sha256/" + digestOf(t, listed).Hex)); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		name string
		want []string // parts of the error after "resolving base NAME: "
	}{
		"no path":              {"oci:", []string{"the path is missing"}},
		"no such directory":    {"oci:nope", []string{"opening " + in("nope") + ": no such file or directory"}},
		"no such directory, 2": {"oci:nope:v1", []string{"opening " + in("nope:v1") + ": no such file or directory"}},
		"no such file":         {"docker-archive:nope.tar", []string{"opening " + in("nope.tar") + ": no such file or directory"}},
		"no layout":            {"oci:.", []string{"opening " + dir + ": not an OCI layout"}},
		"no archive":           {"docker-archive:text.tar", []string{"opening " + in("text.tar") + ": "}},
		"an empty archive":     {"docker-archive:empty.tar", []string{"opening " + in("empty.tar") + ": the file is empty"}},
		"a damaged layout":     {"oci:damaged", []string{"opening " + in("damaged") + ": ", config.String()}},
		"no such tag":          {"oci:layout:v2", []string{"finding image v2 in " + in("layout") + ": not there, only: v1"}},
		"several images": {"oci:both", []string{
			"finding the image in " + in("both") + ": there are 2, name one of: ", "v1", "v2", " (write oci:both:NAME)",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := (&base.Resolver{Dir: dir}).Image(t.Context(), tt.name, amd64)
			rest, ok := strings.CutPrefix(fmt.Sprint(err), "resolving base "+tt.name+": ")
			if !ok || strings.Contains(rest, "\n") {
				t.Fatalf("got %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(rest, want) {
					t.Errorf("got  %s\nwant %s", rest, want)
				}
			}
		})
	}
	platforms := map[string]struct{ name, want string }{
		"another platform": {"oci:layout", "base oci:layout has no image for linux/arm64: it has linux/amd64"},
		"no platform":      {"oci:none", "base oci:none has no image for linux/arm64: it has one for no platform"},
	}
	for name, tt := range platforms {
		t.Run(name, func(t *testing.T) {
			_, err := (&base.Resolver{Dir: dir}).Image(t.Context(), tt.name, arm64)
			if pe := (*base.PlatformError)(nil); !errors.As(err, &pe) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	t.Run("a platform that is not all there", func(t *testing.T) {
		r := &base.Resolver{Dir: dir}
		resolve(t, r, "oci:partial", amd64)
		_, err := r.Image(t.Context(), "oci:partial", arm64)
		const want = "resolving base oci:partial: finding the image for linux/arm64: it is listed, but not all there: "
		if pe := (*base.PlatformError)(nil); err == nil || !strings.HasPrefix(err.Error(), want) || errors.As(err, &pe) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
}

// TestFilesAreOpenedOnce has a base that disappears while it is used.
func TestFilesAreOpenedOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(file, name.MustParseReference("x"), imageOf(t, amd64, "text")); err != nil {
		t.Fatal(err)
	}
	r := &base.Resolver{}
	img := resolve(t, r, "docker-archive:"+file, amd64)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := textOf(t, layersOf(t, img)[0]); got != "text" {
		t.Errorf("got %q", got)
	}
	resolve(t, r, "docker-archive:"+file, amd64)
}
