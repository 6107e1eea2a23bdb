package builder_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcrregistry "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagectl/stagectl/builder/dockerfile"
	"github.com/stagectl/stagectl/builder/plan"
)

// registryWithBase has the image of baseLayout as base:v1.
func registryWithBase(t *testing.T) (host string) {
	t.Helper()
	server := httptest.NewServer(ggcrregistry.New(ggcrregistry.Logger(discard)))
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	ref, err := name.ParseReference(host + "/base:v1")
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := strings.CutPrefix(baseLayout(t), "oci:")
	idx, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := idx.Image(m.Manifests[0].Digest)
	if err == nil {
		err = remote.Write(ref, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// dockerPlan is the plan of a Dockerfile whose context is dir.
func dockerPlan(t *testing.T, dir, text string) *plan.Plan {
	t.Helper()
	file, err := dockerfile.Parse("Dockerfile", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	stages, err := file.Stages(dockerfile.Options{
		BuildPlatform: amd64, TargetPlatform: amd64,
		Resolve: func(string, v1.Platform) (*v1.ConfigFile, error) {
			return &v1.ConfigFile{Config: v1.Config{Env: []string{"PATH=/bin"}}}, nil // that of baseLayout
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &plan.Plan{
		Dir: dir, Contexts: map[string]plan.Context{plan.BuildContext: {Dir: dir}},
		Compression: plan.Compression{Algorithm: "gzip"},
		Images: []plan.Image{{
			Name: "x", Tags: []string{"x:latest"}, Platforms: []v1.Platform{amd64},
			Variants: []plan.Variant{{Platform: amd64, Stages: stages}},
		}},
	}
}
