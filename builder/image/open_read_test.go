package image_test

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/image/hostile"
)

// layered adds an image whose layers are the given blobs, of which the config
// knows no more than the number.
func (f files) layered(layers ...v1.Descriptor) v1.Descriptor {
	cf := v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		cf.RootFS.DiffIDs = append(cf.RootFS.DiffIDs, l.Digest)
	}
	return f.blob(types.OCIManifestSchema1, asJSON(v1.Manifest{
		SchemaVersion: 2, Layers: layers, Config: f.blob(types.OCIConfigJSON, asJSON(cf)),
	}))
}

// readLayer reads the first layer of the only image both ways.
func readLayer(t *testing.T, path string) (compressed, plain string, errs []error) {
	t.Helper()
	layers, err := open(t, path).Images[0].Images[0].Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var got [2]string
	for i, read := range []func() (io.ReadCloser, error){layers[0].Compressed, layers[0].Uncompressed} {
		rc, err := read()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		b, err := io.ReadAll(rc)
		if err != nil {
			errs = append(errs, err)
		}
		if err := rc.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		got[i] = string(b)
	}
	return got[0], got[1], errs
}

func TestReadLayer(t *testing.T) {
	plain := tarOf(files{"etc/passwd": strings.Repeat("root:x:0:0\n", 1000)})
	for _, tt := range []struct {
		name, content string
		mediaType     types.MediaType
	}{
		{"gzip", gzipped(plain), types.OCILayer},
		{"gzip of several members", gzipped(plain[:700]) + gzipped(plain[700:]), types.OCILayer},
		{"zstd", zstded(plain), types.OCILayerZStd},
		{"zstd with the largest window", hostile.ZstdWindow(27), types.OCILayerZStd},
		{"plain", plain, types.OCIUncompressedLayer},
		{"plain, wrong media type", plain, types.DockerLayer},
		{"empty", "", types.OCIUncompressedLayer},
		{"one byte", "x", types.OCILayer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := plain
			if len(tt.content) < 2 {
				want = tt.content
			} else if strings.HasPrefix(tt.name, "zstd with") {
				want = "x"
			}
			f := newFiles()
			f.list(f.layered(f.blob(tt.mediaType, tt.content)))
			for _, path := range []string{f.writeDir(t), f.writeTar(t)} {
				compressed, got, errs := readLayer(t, path)
				if diff := cmp.Diff([]string{tt.content, want}, []string{compressed, got}); diff != "" || errs != nil {
					t.Errorf("layer (-want +got):\n%s%v", diff, errs)
				}
			}
		})
	}
}

func TestReadLayerDamaged(t *testing.T) {
	plain := tarOf(files{"etc/passwd": strings.Repeat("root:x:0:0\n", 1000)})
	gz, zst := gzipped(plain), zstded(plain)
	flip := func(s string, at int) string { return s[:at] + string([]byte{s[at] ^ 1}) + s[at+1:] }
	tests := []struct{ name, content, damaged string }{
		{"plain", plain, flip(plain, 600)},
		{"gzip header", gz, flip(gz, 2)},
		{"gzip magic", gz, flip(gz, 0)},
		{"gzip content", gz, flip(gz, len(gz)/2)},
		{"gzip checksum", gz, flip(gz, len(gz)-6)},
		{"gzip time, which decompression ignores", gz, flip(gz, 5)},
		{"zstd header", zst, flip(zst, 5)},
		{"zstd content", zst, flip(zst, len(zst)/2)},
		{"after the content", gz + "x", gz + "y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFiles()
			layer := f.blob(types.OCILayer, tt.content)
			f.list(f.layered(layer))
			f[blobPath(layer.Digest)] = tt.damaged
			for _, path := range []string{f.writeDir(t), f.writeTar(t)} {
				_, _, errs := readLayer(t, path)
				want := "reading layer " + layer.Digest.String() + " of " + path +
					": the content is damaged, its digest is " + digestOf(tt.damaged).String()
				if len(errs) != 2 {
					t.Errorf("got %d errors, want one for each way of reading: %v", len(errs), errs)
				}
				for _, err := range errs {
					if err.Error() != want {
						t.Errorf("reading: %v\nwant: %s", err, want)
					}
				}
			}
		})
	}
}

