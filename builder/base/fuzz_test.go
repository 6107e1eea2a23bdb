package base

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/limit"
	"github.com/stagectl/stagectl/builder/registry"
)

// FuzzManifest has a registry answer with any document. What is taken for an
// image or an index is one of both, and describes nothing that is not checked.
func FuzzManifest(f *testing.F) {
	const digest = `"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000"`
	config := `{"mediaType":"application/vnd.oci.image.config.v1+json",` + digest + `,"size":2}`
	for _, text := range []string{
		`{"config":` + config + `,"layers":[{` + digest + `,"size":1,"urls":["http://a"]}]}`, `{"manifests":[{` + digest + `,"size":1,"platform":{"os":"a"}}]}`,
		`{"config":` + config + `,"manifests":[]}`, `{"config":` + config + `,"MANIFESTS":[]}`, `{"layers":[],"layers":[]}`, `{"manifestſ":[]}`, `{"fsLayers":null}`,
		`{"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}`, `{"config":{"digest":"sha256:../../x"}}`, `[]`, `null`, `{"config":null,"layers":null,"manifests":null}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parseManifest(raw)
		if err != nil {
			return
		}
		if m.Manifests != nil && (m.Config != nil || m.Layers != nil) {
			t.Errorf("%q is both an image and an index", raw)
		}
		if m.MediaType.IsIndex() == m.MediaType.IsImage() || m.MediaType.IsIndex() != (m.Manifests != nil) {
			t.Errorf("%q is taken for %s", raw, m.MediaType)
		}
		if len(m.Layers) > limit.Layers || len(m.Manifests) > limit.Manifests {
			t.Errorf("%d layers, %d manifests", len(m.Layers), len(m.Manifests))
		}
		descs := slices.Concat(m.Layers, m.Manifests)
		if m.Config != nil {
			descs = append(descs, *m.Config)
		}
		for _, d := range descs {
			if h, err := v1.NewHash(d.Digest.String()); err != nil || h.Algorithm != "sha256" || d.Size < 0 || d.Size > limit.Layer {
				t.Errorf("%q describes %v", raw, d)
			}
		}
		// The others who read it see the same.
		if m.Manifests == nil {
			same, err := v1.ParseManifest(bytes.NewReader(raw))
			if err != nil || len(same.Layers) != len(m.Layers) || same.Config.Digest != m.Config.Digest {
				t.Errorf("%q is %+v, and read again %+v, %v", raw, m, same, err)
			}
		}
	})
}

// FuzzName takes any text for a base. What is accepted can be parsed, into parts
// that lead nowhere else in a URL or a path.
func FuzzName(f *testing.F) {
	for _, s := range []string{
		"alpine", "static", "oci:", "oci:a:b", "docker-archive:../x.tar:y", "a.b/c@sha256:" + strings.Repeat("0", 64), "user:password@host/x", "host:0/x:y",
		"[::1]:5000/a", "https://host/x", "a/../b", "a//b", "A", "a:@", "a@sha256:", "localhost/x?y#z", "ä/x", "a b", "h%2f/x", "",
	} {
		f.Add(s)
	}
	c := &registry.Client{}
	f.Fuzz(func(t *testing.T, s string) {
		if ValidName(s) != nil || isFile(s) || s == "static" || s == "scratch" {
			path, name := splitName(s)
			if path+":"+name != s && path != s && path+":" != s {
				t.Errorf("%q is divided into %q and %q", s, path, name)
			}
			return
		}
		ref, err := c.Parse(s)
		if err != nil {
			t.Fatalf("%q is valid, and cannot be parsed: %v", s, err)
		}
		repo, host := ref.Context().RepositoryStr(), ref.Context().RegistryStr()
		if strings.ContainsAny(repo, "?#%\\ @") || repo != "" && !filepath.IsLocal(filepath.FromSlash(repo)) {
			t.Errorf("%q has repository %q", s, repo)
		}
		if strings.ContainsAny(host, "/?#%\\ @") || host == "" {
			t.Errorf("%q has host %q", s, host)
		}
		if strings.ContainsAny(ref.Identifier(), "/?#%\\ @") {
			t.Errorf("%q has tag or digest %q", s, ref.Identifier())
		}
		if again, err := c.Parse(ref.Name()); err != nil || again.Name() != ref.Name() {
			t.Errorf("%q is %s, which is %v, %v", s, ref.Name(), again, err)
		}
	})
}
