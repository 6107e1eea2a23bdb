package output_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/layer"
	"github.com/stagectl/stagectl/builder/output"
)

// archive writes results to memory.
func archive(t testing.TB, a output.Archive, results ...image.Result) []byte {
	t.Helper()
	var out bytes.Buffer
	a.Writer = &out
	written, err := a.Write(t.Context(), results)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]output.Written{{Kind: "archive"}}, written); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	return out.Bytes()
}

// several is two images, one of them for two platforms and with two tags, that
// have a layer in common.
func several(t testing.TB) []image.Result {
	t.Helper()
	m := multi(t, "multi:v1", "example.com/team/multi:v2")
	one := newImage(t, amd64, newLayer(t, "common", 5000), newLayer(t, "server", 1000))
	return []image.Result{m, newResult("server", []image.Platform{one}, "server:latest")}
}

func TestArchiveListing(t *testing.T) {
	results := several(t)
	out := archive(t, output.Archive{Docker: true, Host: arm64}, results...)

	want := []string{
		"-rw-r--r-- oci-layout", "-rw-r--r-- index.json", "-rw-r--r-- manifest.json",
		"drwxr-xr-x blobs/", "drwxr-xr-x blobs/sha256/",
	}
	seen := map[string]bool{}
	blob := func(h v1.Hash) {
		if !seen[h.Hex] {
			seen[h.Hex] = true
			want = append(want, "-rw-r--r-- blobs/sha256/"+h.Hex)
		}
	}
	for _, r := range results {
		for _, p := range r.Images {
			m, err := p.Image.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range m.Layers {
				blob(l.Digest)
			}
			blob(m.Config.Digest)
			blob(digestOf(t, p.Image))
		}
		if r.Index != nil {
			blob(digestOf(t, r.Index))
		}
	}
	var got []string
	for tr := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.FileInfo().Mode().String()+" "+h.Name)
		if h.Uid != 0 || h.Gid != 0 || h.Uname+h.Gname != "" || h.ModTime.Unix() != 0 || h.Format != tar.FormatUSTAR {
			t.Errorf("%s has facts of the host: %+v", h.Name, h)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		digest, _, _ := v1.SHA256(bytes.NewReader(content))
		if hex, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok && hex != "" && hex != digest.Hex {
			t.Errorf("%s has another content", h.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if !bytes.HasSuffix(out, make([]byte, 1024)) {
		t.Error("the end of the tar is missing")
	}
}

func TestArchiveReproducible(t *testing.T) {
	a := output.Archive{Docker: true, Host: amd64}
	first := archive(t, a, several(t)...)
	a.Jobs = 8
	if second := archive(t, a, several(t)...); !bytes.Equal(first, second) {
		t.Error("the second archive differs from the first")
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	a.Path = file
	written, err := a.Write(t.Context(), several(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]output.Written{{Kind: "archive", Where: file, Size: int64(len(first))}}, written); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	if readFile(t, file) != string(first) {
		t.Error("the file differs from what goes to a writer")
	}
}

func TestArchiveIndexes(t *testing.T) {
	results := several(t)
	untagged := results[1]
	untagged.Tags = nil
	results = append(results, untagged)
	out := archive(t, output.Archive{Docker: true, Host: amd64}, results...)
	dir := untar(t, out)

	entry := func(d v1.Descriptor, imageName, tag string) string {
		return fmt.Sprintf(`{"mediaType":%q,"size":%d,"digest":%q,"annotations":{"io.containerd.image.name":%q,"org.opencontainers.image.ref.name":%q}}`,
			d.MediaType, d.Size, d.Digest, imageName, tag)
	}
	idx, err := image.Describe(results[0].Index)
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Describe(results[1].Images[0].Image)
	if err != nil {
		t.Fatal(err)
	}
	platform := `,"platform":{"architecture":"amd64","os":"linux"}}`
	want := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join([]string{
		entry(idx, "docker.io/library/multi:v1", "v1"),
		entry(idx, "example.com/team/multi:v2", "v2"),
		strings.TrimSuffix(entry(img, "docker.io/library/server:latest", "latest"), "}") + platform,
		fmt.Sprintf(`{"mediaType":%q,"size":%d,"digest":%q`, img.MediaType, img.Size, img.Digest) + platform,
	}, ",") + "]}"
	if diff := cmp.Diff(want, readFile(t, filepath.Join(dir, "index.json"))); diff != "" {
		t.Errorf("index.json (-want +got):\n%s", diff)
	}

	one, two := savedEntry(t, results[0].Images[0], "multi:v1", "example.com/team/multi:v2"), savedEntry(t, untagged.Images[0], "server:latest")
	want = asJSON(t, []saved{one, two, {Config: two.Config, Layers: two.Layers}})
	if diff := cmp.Diff(want, readFile(t, filepath.Join(dir, "manifest.json"))); diff != "" {
		t.Errorf("manifest.json (-want +got):\n%s", diff)
	}
	if got := readFile(t, filepath.Join(dir, "oci-layout")); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout: %s", got)
	}
}

// saved is an entry of manifest.json.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func savedEntry(t testing.TB, p image.Platform, tags ...string) saved {
	t.Helper()
	m, err := p.Image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	e := saved{Config: "blobs/sha256/" + m.Config.Digest.Hex, RepoTags: tags, Layers: []string{}}
	for _, l := range m.Layers {
		e.Layers = append(e.Layers, "blobs/sha256/"+l.Digest.Hex)
	}
	return e
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestArchiveHost(t *testing.T) {
	windows := newImage(t, v1.Platform{OS: "windows", Architecture: "arm64"})
	v6, v7, v8 := newImage(t, armv6), newImage(t, armv7), newImage(t, arm64)
	all := []image.Platform{windows, v6, v7, v8}
	tests := []struct {
		name   string
		images []image.Platform
		host   v1.Platform
		want   image.Platform
	}{
		{"same", all, arm64, v8},
		{"same variant", all, armv7, v7},
		{"same lower variant", all, armv6, v6},
		{"the usual variant", all, v1.Platform{OS: "linux", Architecture: "arm"}, v7},
		{"lower variant", []image.Platform{v8, v6}, armv7, v6},
		{"higher variant only", []image.Platform{v8, v7}, armv6, v8},
		{"another", all, amd64, windows},
		{"unknown", all, v1.Platform{}, windows},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := untar(t, archive(t, output.Archive{Docker: true, Host: tt.host}, newResult("x", tt.images, "x:v1")))
			want := asJSON(t, []saved{savedEntry(t, tt.want, "x:v1")})
			if diff := cmp.Diff(want, readFile(t, filepath.Join(dir, "manifest.json"))); diff != "" {
				t.Errorf("manifest.json (-want +got):\n%s", diff)
			}
		})
	}
}