// TestReadLayerRefused has blobs that are what their digest says and cannot be
// decompressed all the same.
func TestReadLayerRefused(t *testing.T) {
	gz := gzipped(strings.Repeat("x", 5000))
	tests := []struct{ name, content, want string }{
		{"gzip cut off", gz[:len(gz)-10], "unexpected EOF"},
		{"gzip without a header", "\x1f\x8b", "unexpected EOF"},
		{"gzip with something after it", gz + "something else", "gzip: invalid header"},
		// A frame header that asks for a window of 1 GiB, and one raw block.
		{"zstd window of a gigabyte", "\x28\xb5\x2f\xfd\x00\xa0\x09\x00\x00x", "window size"},
		{"zstd content of eight exabytes", "\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x09\x00\x00x", "size exceeds configured limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFiles()
			f.list(f.layered(f.blob(types.OCILayer, tt.content)))
			_, _, errs := readLayer(t, f.writeTar(t))
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.want) {
				t.Errorf("reading: %v, want %q", errs, tt.want)
			}
		})
	}
}

func TestLayersElsewhere(t *testing.T) {
	f := newFiles()
	missing := v1.Descriptor{MediaType: types.OCIRestrictedLayer, Digest: digestOf("windows"), Size: 7}
	withURL := v1.Descriptor{MediaType: types.OCILayer, Digest: digestOf("url"), Size: 3, URLs: []string{"https://example.com"}}
	f.list(f.layered(missing, withURL))
	o := open(t, f.writeTar(t)).Images[0]
	layers, err := o.Images[0].Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if desc, err := partial.Descriptor(layers[1]); err != nil || !cmp.Equal(*desc, withURL) {
		t.Errorf("descriptor is %v, %v, want %v", desc, err, withURL)
	}
	for _, l := range layers {
		if _, err := l.Compressed(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Compressed: %v, want fs.ErrNotExist", err)
		}
		if _, err := l.Uncompressed(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Uncompressed: %v, want fs.ErrNotExist", err)
		}
	}
}

// TestPush sends an index with all that may be in it through a registry.
func TestPush(t *testing.T) {
	f := newFiles()
	attestation := f.blob(types.OCIManifestSchema1, asJSON(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: f.blob(types.OCIEmptyJSON, "{}"),
		Layers: []v1.Descriptor{f.blob("application/vnd.in-toto+json", `{"sbom":true}`)},
	}))
	idx := f.index(on(f.image(amd64, "one"), amd64), on(f.image(arm64, "two"), arm64),
		on(attestation, v1.Platform{OS: "unknown", Architecture: "unknown"}), f.blob("application/x-tar", gzipped(tarOf(files{"x": ""}))))
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	ref, err := name.ParseReference(strings.TrimPrefix(s.URL, "http://") + "/server:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, open(t, f.list(idx).writeTar(t)).Images[0].Index); err != nil {
		t.Fatal(err)
	}
	pushed, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(pushed); err != nil {
		t.Error(err)
	}
	if got, err := pushed.Digest(); got != idx.Digest || err != nil {
		t.Errorf("pushed %s (%v), want %s", got, err, idx.Digest)
	}
}

