package builder_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/dockerfile"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
)

// dockerfileImage builds the Dockerfile in dir, which has no base but golang.
func dockerfileImage(t *testing.T, dir, cacheDir string, progress event.Func) v1.Image {
	t.Helper()
	return dockerfileImages(t, dir, cacheDir, progress, v1.Platform{OS: "linux", Architecture: "amd64"})[0].Image
}

// dockerfileImages builds it for some platforms, on amd64.
func dockerfileImages(t *testing.T, dir, cacheDir string, progress event.Func, platforms ...v1.Platform) []image.Platform {
	t.Helper()
	result, err := tryDockerfile(t, dir, cacheDir, progress, platforms...)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range result.Images[0].Images {
		if err := validate.Image(img.Image); err != nil {
			t.Error(err)
		}
	}
	return result.Images[0].Images
}

// tryDockerfile is dockerfileImages for what may fail.
func tryDockerfile(t *testing.T, dir, cacheDir string, progress event.Func, platforms ...v1.Platform) (*builder.Result, error) {
	t.Helper()
	c, err := cache.Open(cacheDir)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := dockerfile.Parse("Dockerfile", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	host := &golang.Host{Env: append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOTOOLCHAIN=local"), Offline: true}
	opts := dockerfile.Options{
		BuildPlatform: v1.Platform{OS: "linux", Architecture: "amd64"},
		Resolve: func(ref string, _ v1.Platform) (*v1.ConfigFile, error) {
			tag, _ := golang.Tag(ref)
			release, err := host.Find(t.Context(), tag)
			return &v1.ConfigFile{Config: golang.Config(tag, release)}, err
		},
	}
	var variants []plan.Variant
	for _, platform := range platforms {
		opts.TargetPlatform = platform
		stages, err := file.Stages(opts)
		if err != nil {
			t.Fatal(err)
		}
		variants = append(variants, plan.Variant{Platform: platform, Stages: stages})
	}
	b := builder.Builder{Bases: &base.Resolver{Dir: dir, Cache: c}, Cache: c, Go: host, Progress: progress}
	return b.Build(t.Context(), &plan.Plan{
		Dir: dir, Contexts: map[string]plan.Context{plan.BuildContext: {Dir: dir}},
		Images: []plan.Image{{Name: "x", Tags: []string{"x"}, Platforms: platforms, Variants: variants}},
	})
}

// putFile writes a file, and the directories that it is in.
func putFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
