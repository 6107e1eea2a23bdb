package builder_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/dockerfile"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/testdata/build/corpus"
)

// TestDockerfiles builds testdata/build/*.txtar: a Dockerfile and its context, and
// as wanted the image's files, in image.txt, with its configuration. The bases
// are made here: no case needs any network.
func TestDockerfiles(t *testing.T) {
	cases, err := corpus.Load(filepath.Join("..", "testdata", "build"))
	if err != nil || len(cases) < 80 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	layouts := corpusBases(t)
	shared := filepath.Join(t.TempDir(), "cache")
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.Write(dir); err != nil {
				t.Fatal(err)
			}
			got := buildDockerfile(t, c, dir, layouts, shared)
			if again := buildDockerfile(t, c, dir, layouts, shared); again != got {
				t.Errorf("out of the cache comes something else (-first +second):\n%s", cmp.Diff(got, again))
			}
			if *update {
				if err := c.Update(got); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(c.Image, got); diff != "" {
				t.Errorf("image (-want +got):\n%s", diff)
			}
		})
	}
}

// corpusBases is a directory with the layouts of the bases.
func corpusBases(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range corpus.Bases {
		img, err := corpus.Base(name, "amd64", []byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := layout.Write(filepath.Join(dir, name), empty.Index)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.AppendImage(img); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// buildDockerfile returns the image as text.
func buildDockerfile(t *testing.T, cs *corpus.Case, dir, layouts, cacheDir string) string {
	t.Helper()
	c, err := cache.Open(cacheDir)
	if err != nil {
		t.Fatal(err)
	}
	host := &golang.Host{Env: append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOTOOLCHAIN=local"), Offline: true}
	bases := &base.Resolver{Dir: layouts, Cache: c}
	platform := v1.Platform{OS: "linux", Architecture: "amd64"}
	file, err := dockerfile.Parse("Dockerfile", strings.NewReader(cs.Dockerfile))
	if err != nil {
		t.Fatal(err)
	}
	opts := corpusOptions(cs)
	opts.BuildPlatform, opts.TargetPlatform = platform, platform
	opts.Resolve = func(ref string, p v1.Platform) (*v1.ConfigFile, error) {
		if tag, ok := golang.Tag(ref); ok {
			release, err := host.Find(t.Context(), tag)
			return &v1.ConfigFile{Config: golang.Config(tag, release)}, err
		}
		img, err := bases.Image(t.Context(), ref, p)
		if err != nil {
			return nil, err
		}
		return img.ConfigFile()
	}
	stages, err := file.Stages(opts)
	if err != nil {
		t.Fatal(err)
	}
	ignore, err := dockerfile.FindIgnore(os.DirFS(dir), "Dockerfile", os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	from := plan.Context{Dir: dir}
	if ignore != nil {
		from.Ignore = ignore.Patterns
	}
	b := builder.Builder{Bases: bases, Cache: c, Go: host}
	result, err := b.Build(t.Context(), &plan.Plan{
		Dir: dir, Contexts: map[string]plan.Context{plan.BuildContext: from},
		Images: []plan.Image{{
			Name: "x", Tags: []string{"x"}, Platforms: []v1.Platform{platform},
			Variants: []plan.Variant{{Platform: platform, Stages: stages}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	img := result.Images[0].Images[0].Image
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	return imageText(t, img)
}

// corpusOptions are what the flags of a case say, with the bases in the place of
// those of a registry.
func corpusOptions(cs *corpus.Case) dockerfile.Options {
	opts := dockerfile.Options{BuildArgs: map[string]string{}, BuildContexts: map[string]string{}}
	for _, name := range corpus.Bases {
		opts.BuildContexts[name] = "oci-layout://" + name
	}
	for i := 0; i+1 < len(cs.Flags); i += 2 {
		switch value := cs.Flags[i+1]; cs.Flags[i] {
		case "--target":
			opts.Target = value
		case "--build-arg":
			key, value, _ := strings.Cut(value, "=")
			opts.BuildArgs[key] = value
		}
	}
	return opts
}

// imageText has the files of an image but for those of its base, how it came to
// be, and its configuration.
func imageText(t *testing.T, img v1.Image) string {
	t.Helper()
	var b strings.Builder
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := image.ReadTree(img)
	if err != nil {
		t.Fatal(err)
	}
	contents := make([]map[string]string, len(layers))
	for i, l := range layers {
		contents[i] = layerContents(t, l)
	}
	tree.Walk(func(e image.Entry) {
		if e.Type != tar.TypeReg {
			fmt.Fprintln(&b, e)
			return
		}
		content := contents[e.Layer][e.Path]
		if strings.HasPrefix(content, "\x7fELF") || strings.HasPrefix(content, "MZ") {
			content = "(a program)"
		} else if len(content) > 4096 { // as are the CA roots
			content = fmt.Sprintf("(%d bytes, sha256:%x)", len(content), sha256.Sum256([]byte(content)))
		}
		fmt.Fprintf(&b, "%s %d:%d %s %q\n", e.ModeString(), e.UID, e.GID, e.Path, content)
	})
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range cf.History {
		kind := "layer"
		if h.EmptyLayer {
			kind = "empty"
		}
		fmt.Fprintf(&b, "%s %s\n", kind, h.CreatedBy)
	}
	var whole struct{ Config json.RawMessage }
	var config bytes.Buffer
	if err := json.Unmarshal(raw, &whole); err != nil {
		t.Fatal(err)
	}
	if err := json.Indent(&config, whole.Config, "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String() + config.String() + "\n"
}

func layerContents(t *testing.T, l v1.Layer) map[string]string {
	t.Helper()
	rc, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	contents := map[string]string{}
	entries := image.NewEntryReader(rc, nil)
	for {
		e, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return contents
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(entries)
		if err != nil {
			t.Fatal(err)
		}
		contents[e.Path] = string(raw)
	}
}
