package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

var (
	amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = v1.Platform{OS: "linux", Architecture: "arm64"}
)

// files is a layout or an archive in the making: contents by name.
type files map[string]string

// newFiles returns a layout that lists the given descriptors.
func newFiles() files { return files{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`} }

// blob adds content and describes it.
func (f files) blob(mt types.MediaType, content string) v1.Descriptor {
	h, n, err := v1.SHA256(strings.NewReader(content))
	if err != nil {
		panic(err)
	}
	f[blobPath(h)] = content
	return v1.Descriptor{MediaType: mt, Digest: h, Size: n}
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// image adds an image with one gzip layer a file of content, and describes it.
func (f files) image(p v1.Platform, layers ...string) v1.Descriptor {
	cf := v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}}}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{}}
	for _, l := range layers {
		plain := tarOf(map[string]string{"content": l})
		cf.RootFS.DiffIDs = append(cf.RootFS.DiffIDs, digestOf(plain))
		m.Layers = append(m.Layers, f.blob(types.OCILayer, gzipped(plain)))
	}
	m.Config = f.blob(types.OCIConfigJSON, asJSON(cf))
	return f.blob(types.OCIManifestSchema1, asJSON(m))
}

// index adds an index over descs, and describes it.
func (f files) index(descs ...v1.Descriptor) v1.Descriptor {
	return f.blob(types.OCIImageIndex, asJSON(v1.IndexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: descs,
	}))
}

// list writes index.json.
func (f files) list(descs ...v1.Descriptor) files {
	f["index.json"] = asJSON(v1.IndexManifest{SchemaVersion: 2, Manifests: descs})
	return f
}

// manifest returns the manifest that desc stands for.
func (f files) manifest(desc v1.Descriptor) *v1.Manifest {
	m, err := v1.ParseManifest(strings.NewReader(f[blobPath(desc.Digest)]))
	if err != nil {
		panic(err)
	}
	return m
}

// writeDir makes a directory of f.
func (f files) writeDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range f {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// writeTar makes a tar of f.
func (f files) writeTar(t testing.TB) string { return writeFile(t, tarOf(f)) }

func writeFile(t testing.TB, content string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func tarOf(f files) string {
	var headers []tar.Header
	for _, name := range slices.Sorted(maps.Keys(f)) {
		headers = append(headers, tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644})
	}
	return tarWith(f, headers...)
}

// tarWith writes headers with the contents that f has for their names.
func tarWith(f files, headers ...tar.Header) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Size = int64(len(f[h.Name]))
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
		if _, err := io.WriteString(w, f[h.Name]); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func zstded(s string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return string(w.EncodeAll([]byte(s), nil))
}

func digestOf(s string) v1.Hash {
	h, _, _ := v1.SHA256(strings.NewReader(s))
	return h
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func on(d v1.Descriptor, p v1.Platform) v1.Descriptor {
	d.Platform = &p
	return d
}

func named(d v1.Descriptor, full, ref string) v1.Descriptor {
	d.Annotations = map[string]string{}
	if full != "" {
		d.Annotations["io.containerd.image.name"] = full
	}
	if ref != "" {
		d.Annotations["org.opencontainers.image.ref.name"] = ref
	}
	return d
}

// block returns a tar header block for content of the given size, which a
// tar.Writer refuses to write: of any type, and with raw bytes at offsets.
func block(typeflag byte, name string, size int, raw map[int]string) string {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00"+fmt.Sprintf("%011o\x00", size)+"00000000000\x00        ")
	b[156] = typeflag
	copy(b[257:], "ustar\x0000")
	for at, s := range raw {
		copy(b[at:], s)
	}
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(b)
}

// padded is content with the zeros that follow it in a tar.
func padded(content string) string {
	return content + strings.Repeat("\x00", -len(content)&511)
}