// What we write, everybody reads.
func TestArchiveReadBack(t *testing.T) {
	results := several(t)
	file := filepath.Join(t.TempDir(), "image.tar")
	for _, docker := range []bool{true, false} {
		a := &output.Archive{Path: file, Docker: docker, Host: arm64}
		if _, err := a.Write(t.Context(), results); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"docker.io/library/multi:v1 example.com/team/multi:v2 " + digestOf(t, results[0].Index).String() + " linux/amd64 linux/arm64",
			"docker.io/library/server:latest " + digestOf(t, results[1].Images[0].Image).String() + " linux/amd64",
		}
		if diff := cmp.Diff(want, describe(t, file)); diff != "" {
			t.Errorf("by image.Open (-want +got):\n%s", diff)
		}
		dir := untar(t, []byte(readFile(t, file)))
		idx, err := layout.ImageIndexFromPath(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(idx); err != nil {
			t.Errorf("by ggcr's layout: %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "manifest.json")); docker != (err == nil) {
			t.Errorf("docker %t: manifest.json: %v", docker, err)
		}
		if !docker {
			continue
		}
		for tag, want := range map[string]image.Platform{
			"multi:v1": results[0].Images[1], "example.com/team/multi:v2": results[0].Images[1], "server:latest": results[1].Images[0],
		} {
			readTarball(t, file, tag, want.Image)
		}
	}
}

// readTarball reads the docker archive with ggcr.
func readTarball(t *testing.T, file, tag string, want v1.Image) {
	t.Helper()
	ref, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(file, &ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Errorf("%s by ggcr's tarball: %v", tag, err)
	}
	got, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	m, err := want.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if got.Config.Digest != m.Config.Digest || len(got.Layers) != len(m.Layers) {
		t.Errorf("%s by ggcr's tarball is another image: %+v", tag, got)
	}
}

// An image that was read from a file can be written again, with all that its
// index lists.
func TestArchiveOfOpened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.tar")
	writeFile(t, file, string(archive(t, output.Archive{}, multi(t, "multi:v1"))))
	f, err := image.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := f.Images[0]
	again := archive(t, output.Archive{}, image.Result{Tags: []string{"multi:v1"}, Images: o.Images[:1], Index: o.Index})
	if readFile(t, file) != string(again) {
		t.Error("the copy differs")
	}
}

