package image_test

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func TestFind(t *testing.T) {
	f := newFiles()
	one, two := f.image(amd64, "one"), f.image(arm64, "two")
	path := f.list(named(one, "docker.io/library/server:v1", "v1"), named(two, "", "latest")).writeTar(t)
	file := open(t, path)
	tests := []struct {
		find string
		want v1.Hash
		err  string
	}{
		{find: "docker.io/library/server:v1", want: one.Digest},
		{find: "index.docker.io/library/server:v1", want: one.Digest},
		{find: "server:v1", want: one.Digest},
		{find: "v1", want: one.Digest},
		{find: "latest", want: two.Digest},
		{find: two.Digest.String(), want: two.Digest},
		{find: "", err: "finding the image in PATH: there are 2, name one of: docker.io/library/server:v1, latest"},
		{find: "server", err: "finding image server in PATH: not there, only: docker.io/library/server:v1, latest"},
		{find: "v2", err: "finding image v2 in PATH: not there"},
		{find: "Not A Reference", err: "not there"},
	}
	for _, tt := range tests {
		t.Run(tt.find, func(t *testing.T) {
			o, err := file.Find(tt.find)
			if want := strings.ReplaceAll(tt.err, "PATH", path); want != "" {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Find: %v\nwant: %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if o.Digest() != tt.want {
				t.Errorf("Find gave %s, want %s", o.Digest(), tt.want)
			}
		})
	}
	t.Run("the only one", func(t *testing.T) {
		if o, err := open(t, f.list(one).writeTar(t)).Find(""); err != nil || o.Digest() != one.Digest {
			t.Errorf("Find: %v, %v", o, err)
		}
	})
	t.Run("unnamed in an error", func(t *testing.T) {
		_, err := open(t, f.list(one).writeTar(t)).Find("x")
		if err == nil || !strings.HasSuffix(err.Error(), "only: "+one.Digest.String()) {
			t.Errorf("Find: %v, want the digest", err)
		}
	})
}

func TestFor(t *testing.T) {
	f := newFiles()
	platforms := []string{"linux/amd64", "linux/arm64/v8", "linux/arm/v6", "linux/arm", "windows/amd64:10.0.1"}
	var descs []v1.Descriptor
	for _, s := range platforms {
		p := platform(t, s)
		descs = append(descs, on(f.image(p, s), p))
	}
	absent := on(v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digestOf("absent")}, platform(t, "linux/s390x"))
	o := open(t, f.list(f.index(append(descs, absent)...)).writeTar(t)).Images[0]
	tests := []struct{ want, got, err string }{
		{want: "linux/amd64", got: "linux/amd64"},
		{want: "linux/amd64/v1", got: "linux/amd64"},
		{want: "linux/arm64", got: "linux/arm64/v8"},
		{want: "linux/arm64/v8", got: "linux/arm64/v8"},
		{want: "linux/arm/v6", got: "linux/arm/v6"},
		{want: "linux/arm", got: "linux/arm"},
		{want: "linux/arm/v7", got: "linux/arm"},
		{want: "windows/amd64", got: "windows/amd64:10.0.1"},
		{want: "windows/amd64:10.0.2", err: "not there, only: linux/amd64, linux/arm64/v8, linux/arm/v6, linux/arm, windows/amd64:10.0.1"},
		{want: "linux/amd64/v3", err: "finding the image for linux/amd64/v3: not there"},
		{want: "darwin/arm64", err: "finding the image for darwin/arm64: not there"},
		{want: "linux/s390x", err: "finding the image for linux/s390x: it is listed, but not all there: reading manifest sha256:"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			img, err := o.For(platform(t, tt.want))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("For: %v\nwant: %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := f.image(platform(t, tt.got), tt.got).Digest
			if got, err := img.Digest(); got != want || err != nil {
				t.Errorf("For gave %s (%v), want %s", got, err, want)
			}
		})
	}
}

func platform(t testing.TB, s string) v1.Platform {
	t.Helper()
	p, err := v1.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return *p
}
