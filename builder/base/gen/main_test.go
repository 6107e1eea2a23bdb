package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// The embedded layer is what this program makes of its own time zones, so it
// lags neither behind the CA roots in go.mod nor behind the program. The zones
// come from the layer because those of the Go at hand may be newer ones.
func TestEmbeddedLayerIsUpToDate(t *testing.T) {
	embedded, err := os.ReadFile("../static.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	zones := map[string][]byte{}
	for name, content := range read(t, embedded) {
		if zone, ok := strings.CutPrefix(name, zoneinfoDir+"/"); ok && !strings.HasSuffix(name, "/") {
			zones[zone] = []byte(content)
		}
	}
	for range 2 {
		got, err := generate(zones)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, embedded) {
			t.Fatal("static.tar.gz is not what the generator makes now: run go generate ./builder/base and pin its new digests")
		}
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "zones.zip"), filepath.Join(dir, "static.tar.gz")
	writeZip(t, in, [][2]string{{"Z/", ""}, {"Z/Late", "one"}, {"B", "two"}, {"A", "one"}})
	if err := run(in, out); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, data)
	maps.DeleteFunc(got, func(name, _ string) bool { return !strings.HasPrefix(name, "usr/") })
	want := map[string]string{
		"usr/":                      "",
		"usr/share/":                "",
		"usr/share/zoneinfo/":       "",
		"usr/share/zoneinfo/A":      "one",
		"usr/share/zoneinfo/B":      "two",
		"usr/share/zoneinfo/Z/":     "",
		"usr/share/zoneinfo/Z/Late": "one",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("time zones (-want +got):\n%s", diff)
	}
}

func TestRunErrors(t *testing.T) {
	dir := t.TempDir()
	insecure, text := filepath.Join(dir, "insecure.zip"), filepath.Join(dir, "text.zip")
	writeZip(t, insecure, [][2]string{{"../../passwd", "one"}})
	if err := os.WriteFile(text, []byte("no zip"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ zip, want string }{
		"missing":     {filepath.Join(dir, "missing.zip"), "reading time zones: open "},
		"not a zip":   {text, "reading time zones: zip: not a valid zip file"},
		"leading out": {insecure, "reading time zones: reading ../../passwd: not a path inside an archive"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			if err := run(tt.zip, out); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("run: got error %v, want %q…", err, tt.want)
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("stat of the output: got error %v, want none to exist", err)
			}
		})
	}
}

func TestGenerateRefusesLongName(t *testing.T) {
	zone := strings.Repeat("z", 200)
	_, err := generate(map[string][]byte{zone: nil})
	want := "writing the layer: writing " + zoneinfoDir + "/" + zone + ": "
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %v, want %q…", err, want)
	}
}

func TestRootsPEM(t *testing.T) {
	data, err := rootsPEM()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		got[string(block.Bytes)] = true
	}
	want := map[string]bool{}
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			want[string(root.Certificate)] = true
		}
	}
	if len(want) == 0 {
		t.Fatal("the bundle has no root without a constraint")
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %d roots, want the %d that have no constraint", len(got), len(want))
	}
}

func TestTitle(t *testing.T) {
	tests := map[string]struct {
		cn, ou, o []string
		want      string
	}{
		"cn":      {[]string{"Root"}, []string{"Unit"}, []string{"Org"}, "Root"},
		"no cn":   {nil, []string{"Unit"}, []string{"Org"}, "Unit"},
		"only o":  {nil, nil, []string{"Org"}, "Org"},
		"nothing": {nil, nil, nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cert := &x509.Certificate{}
			cert.Subject.CommonName = strings.Join(tt.cn, "")
			cert.Subject.OrganizationalUnit, cert.Subject.Organization = tt.ou, tt.o
			if got := title(cert); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestComplete(t *testing.T) {
	got := complete([]entry{
		{name: "tmp/", mode: 0o1777},
		{name: "home/nonroot/", mode: 0o700, owner: nonroot},
		{name: "home/nonroot/.profile", mode: 0o600},
		{name: "etc/passwd", mode: 0o644},
	})
	want := []entry{
		{name: "etc/", mode: 0o755},
		{name: "etc/passwd", mode: 0o644},
		{name: "home/", mode: 0o755},
		{name: "home/nonroot/", mode: 0o700, owner: nonroot},
		{name: "home/nonroot/.profile", mode: 0o600},
		{name: "tmp/", mode: 0o1777},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// read returns the content of every path in a layer, following hard links.
func read(t *testing.T, layer []byte) map[string]string {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(content)
		if h.Typeflag == tar.TypeLink {
			files[h.Name] = files[h.Linkname]
		}
	}
}

func writeZip(t *testing.T, file string, members [][2]string) {
	t.Helper()
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for _, m := range members {
		w, err := zw.Create(m[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
