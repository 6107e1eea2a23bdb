package builder_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"golang.org/x/tools/txtar"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/dockerfile"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
)

// TestDockerfiles builds testdata/build/*.txtar: a Dockerfile and its context, and
// as wanted the image's files, in image.txt, with its configuration. alpine and
// golang are made here: no case needs any network.
func TestDockerfiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "build", "*.txtar"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d cases: %v", len(files), err)
	}
	shared := t.TempDir()
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "image.txt" })
			want := ""
			if at >= 0 {
				want = string(archive.Files[at].Data)
				archive.Files = slices.Delete(archive.Files, at, at+1)
			}
			dir := t.TempDir()
			for _, f := range archive.Files {
				writeFile(t, filepath.Join(dir, filepath.FromSlash(f.Name)), string(f.Data))
			}
			got := buildDockerfile(t, dir, filepath.Join(shared, "cache"))
			if again := buildDockerfile(t, dir, filepath.Join(shared, "cache")); again != got {
				t.Errorf("out of the cache comes something else (-first +second):\n%s", cmp.Diff(got, again))
			}
			if *update {
				archive.Files = append(archive.Files, txtar.File{Name: "image.txt", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("image (-want +got):\n%s", diff)
			}
		})
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(content, "#!") {
		mode = 0o755
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// buildDockerfile returns the image as text.
func buildDockerfile(t *testing.T, dir, cacheDir string) string {
	t.Helper()
	c, err := cache.Open(cacheDir)
	if err != nil {
		t.Fatal(err)
	}
	layouts := t.TempDir()
	for _, name := range []string{"alpine", "golang"} {
		if err := smallBase(filepath.Join(layouts, name), name); err != nil {
			t.Fatal(err)
		}
	}
	host := &golang.Host{Env: append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOTOOLCHAIN=local"), Offline: true}
	bases := &base.Resolver{Dir: layouts, Cache: c}
	platform := v1.Platform{OS: "linux", Architecture: "amd64"}
	raw, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := dockerfile.Parse("Dockerfile", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	stages, err := file.Stages(dockerfile.Options{
		BuildPlatform: platform, TargetPlatform: platform,
		BuildContexts: map[string]string{"alpine": "oci-layout://alpine"},
		Resolve: func(ref string, p v1.Platform) (*v1.ConfigFile, error) {
			if tag, ok := golang.Tag(ref); ok {
				release, err := host.Find(t.Context(), tag)
				return &v1.ConfigFile{Config: golang.Config(tag, release)}, err
			}
			img, err := bases.Image(t.Context(), ref, p)
			if err != nil {
				return nil, err
			}
			return img.ConfigFile()
		},
	})
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
		if strings.HasPrefix(content, "\x7fELF") {
			content = "(a program)"
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