// TestArtifact opens an image whose config says nothing about its layers.
func TestArtifact(t *testing.T) {
	f := newFiles()
	artifact := f.blob(types.OCIManifestSchema1, asJSON(v1.Manifest{
		SchemaVersion: 2, Config: f.blob(types.OCIEmptyJSON, "{}"),
		Layers: []v1.Descriptor{f.blob(types.OCILayer, gzipped("content"))},
	}))
	f.list(f.index(artifact, f.image(amd64)))
	img, err := open(t, f.writeTar(t)).Images[0].Index.Image(artifact.Digest)
	if err != nil {
		t.Fatal(err)
	}
	l, err := img.LayerByDiffID(digestOf("content"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Digest(); got != digestOf(gzipped("content")) || err != nil {
		t.Errorf("digest is %s, %v", got, err)
	}
	if err := validate.Image(img, validate.Fast); err != nil {
		t.Error(err)
	}
	config, err := img.LayerByDigest(digestOf("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := config.Size(); got != 2 || err != nil {
		t.Errorf("config has size %d, %v, want 2", got, err)
	}
}

func TestIndexRefuses(t *testing.T) {
	f := newFiles()
	there, absent := f.image(amd64, "one"), v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digestOf("absent")}
	o := open(t, f.list(f.index(on(there, amd64), on(absent, arm64))).writeTar(t)).Images[0]
	for _, h := range []v1.Hash{absent.Digest, digestOf("not listed"), {}} {
		if _, err := o.Index.Image(h); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Image(%s): %v, want fs.ErrNotExist", h, err)
		}
		if _, err := o.Index.ImageIndex(h); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ImageIndex(%s): %v, want fs.ErrNotExist", h, err)
		}
	}
	img := o.Images[0].Image
	for _, h := range []v1.Hash{digestOf("not listed"), {}} {
		if _, err := img.LayerByDigest(h); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("LayerByDigest(%s): %v, want fs.ErrNotExist", h, err)
		}
		if _, err := img.LayerByDiffID(h); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("LayerByDiffID(%s): %v, want fs.ErrNotExist", h, err)
		}
	}
}

// TestReadConcurrently matters under the race detector.
func TestReadConcurrently(t *testing.T) {
	f := newFiles()
	f.list(f.index(on(f.image(amd64, "one", "two"), amd64), on(f.image(arm64, "one", "three"), arm64)))
	idx := open(t, f.writeTar(t)).Images[0].Index
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := validate.Index(idx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestReadAfterClose(t *testing.T) {
	f := newFiles()
	f.list(f.image(amd64, "one"))
	for _, path := range []string{f.writeDir(t), f.writeTar(t)} {
		file, err := image.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := file.Images[0].Images[0].Image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		rc, err := layers[0].Compressed()
		if err == nil {
			_, err = io.ReadAll(rc)
		}
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("reading a layer of %s: %v, want fs.ErrClosed", path, err)
		}
	}
}

// TestBlobsReadLazily removes the layers after a layout was opened.
func TestBlobsReadLazily(t *testing.T) {
	f := newFiles()
	desc := f.image(amd64, "one")
	dir := f.list(desc).writeDir(t)
	file := open(t, dir)
	layer := f.manifest(desc).Layers[0].Digest
	if err := os.Remove(filepath.Join(dir, blobPath(layer))); err != nil {
		t.Fatal(err)
	}
	l, err := file.Images[0].Images[0].Image.LayerByDigest(layer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Compressed(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Compressed: %v, want fs.ErrNotExist", err)
	}
}

// TestOpenLinks has blobs that are links within the archive, as old versions
// of Docker wrote layers that were there twice.
func TestOpenLinks(t *testing.T) {
	f := newFiles()
	desc := f.image(amd64, "one")
	f.list(desc)
	blob := blobPath(desc.Digest)
	headers := []tar.Header{
		{Name: "./" + blob, Typeflag: tar.TypeSymlink, Linkname: "../../real"},
		{Name: "/hard", Typeflag: tar.TypeLink, Linkname: "./index"},
		{Name: "index.json", Typeflag: tar.TypeSymlink, Linkname: "hard"},
	}
	f["real"], f["index"] = f[blob], f["index.json"]
	delete(f, "index.json")
	delete(f, blob)
	for name := range f {
		headers = append(headers, tar.Header{Name: name, Typeflag: tar.TypeReg})
	}
	path := writeFile(t, tarWith(f, headers...))
	if diff := cmp.Diff([]string{": linux/amd64"}, summary(t, open(t, path))); diff != "" {
		t.Errorf("Open (-want +got):\n%s", diff)
	}
}
