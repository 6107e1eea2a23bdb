package image_test

import (
	"archive/tar"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// saved is an element of manifest.json.
type saved struct {
	Config       string
	RepoTags     []string
	Layers       []string
	LayerSources map[string]v1.Descriptor `json:",omitempty"`
}

// save adds an image as Docker saved it before version 25, its layers as they
// are given, with the DiffIDs of plain.
func (f files) save(tag string, plain ...string) saved {
	cf := v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}
	s := saved{RepoTags: []string{tag}}
	for _, l := range plain {
		h := digestOf(l)
		cf.RootFS.DiffIDs = append(cf.RootFS.DiffIDs, h)
		s.Layers = append(s.Layers, h.Hex+"/layer.tar")
		f[h.Hex+"/layer.tar"] = l
	}
	config := asJSON(cf)
	s.Config = digestOf(config).Hex + ".json"
	f[s.Config] = config
	return s
}

func (f files) listSaved(images ...saved) files {
	f["manifest.json"] = asJSON(images)
	return f
}

func TestOpenSaved(t *testing.T) {
	one, two := tarOf(files{"one": "1"}), tarOf(files{"two": "2"})
	tests := []struct {
		name string
		make func(f files) []saved
		want []string
		// types of the first image's layers
		types []types.MediaType
	}{
		{
			"plain layers", func(f files) []saved { return []saved{f.save("server:v1", one, two)} },
			[]string{"server:v1: linux/amd64"},
			[]types.MediaType{types.OCIUncompressedLayer, types.OCIUncompressedLayer},
		},
		{
			"gzip and zstd layers", func(f files) []saved {
				s := f.save("server:v1", one, two)
				f[s.Layers[0]], f[s.Layers[1]] = zstded(one), gzipped(two)
				return []saved{s}
			},
			[]string{"server:v1: linux/amd64"},
			[]types.MediaType{types.OCILayerZStd, types.OCILayer},
		},
		{
			"no layers", func(f files) []saved { return []saved{f.save("server:v1")} },
			[]string{"server:v1: linux/amd64"}, nil,
		},
		{
			"no tags", func(f files) []saved {
				s := f.save("", one)
				s.RepoTags = nil
				return []saved{s}
			},
			[]string{": linux/amd64"},
			[]types.MediaType{types.OCIUncompressedLayer},
		},
		{
			"two images that share a layer",
			func(f files) []saved { return []saved{f.save("a:v1", one), f.save("b:v1", one, two)} },
			[]string{"a:v1: linux/amd64", "b:v1: linux/amd64"},
			[]types.MediaType{types.OCIUncompressedLayer},
		},
		{
			"one image twice",
			func(f files) []saved { return []saved{f.save("a:v1", one), f.save("b:v1", one)} },
			[]string{"a:v1 b:v1: linux/amd64"},
			[]types.MediaType{types.OCIUncompressedLayer},
		},
		{
			"config not named after its digest", func(f files) []saved {
				s := f.save("a:v1", one)
				f["config"], s.Config = f[s.Config], "config"
				return []saved{s}
			},
			[]string{"a:v1: linux/amd64"},
			[]types.MediaType{types.OCIUncompressedLayer},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := files{}
			file := open(t, f.listSaved(tt.make(f)...).writeTar(t))
			if diff := cmp.Diff(tt.want, summary(t, file)); diff != "" {
				t.Errorf("Open (-want +got):\n%s", diff)
			}
			m, err := file.Images[0].Images[0].Image.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			var got []types.MediaType
			for _, l := range m.Layers {
				got = append(got, l.MediaType)
			}
			if diff := cmp.Diff(tt.types, got); diff != "" {
				t.Errorf("media types (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOpenSavedLink has a layer that is a link to another image's, as Docker
// wrote it before version 1.10 and podman still does.
func TestOpenSavedLink(t *testing.T) {
	f := files{}
	s := f.save("server:v1", tarOf(files{"one": "1"}))
	headers := []tar.Header{{Name: "other/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../" + s.Layers[0]}}
	s.Layers[0] = "other/layer.tar"
	for name := range f.listSaved(s) {
		headers = append(headers, tar.Header{Name: name, Typeflag: tar.TypeReg})
	}
	file := open(t, writeFile(t, tarWith(f, headers...)))
	if diff := cmp.Diff([]string{"server:v1: linux/amd64"}, summary(t, file)); diff != "" {
		t.Errorf("Open (-want +got):\n%s", diff)
	}
}

// TestOpenSavedLinksOut has layers that are links out of the archive.
func TestOpenSavedLinksOut(t *testing.T) {
	for _, to := range []string{"/etc/passwd", "../../../../etc/passwd", "other/layer.tar"} {
		for _, kind := range []byte{tar.TypeSymlink, tar.TypeLink} {
			f := files{}
			s := f.save("server:v1", tarOf(files{"one": "1"}))
			s.Layers[0] = "other/layer.tar"
			headers := []tar.Header{{Name: "other/layer.tar", Typeflag: kind, Linkname: to}}
			for name := range f.listSaved(s) {
				headers = append(headers, tar.Header{Name: name, Typeflag: tar.TypeReg})
			}
			want := "reading layer 1: reading other/layer.tar: file does not exist"
			if to == "other/layer.tar" && kind == tar.TypeLink {
				want = "reading layer 1: reading other/layer.tar: too many symbolic links"
			}
			wantError(t, writeFile(t, tarWith(f, headers...)), want)
		}
	}
}

func TestOpenSavedForeignLayer(t *testing.T) {
	f := files{}
	s := f.save("server:v1", "windows")
	foreign := v1.Descriptor{
		MediaType: types.DockerForeignLayer, Digest: digestOf("compressed"), Size: 10, URLs: []string{"https://example.com"},
	}
	delete(f, s.Layers[0])
	s.LayerSources = map[string]v1.Descriptor{digestOf("windows").String(): foreign}
	m, err := open(t, f.listSaved(s).writeTar(t)).Images[0].Images[0].Image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]v1.Descriptor{foreign}, m.Layers); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

// TestOpenTarballOfGGCR reads what another writer makes.
func TestOpenTarballOfGGCR(t *testing.T) {
	img, err := random.Image(1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag("example.com/server:v1")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(path, ref, img); err != nil {
		t.Fatal(err)
	}
	file := open(t, path)
	if diff := cmp.Diff([]string{"example.com/server:v1: "}, summary(t, file)); diff != "" {
		t.Errorf("Open (-want +got):\n%s", diff)
	}
	// The layers are the very same blobs.
	want, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	got, err := file.Images[0].Images[0].Image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Layers {
		if got.Layers[i].Digest != want.Layers[i].Digest {
			t.Errorf("layer %d is %s, want %s", i, got.Layers[i].Digest, want.Layers[i].Digest)
		}
	}
}

func TestOpenSavedRefuses(t *testing.T) {
	one := tarOf(files{"one": "1"})
	tests := []struct {
		name   string
		change func(f files, s *saved)
		want   string
	}{
		{"manifest.json is not JSON", func(f files, s *saved) { f["manifest.json"] = "[" }, "reading manifest.json:"},
		{"manifest.json is an object", func(f files, s *saved) { f["manifest.json"] = "{}" }, "reading manifest.json:"},
		{"manifest.json is null", func(f files, s *saved) { f["manifest.json"] = "null" }, "it holds no image"},
		{"empty element", func(f files, s *saved) { f["manifest.json"] = "[null]" }, "reading image 1 of manifest.json:"},
		{"large manifest.json", func(f files, s *saved) {
			f["manifest.json"] = strings.Repeat(" ", 4<<20+1)
		}, "bytes are too many"},
		{"missing config", func(f files, s *saved) { delete(f, s.Config) }, ".json: file does not exist"},
		{"config leads out", func(f files, s *saved) { s.Config = "../../etc/passwd" }, "reading ../../etc/passwd: file does not exist"},
		{"damaged config", func(f files, s *saved) {
			f[s.Config] = strings.Replace(f[s.Config], "linux", "xunil", 1)
		}, ".json: the content is damaged, its digest is sha256:"},
		{"large config", func(f files, s *saved) { f[s.Config] += strings.Repeat(" ", 4<<20) }, "bytes are too many"},
		{"config is not JSON", func(f files, s *saved) { s.Config = "config"; f["config"] = "]" }, "reading config: invalid character"},
		{"config is null", func(f files, s *saved) { s.Config = "config"; f["config"] = "null" }, "config config lists 0 layers, manifest.json lists 1"},
		{"more layers than in the config", func(f files, s *saved) {
			s.Layers = append(s.Layers, s.Layers[0])
		}, "lists 1 layers, manifest.json lists 2"},
		{"missing layer", func(f files, s *saved) { delete(f, s.Layers[0]) }, "reading layer 1: reading " + digestOf(one).Hex + "/layer.tar: file does not exist"},
		{"layer leads out", func(f files, s *saved) { s.Layers[0] = "../../../../etc/passwd" }, "reading layer 1: reading ../../../../etc/passwd: file does not exist"},
		{"layer of the host", func(f files, s *saved) { s.Layers[0] = "/etc/passwd" }, "reading layer 1: reading /etc/passwd: file does not exist"},
		{"config in the place of a layer", func(f files, s *saved) { s.Layers = []string{"manifest.json", s.Config} }, "lists 1 layers, manifest.json lists 2"},
		{"many layers", func(f files, s *saved) {
			cf := v1.ConfigFile{RootFS: v1.RootFS{DiffIDs: slices.Repeat([]v1.Hash{digestOf(one)}, 513)}}
			f["config"] = asJSON(cf)
			s.Config, s.Layers = "config", slices.Repeat(s.Layers, 513)
		}, "it lists 513 layers, the limit is 512"},
		{"repositories alone", func(f files, s *saved) {
			delete(f, "manifest.json")
			f["repositories"] = `{"server":{"v1":"../../etc"}}`
		}, "neither an OCI layout nor a docker archive"},
		{"layer's source in the place of what is there", func(f files, s *saved) {
			delete(f, s.Layers[0])
			s.LayerSources = map[string]v1.Descriptor{digestOf(one).String(): {MediaType: types.OCILayer, Digest: digestOf(one), Size: 1}}
		}, "reading layer 1, " + digestOf(one).String() + ": file does not exist"},
		{"hostile digest of a layer's source", func(f files, s *saved) {
			s.LayerSources = map[string]v1.Descriptor{"sha256:../../x": {Digest: digestOf(one)}}
		}, "reading manifest.json: found non-hex character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := files{}
			s := f.save("server:v1", one)
			f.listSaved(s)
			tt.change(f, &s)
			if manifest := asJSON([]saved{s}); strings.HasPrefix(f["manifest.json"], `[{`) {
				f["manifest.json"] = manifest
			}
			wantError(t, f.writeTar(t), tt.want)
		})
	}
}

// TestReadSavedLayerDamaged: a plain layer is verified with its DiffID.
func TestReadSavedLayerDamaged(t *testing.T) {
	f := files{}
	s := f.save("server:v1", tarOf(files{"one": "1"}))
	f[s.Layers[0]] = tarOf(files{"one": "2"})
	_, _, errs := readLayer(t, f.listSaved(s).writeTar(t))
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), "the content is damaged") {
		t.Errorf("reading: %v, want two errors", errs)
	}
}
