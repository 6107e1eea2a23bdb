package base

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// The digest of the static base, which changes on purpose only, as those of its
// layer do.
const staticManifestAMD64 = "sha256:e97e7e5435265202d1d732ba1ed82a41274c96adb9fe13b7676a68742b294164"

var staticAMD64 = v1.Platform{OS: "linux", Architecture: "amd64"}

// sumOf is the digest of what open opens.
func sumOf(open func() (io.ReadCloser, error)) func() (v1.Hash, error) {
	return func() (v1.Hash, error) {
		rc, err := open()
		if err != nil {
			return v1.Hash{}, err
		}
		h, _, err := v1.SHA256(rc)
		return h, err
	}
}

func TestStaticDigests(t *testing.T) {
	img := mustStatic(t, staticAMD64)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 1 {
		t.Fatalf("got %d layers, want 1", len(layers))
	}
	tests := map[string]struct {
		digest func() (v1.Hash, error)
		want   string
	}{
		"layer":    {sumOf(layers[0].Compressed), "sha256:" + staticLayerDigest},
		"diffID":   {sumOf(layers[0].Uncompressed), "sha256:" + staticLayerDiffID},
		"manifest": {img.Digest, staticManifestAMD64},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.digest()
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestStaticSize(t *testing.T) {
	if got := len(staticLayerGzip); got >= 1<<20 {
		t.Errorf("the layer has %d bytes, want less than 1 MiB", got)
	}
}

// A gzip header has room for a time, a name and an operating system, which
// would tie the bytes to where they were made.
func TestStaticGzipHeader(t *testing.T) {
	want := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff}
	if diff := cmp.Diff(want, staticLayerGzip[:len(want)]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStaticImage(t *testing.T) {
	platforms := append(slices.Clone(staticPlatforms), v1.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"})
	for _, p := range platforms {
		t.Run(p.String(), func(t *testing.T) {
			img := mustStatic(t, p)
			if err := validate.Image(img); err != nil {
				t.Error(err)
			}
			cf, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if got := cf.Platform(); !got.Equals(p) {
				t.Errorf("got platform %s, want %s", got, p)
			}
		})
	}
}

func TestStaticConfig(t *testing.T) {
	cf, err := mustStatic(t, v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	diffID, err := v1.NewHash("sha256:" + staticLayerDiffID)
	if err != nil {
		t.Fatal(err)
	}
	epoch := v1.Time{Time: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)}
	want := &v1.ConfigFile{
		Architecture: "arm",
		Variant:      "v7",
		OS:           "linux",
		Created:      epoch,
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diffID}},
		History:      []v1.History{{Created: epoch, CreatedBy: staticCreatedBy}},
		Config: v1.Config{
			User: "65532",
			Env: []string{
				"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
			},
			WorkingDir: "/",
		},
	}
	if diff := cmp.Diff(want, cf); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestStaticMediaTypes(t *testing.T) {
	m, err := mustStatic(t, staticAMD64).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	got := []types.MediaType{m.MediaType, m.Config.MediaType, m.Layers[0].MediaType}
	want := []types.MediaType{types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStaticFiles(t *testing.T) {
	type file struct {
		Type           byte
		Mode           int64
		UID, GID       int
		Uname, Gname   string
		ModTime        int64
		Content, Links string
	}
	regular := func(content string) file { return file{Type: tar.TypeReg, Mode: 0o644, Content: content} }
	directory := func(mode int64, owner int) file {
		return file{Type: tar.TypeDir, Mode: mode, UID: owner, GID: owner}
	}
	want := map[string]file{
		"etc/":              directory(0o755, 0),
		"etc/group":         regular("root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n"),
		"etc/nsswitch.conf": regular("hosts: files dns\n"),
		"etc/os-release":    regular("NAME=\"stagectl static\"\nID=stagectl\nPRETTY_NAME=\"stagectl static\"\n"),
		"etc/passwd": regular("root:x:0:0:root:/root:/sbin/nologin\n" +
			"nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n" +
			"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"),
		"etc/ssl/":            directory(0o755, 0),
		"etc/ssl/certs/":      directory(0o755, 0),
		"home/":               directory(0o755, 0),
		"home/nonroot/":       directory(0o700, 65532),
		"root/":               directory(0o700, 0),
		"tmp/":                directory(0o1777, 0),
		"usr/":                directory(0o755, 0),
		"usr/share/":          directory(0o755, 0),
		"usr/share/zoneinfo/": directory(0o755, 0),
	}
	got := map[string]file{}
	for _, e := range readStatic(t) {
		if e.Name == caFile || strings.HasPrefix(e.Name, zoneinfoDir) && e.Name != zoneinfoDir {
			continue
		}
		got[e.Name] = file{
			e.Typeflag, e.Mode, e.Uid, e.Gid, e.Uname, e.Gname, e.ModTime.Unix(), string(e.content), e.Linkname,
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// Engines unpack a tar front to back: a directory has to come before what is in
// it, and the target of a hard link before the link.
func TestStaticOrder(t *testing.T) {
	seen := map[string]bool{"": true}
	previous := ""
	for _, e := range readStatic(t) {
		if e.Name <= previous {
			t.Errorf("%s comes after %s", e.Name, previous)
		}
		name := strings.TrimSuffix(e.Name, "/")
		if parent := name[:strings.LastIndex(name, "/")+1]; !seen[parent] {
			t.Errorf("%s comes before its directory", e.Name)
		}
		if e.Typeflag == tar.TypeLink && !seen[e.Linkname] {
			t.Errorf("%s comes before %s, which it is a link to", e.Name, e.Linkname)
		}
		seen[e.Name] = true
		previous = e.Name
	}
}

func TestStaticRoots(t *testing.T) {
	data := readStatic(t).content(caFile)
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		t.Fatal("the pool takes no certificate")
	}
	count := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		count++
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Errorf("certificate %d: %v", count, err)
			continue
		}
		if !cert.IsCA {
			t.Errorf("certificate %d, %s, is not a CA's", count, cert.Subject)
		}
	}
	if count < 100 {
		t.Errorf("got %d certificates, want at least 100", count)
	}
	if got := bytes.Count(data, []byte("# ")); got != count {
		t.Errorf("got %d comments, want one for each of the %d certificates", got, count)
	}
}

func TestStaticZones(t *testing.T) {
	entries := readStatic(t)
	noon := time.Date(2024, 7, 1, 12, 0, 0, 0, time.UTC)
	tests := map[string]string{
		"Europe/Berlin":    "14:00 CEST",
		"America/New_York": "08:00 EDT",
		"Asia/Kolkata":     "17:30 IST",
		"Etc/UTC":          "12:00 UTC",
		"UTC":              "12:00 UTC",
		"GMT":              "12:00 GMT",
	}
	for zone, want := range tests {
		t.Run(zone, func(t *testing.T) {
			loc, err := time.LoadLocationFromTZData(zone, entries.content(zoneinfoDir+zone))
			if err != nil {
				t.Fatal(err)
			}
			if got := noon.In(loc).Format("15:04 MST"); got != want {
				t.Errorf("noon UTC is %s, want %s", got, want)
			}
		})
	}
	for _, e := range entries {
		if e.Typeflag == tar.TypeReg && strings.HasPrefix(e.Name, zoneinfoDir) {
			if _, err := time.LoadLocationFromTZData(e.Name, e.content); err != nil {
				t.Errorf("%s: %v", e.Name, err)
			}
		}
	}
}

const (
	caFile      = "etc/ssl/certs/ca-certificates.crt"
	zoneinfoDir = "usr/share/zoneinfo/"
)

type staticEntry struct {
	*tar.Header
	content []byte
}

type staticEntries []staticEntry

// content returns the bytes at name, following a hard link.
func (es staticEntries) content(name string) []byte {
	for _, e := range es {
		switch {
		case e.Name != name:
		case e.Typeflag == tar.TypeLink:
			return es.content(e.Linkname)
		default:
			return e.content
		}
	}
	return nil
}

// readStatic reads the layer with nothing but the standard library.
func readStatic(t *testing.T) staticEntries {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(staticLayerGzip))
	if err != nil {
		t.Fatal(err)
	}
	var entries staticEntries
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, staticEntry{h, content})
	}
}

func mustStatic(t *testing.T, p v1.Platform) v1.Image {
	t.Helper()
	img, err := staticImage(p)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
