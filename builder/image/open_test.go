package image_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/image"
)

func open(t testing.TB, path string) *image.File {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// summary is what there is in a file, for comparing.
func summary(t testing.TB, f *image.File) []string {
	t.Helper()
	var lines []string
	for _, o := range f.Images {
		line := strings.Join(o.Names, " ") + ":"
		if o.Index != nil {
			line += " index"
			if err := validateComplete(o); err != nil {
				t.Errorf("validating index: %v", err)
			}
		}
		for _, p := range o.Images {
			line += " " + p.Platform.String()
			if err := validateImage(p.Image); err != nil {
				t.Errorf("validating %s: %v", p.Platform, err)
			}
		}
		for _, p := range o.Incomplete {
			line += " !" + p.Platform.String()
		}
		lines = append(lines, line)
	}
	return lines
}

// validateImage does what validate.Image does, and knows layers that are not
// gzip, which that takes for damaged.
func validateImage(img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	allGzip := true
	for _, l := range layers {
		mt, err := l.MediaType()
		if err != nil {
			return err
		}
		allGzip = allGzip && mt == types.OCILayer
		rc, err := l.Uncompressed()
		if err != nil {
			return err
		}
		got, _, err := v1.SHA256(rc)
		if err != nil {
			return err
		}
		want, err := l.DiffID()
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("layer has DiffID %s, its content %s", want, got)
		}
	}
	if allGzip {
		return validate.Image(img)
	}
	return validate.Image(img, validate.Fast)
}

func validateComplete(o image.Opened) error {
	if len(o.Incomplete) > 0 {
		return nil
	}
	return validate.Index(o.Index)
}