// A layer that may not be distributed stays where the image says it is.
func TestArchiveForeignLayer(t *testing.T) {
	own := newLayer(t, "server", 1000)
	img := newImage(t, amd64, foreign{newLayer(t, "foreign", 1000)}, own)
	file := filepath.Join(t.TempDir(), "image.tar")
	results := []image.Result{newResult("server", []image.Platform{img}, "server:latest")}
	if _, err := (&output.Archive{Path: file, Docker: true}).Write(t.Context(), results); err != nil {
		t.Fatal(err)
	}
	f, err := image.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := f.Images[0].Images[0].Image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{foreignURL}, m.Layers[0].URLs); diff != "" {
		t.Errorf("URLs of the foreign layer (-want +got):\n%s", diff)
	}
	dir := untar(t, []byte(readFile(t, file)))
	for i, want := range []bool{false, true} {
		_, err := os.Stat(filepath.Join(dir, "blobs", "sha256", m.Layers[i].Digest.Hex))
		if (err == nil) != want {
			t.Errorf("layer %d: %v", i+1, err)
		}
	}
}

func TestArchiveProgress(t *testing.T) {
	var events recorder
	a := output.Archive{Progress: events.Event}
	results := single(t)
	archive(t, a, results...)
	var total int64
	blobs := filepath.Join(untar(t, archive(t, output.Archive{}, results...)), "blobs", "sha256")
	for _, name := range tree(t, blobs) {
		total += int64(len(readFile(t, filepath.Join(blobs, name))))
	}
	want := []string{fmt.Sprintf("write standard output: started updated done %d/%d", total, total)}
	if diff := cmp.Diff(want, events.summary()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// What the cache has just written goes into a file without a second look, and
// comes out as the same bytes.
func TestArchiveOfFreshBlobs(t *testing.T) {
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var layers []v1.Layer
	for _, size := range []int{1, 511, 512, 513, 70_000} {
		w, err := c.Create()
		if err != nil {
			t.Fatal(err)
		}
		info, err := layer.Write(t.Context(), w, []layer.File{{
			Path: fmt.Sprintf("/f%d", size), Mode: 0o644, Size: int64(size),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(strings.Repeat("x", size))), nil },
		}}, layer.Options{Compression: layer.Compression{Algorithm: layer.None}, Epoch: time.Unix(0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		l, err := layer.New(layer.Blob{Info: info, Digest: b.Digest, Size: b.Size, Open: b.Open})
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, l)
	}
	results := single(t, layers...)
	want := archive(t, output.Archive{Docker: true}, results...)
	file := filepath.Join(t.TempDir(), "image.tar")
	var events recorder
	if _, err := (&output.Archive{Path: file, Docker: true, Progress: events.Event}).Write(t.Context(), results); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, file); got != string(want) {
		t.Errorf("the file has %d bytes, the stream %d, and they differ", len(got), len(want))
	}
	if got := events.summary(); len(got) != 1 || !strings.Contains(got[0], "done") {
		t.Errorf("events %q", got)
	}
}