func TestOpen(t *testing.T) {
	f := newFiles()
	one, other := f.image(amd64, "one", "two"), f.image(arm64, "one", "three")
	noLayers := f.image(amd64)
	twice := f.image(amd64, "same", "same")
	idx := f.index(on(one, amd64), on(other, arm64))
	absent := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digestOf("absent"), Size: 500}
	noBlobs := newFiles()
	withAbsentLayer := noBlobs.image(arm64, "only here")
	f[blobPath(withAbsentLayer.Digest)] = noBlobs[blobPath(withAbsentLayer.Digest)]
	chart := f.blob(types.OCIManifestSchema1, asJSON(v1.Manifest{
		SchemaVersion: 2, Config: f.blob("application/vnd.cncf.helm.config.v1+json", "{}"),
	}))
	attestation := on(chart, v1.Platform{OS: "unknown", Architecture: "unknown"})
	marked := on(f.image(amd64, "attestation"), amd64)
	marked.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	v7 := v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}

	tests := []struct {
		name string
		list []v1.Descriptor
		want []string
	}{
		{"one image, platform from the config", []v1.Descriptor{one}, []string{": linux/amd64"}},
		{"platform from the descriptor", []v1.Descriptor{on(one, v7)}, []string{": linux/arm/v7"}},
		{"no layers", []v1.Descriptor{noLayers}, []string{": linux/amd64"}},
		{"a layer twice", []v1.Descriptor{twice}, []string{": linux/amd64"}},
		{
			"two tags of one image", []v1.Descriptor{
				named(one, "docker.io/library/server:v1", "v1"), named(one, "docker.io/library/server:v2", "v2"),
			}, []string{"docker.io/library/server:v1 docker.io/library/server:v2: linux/amd64"},
		},
		{"tag alone", []v1.Descriptor{named(one, "", "v1")}, []string{"v1: linux/amd64"}},
		{
			"two images", []v1.Descriptor{named(one, "", "one"), named(noLayers, "", "two")},
			[]string{"one: linux/amd64", "two: linux/amd64"},
		},
		{"an index in index.json", []v1.Descriptor{named(idx, "", "v1")}, []string{"v1: index linux/amd64 linux/arm64"}},
		{"index.json is the index", []v1.Descriptor{one, other}, []string{": index linux/amd64 linux/arm64"}},
		{
			"index.json is the index of one name", []v1.Descriptor{named(one, "", "v1"), named(other, "", "v1")},
			[]string{"v1: index linux/amd64 linux/arm64"},
		},
		{"unnamed images of one platform", []v1.Descriptor{one, noLayers}, []string{": linux/amd64", ": linux/amd64"}},
		{
			"a manifest of the index is absent", []v1.Descriptor{f.index(on(one, amd64), on(absent, arm64))},
			[]string{": index linux/amd64 !linux/arm64"},
		},
		{
			"a layer of the index is absent", []v1.Descriptor{f.index(on(one, amd64), on(withAbsentLayer, arm64))},
			[]string{": index linux/amd64 !linux/arm64"},
		},
		{
			"attestations", []v1.Descriptor{f.index(on(one, amd64), attestation, marked)},
			[]string{": index linux/amd64"},
		},
		{"a chart beside an image", []v1.Descriptor{chart, one}, []string{": linux/amd64"}},
		{
			"unknown media type beside an image",
			[]v1.Descriptor{f.blob("application/xml", "<x/>"), one},
			[]string{": linux/amd64"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := maps.Clone(f).list(tt.list...)
			for _, path := range []string{f.writeDir(t), f.writeTar(t)} {
				if diff := cmp.Diff(tt.want, summary(t, open(t, path))); diff != "" {
					t.Errorf("Open (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestOpenLayoutOfGGCR reads what another writer makes.
func TestOpenLayoutOfGGCR(t *testing.T) {
	idx, err := random.Index(100, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	for name, idx := range map[string]v1.ImageIndex{
		"nested":   mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: idx}),
		"as it is": idx,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := layout.Write(dir, idx); err != nil {
				t.Fatal(err)
			}
			for _, o := range open(t, dir).Images {
				for _, p := range o.Images {
					if err := validate.Image(p.Image); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	big := strings.Repeat(" ", 4<<20+1)
	// Every case starts from one good image, and changes something.
	tests := []struct {
		name   string
		change func(f files, desc v1.Descriptor)
		want   string
	}{
		{"missing manifest", func(f files, d v1.Descriptor) {
			delete(f, blobPath(d.Digest))
		}, "reading manifest sha256:DIGEST: file does not exist"},
		{"damaged manifest", func(f files, d v1.Descriptor) {
			f[blobPath(d.Digest)] = strings.Replace(f[blobPath(d.Digest)], "2", "3", 1)
		}, "reading manifest sha256:DIGEST: the content is damaged, its digest is sha256:"},
		{"truncated manifest", func(f files, d v1.Descriptor) {
			f[blobPath(d.Digest)] = f[blobPath(d.Digest)][1:]
		}, "bytes, not the"},
		{"missing config", func(f files, d v1.Descriptor) {
			delete(f, blobPath(f.manifest(d).Config.Digest))
		}, "reading manifest sha256:DIGEST: reading config sha256:"},
		{"damaged config", func(f files, d v1.Descriptor) {
			p := blobPath(f.manifest(d).Config.Digest)
			f[p] = strings.Replace(f[p], "linux", "xunil", 1)
		}, "the content is damaged"},
		{"missing layer", func(f files, d v1.Descriptor) {
			delete(f, blobPath(f.manifest(d).Layers[1].Digest))
		}, "reading manifest sha256:DIGEST: reading layer 2, sha256:"},
		{"truncated layer", func(f files, d v1.Descriptor) {
			p := blobPath(f.manifest(d).Layers[0].Digest)
			f[p] = f[p][:10]
		}, "reading manifest sha256:DIGEST: reading layer 1, sha256:"},
		{"all platforms of an index missing", func(f files, d v1.Descriptor) {
			f.list(f.index(on(d, amd64)))
			delete(f, blobPath(d.Digest))
		}, "reading index sha256:"},
		{"damage in an index", func(f files, d v1.Descriptor) {
			f.list(f.index(on(d, amd64), on(f.image(arm64), arm64)))
			f[blobPath(d.Digest)] = f[blobPath(d.Digest)][1:]
		}, "bytes, not the"},
		{"manifest listed as an index", func(f files, d v1.Descriptor) {
			d.MediaType = types.OCIImageIndex
			f.list(d)
		}, "it is listed as application/vnd.oci.image.index.v1+json and calls itself application/vnd.oci.image.manifest.v1+json"},
		{"manifest without a type listed as an index", func(f files, d v1.Descriptor) {
			f.list(f.blob(types.OCIImageIndex, `{"schemaVersion":2,"config":{},"layers":[]}`))
		}, "listed as application/vnd.oci.image.index.v1+json and its content is of another type"},
		{"index without a type listed as a manifest", func(f files, d v1.Descriptor) {
			f.list(f.blob(types.OCIManifestSchema1, `{"schemaVersion":2,"manifests":[]}`))
		}, "its content is of another type"},
		{"layers and manifests", func(f files, d v1.Descriptor) {
			f.list(f.blob(types.OCIManifestSchema1, `{"schemaVersion":2,"layers":[],"manifests":[]}`))
		}, "it has both layers and manifests"},
		{"index.json with layers", func(f files, d v1.Descriptor) {
			f["index.json"] = `{"schemaVersion":2,"layers":[]}`
		}, "reading index.json: it is listed as"},
		{"layers and manifests, in other letters", func(f files, d v1.Descriptor) {
			f.list(f.blob(types.OCIManifestSchema1, `{"schemaVersion":2,"LAYERS":[],"manifestſ":[]}`))
		}, "it has both layers and manifests"},
		{"a key twice", func(f files, d v1.Descriptor) {
			f.list(f.blob(types.OCIManifestSchema1, strings.Replace(f[blobPath(d.Digest)], "{", `{"layers":[],`, 1)))
		}, `it has "layers" twice`},
		{"a key twice, in other letters", func(f files, d v1.Descriptor) {
			f.list(f.blob(types.OCIManifestSchema1, strings.Replace(f[blobPath(d.Digest)], "{", `{"Layerſ":[],`, 1)))
		}, `it has "layers" twice`},
		{"artifact manifest", func(f files, d v1.Descriptor) {
			f.list(f.blob("application/vnd.oci.artifact.manifest.v1+json", `{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[]}`))
		}, "it holds no image"},
		{"config that is none", func(f files, d v1.Descriptor) {
			m := f.manifest(d)
			m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
			f.list(f.blob(types.OCIManifestSchema1, asJSON(m)))
		}, "it holds no image"},
		{"layer as the config", func(f files, d v1.Descriptor) {
			m := f.manifest(d)
			m.Config.Digest, m.Config.Size = m.Layers[0].Digest, m.Layers[0].Size
			f.list(f.blob(types.OCIManifestSchema1, asJSON(m)))
		}, "reading config sha256:"},
		{"manifest in the format of Docker listed as OCI's", func(f files, d v1.Descriptor) {
			m := f.manifest(d)
			m.MediaType = types.DockerManifestSchema2
			f.list(f.blob(types.OCIManifestSchema1, asJSON(m)))
		}, "it is listed as application/vnd.oci.image.manifest.v1+json and calls itself application/vnd.docker.distribution.manifest.v2+json"},
		{"schema 1", func(f files, d v1.Descriptor) {
			f.list(f.blob(types.DockerManifestSchema2, `{"schemaVersion":1,"fsLayers":[]}`))
		}, "its content is of another type"},
		{"index inside an index", func(f files, d v1.Descriptor) {
			f.list(f.index(f.index(d)))
		}, "in it is an index again"},
		{"fewer layers in the config", func(f files, d v1.Descriptor) {
			m := f.manifest(d)
			m.Layers = append(m.Layers, m.Layers[0])
			f.list(f.blob(types.OCIManifestSchema1, asJSON(m)))
		}, "it lists 2 layers, manifest sha256:"},
		{"config is not JSON", func(f files, d v1.Descriptor) {
			m := f.manifest(d)
			m.Config = f.blob(types.OCIConfigJSON, "{")
			f.list(f.blob(types.OCIManifestSchema1, asJSON(m)))
		}, "reading config sha256:"},
		{"manifest is not JSON", func(f files, d v1.Descriptor) {
			f.list(f.blob(types.OCIManifestSchema1, "{}{}"))
		}, "invalid character"},
		{"digest that leads out", func(f files, d v1.Descriptor) {
			f["index.json"] = strings.ReplaceAll(f["index.json"], d.Digest.String(), "sha256:../../../../etc/passwd")
		}, "reading index.json: found non-hex character in hash"},
		{"digest in capital letters", func(f files, d v1.Descriptor) {
			f["index.json"] = strings.ReplaceAll(f["index.json"], d.Digest.Hex, strings.ToUpper(d.Digest.Hex))
		}, "reading index.json: found non-hex character in hash"},
		{"digest that is short", func(f files, d v1.Descriptor) {
			f["index.json"] = strings.ReplaceAll(f["index.json"], d.Digest.Hex, d.Digest.Hex[:40])
		}, "reading index.json: wrong number of hex digits for sha256"},
		{"digest of SHA-512", func(f files, d v1.Descriptor) {
			d.Digest = v1.Hash{Algorithm: "sha512", Hex: strings.Repeat("0", 128)}
			f.list(d)
		}, ": only sha256 digests are supported"},
		{"layer with a digest that leads out", func(f files, d v1.Descriptor) {
			raw := strings.Replace(f[blobPath(d.Digest)], f.manifest(d).Layers[0].Digest.String(), "sha256:../../x", 1)
			f.list(f.blob(types.OCIManifestSchema1, raw))
		}, "found non-hex character in hash"},
		{"digest of an unknown algorithm", func(f files, d v1.Descriptor) {
			f["index.json"] = strings.ReplaceAll(f["index.json"], "sha256:", "md5:")
		}, `reading index.json: unsupported hash: "md5"`},
		{"descriptor without a digest", func(f files, d v1.Descriptor) {
			f["index.json"] = `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json"}]}`
		}, "has no digest"},
		{"negative size", func(f files, d v1.Descriptor) {
			d.Size = -1
			f.list(d)
		}, "not the -1 it is listed with"},
		{"large index.json", func(f files, d v1.Descriptor) {
			f["index.json"] += big
		}, "bytes are too many, the limit is 4194304"},
		{"large manifest", func(f files, d v1.Descriptor) {
			f.list(f.blob(types.OCIManifestSchema1, f[blobPath(d.Digest)]+big))
		}, "bytes are too many, the limit is 4194304"},
		{"large config", func(f files, d v1.Descriptor) {
			m := f.manifest(d)
			m.Config = f.blob(types.OCIConfigJSON, f[blobPath(m.Config.Digest)]+big)
			f.list(f.blob(types.OCIManifestSchema1, asJSON(m)))
		}, "bytes are too many, the limit is 4194304"},
		{"too many manifests", func(f files, d v1.Descriptor) {
			var all []v1.Descriptor
			for i := range 1025 {
				m := f.manifest(d)
				m.Annotations = map[string]string{"n": fmt.Sprint(i)}
				all = append(all, f.blob(types.OCIManifestSchema1, asJSON(m)))
			}
			f.list(all...)
		}, "there are more than 1024"},
		{"too many layers", func(f files, d v1.Descriptor) {
			m := f.manifest(d)
			m.Layers = slices.Repeat(m.Layers[:1], 513)
			f.list(f.blob(types.OCIManifestSchema1, asJSON(m)))
		}, "it lists 513 layers, the limit is 512"},
		{"manifests that are large together", func(f files, d v1.Descriptor) {
			var all []v1.Descriptor
			for i := range 9 {
				m := f.manifest(d)
				m.Annotations = map[string]string{"n": fmt.Sprint(i)}
				all = append(all, f.blob(types.OCIManifestSchema1, asJSON(m)+strings.Repeat(" ", 4<<20-2000)))
			}
			f.list(all...)
		}, "all manifests and configs so far have more than 33554432 bytes, which is the limit"},
		{"unknown layout version", func(f files, d v1.Descriptor) {
			f["oci-layout"] = `{"imageLayoutVersion":"2.0.0"}`
		}, `layout version "2.0.0"`},
		{"oci-layout is not JSON", func(f files, d v1.Descriptor) {
			f["oci-layout"] = `1.0.0`
		}, "reading oci-layout:"},
		{"index.json is not JSON", func(f files, d v1.Descriptor) {
			f["index.json"] = ``
		}, "reading index.json:"},
		{"no index.json", func(f files, d v1.Descriptor) {
			delete(f, "index.json")
		}, "neither an OCI layout nor a docker archive"},
		{"no image", func(f files, d v1.Descriptor) {
			f.list()
		}, "it holds no image"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFiles()
			desc := f.image(amd64, "one", "two")
			tt.change(f.list(desc), desc)
			for _, path := range []string{f.writeDir(t), f.writeTar(t)} {
				wantError(t, path, strings.ReplaceAll(tt.want, "DIGEST", desc.Digest.Hex))
			}
		})
	}
}

// wantError checks that opening path fails, with a message that names the path.
func wantError(t *testing.T, path, want string) {
	t.Helper()
	f, err := image.Open(path)
	if err == nil {
		_ = f.Close()
		t.Fatalf("Open gave no error, want one with %q", want)
	}
	if !strings.HasPrefix(err.Error(), "opening "+path+": ") || !strings.Contains(err.Error(), want) {
		t.Errorf("Open: %v\nwant it to have %q", err, want)
	}
	if strings.Count(err.Error(), path+": ") > 1 {
		t.Errorf("Open: %v\nwant the path once", err)
	}
}

func TestOpenRefusesFile(t *testing.T) {
	f := newFiles()
	good := tarOf(f.list(f.image(amd64, strings.Repeat("x", 5000))))
	manyFiles := files{}
	for i := range 1<<16 + 1 {
		manyFiles[fmt.Sprint(i)] = ""
	}
	paxSparse := "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n35 GNU.sparse.realsize=99999999999\n"
	tests := []struct{ name, content, want string }{
		{"empty", "", "the file is empty"},
		{"one byte", "x", "truncated"},
		{"text", strings.Repeat("hello, world\n", 100), "not a tar archive"},
		{"zeros", strings.Repeat("\x00", 10240), "neither an OCI layout nor a docker archive"},
		{"gzip", gzipped(good), "compressed with gzip: decompress it first with gunzip"},
		{"zstd", zstded(good), "compressed with zstd: decompress it first with unzstd"},
		{"xz", "\xfd7zXZ\x00rest", "compressed with xz: decompress it first with unxz"},
		{"bzip2", "BZh91AY", "compressed with bzip2: decompress it first with bunzip2"},
		{"cut in a header", good[:700], "truncated"},
		{"cut in the content", good[:1400], "the archive is truncated: "},
		{"entry twice", tarWith(f,
			tar.Header{Name: "index.json", Typeflag: tar.TypeReg},
			tar.Header{Name: "./index.json", Typeflag: tar.TypeReg},
		), "reading entry index.json: it is there twice"},
		{"link loop", tarWith(nil,
			tar.Header{Name: "index.json", Typeflag: tar.TypeSymlink, Linkname: "a"},
			tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "index.json"},
		), "reading index.json: too many symbolic links"},
		{"link out of the archive", tarWith(nil,
			tar.Header{Name: "index.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		), "neither an OCI layout nor a docker archive"},
		{"symbolic link of the host", tarWith(nil,
			tar.Header{Name: "oci-layout", Typeflag: tar.TypeSymlink, Linkname: "/proc/self/environ"},
			tar.Header{Name: "manifest.json", Typeflag: tar.TypeLink, Linkname: "../../../etc/passwd"},
		), "neither an OCI layout nor a docker archive"},
		{"name that is too long", tarWith(nil, tar.Header{Name: strings.Repeat("/x", 2500), Typeflag: tar.TypeReg}), "its name is longer than 4096 bytes"},
		{"name that moves the cursor", tarWith(nil,
			tar.Header{Name: "\x1b[2J", Typeflag: tar.TypeReg}, tar.Header{Name: "\x1b[2J", Typeflag: tar.TypeReg},
		), `reading entry "\x1b[2J": it is there twice`},
		{"many entries", tarOf(manyFiles), "there are more than 65536, which is the limit"},
		{"sparse entry", block(tar.TypeGNUSparse, "index.json", 0, map[int]string{257: "ustar  \x00", 483: "77777777777"}),
			"reading entry index.json: sparse files are not supported"},
		{"sparse entry of pax", block(tar.TypeXHeader, "x", len(paxSparse), nil) + padded(paxSparse) +
			block(tar.TypeReg, "index.json", 512, nil) + padded("0\n"),
			"reading entry index.json: sparse files are not supported"},
		{"size of eight exabytes", block(tar.TypeReg, "index.json", 0, map[int]string{124: "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\x00"}),
			"reading entry index.json: the archive is truncated: 9223372036854775"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantError(t, writeFile(t, tt.content), tt.want) })
	}
}

func TestOpenRefusesPath(t *testing.T) {
	t.Run("missing", func(t *testing.T) {
		wantError(t, filepath.Join(t.TempDir(), "none"), "no such file")
	})
	t.Run("directory without oci-layout", func(t *testing.T) {
		wantError(t, t.TempDir(), "not an OCI layout: reading oci-layout: no such file")
	})
	t.Run("device", func(t *testing.T) {
		if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
			t.Skip("there is no device to try it with")
		}
		wantError(t, os.DevNull, "neither a file nor a directory")
	})
	t.Run("error is fs.ErrNotExist", func(t *testing.T) {
		if _, err := image.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open: %v, want fs.ErrNotExist", err)
		}
	})
	t.Run("blob is a link out of the layout", func(t *testing.T) {
		f := newFiles()
		desc := f.image(amd64)
		dir := f.list(desc).writeDir(t)
		blob := filepath.Join(dir, blobPath(desc.Digest))
		outside := filepath.Join(t.TempDir(), "blob")
		if err := os.Rename(blob, outside); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, blob); err != nil {
			t.Skip(err)
		}
		wantError(t, dir, "it is a symbolic link: copy the layout with cp -rL")
	})
	t.Run("blob is a link in the layout", func(t *testing.T) {
		f := newFiles()
		desc := f.image(amd64)
		f["elsewhere"] = f[blobPath(desc.Digest)]
		dir := f.list(desc).writeDir(t)
		blob := filepath.Join(dir, blobPath(desc.Digest))
		if err := os.Remove(blob); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../../elsewhere", blob); err != nil {
			t.Skip(err)
		}
		wantError(t, dir, "it is a symbolic link: copy the layout with cp -rL")
	})
	t.Run("directory of blobs is a link out of the layout", func(t *testing.T) {
		f := newFiles()
		dir := f.list(f.image(amd64)).writeDir(t)
		blobs, outside := filepath.Join(dir, "blobs"), filepath.Join(t.TempDir(), "blobs")
		if err := os.Rename(blobs, outside); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, blobs); err != nil {
			t.Skip(err)
		}
		wantError(t, dir, "path escapes from parent")
	})
	t.Run("blob is a directory", func(t *testing.T) {
		f := newFiles()
		desc := f.image(amd64)
		content := f.list(desc)[blobPath(desc.Digest)]
		delete(f, blobPath(desc.Digest))
		f[blobPath(desc.Digest)+"/x"] = content
		wantError(t, f.writeDir(t), "not a regular file")
	})
}
