package builder_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

// examplePlan is a plan of two stages: one compiles the package in dir, the
// other copies the binary from it onto a base.
func examplePlan(dir, from, tag string, platforms ...v1.Platform) *plan.Plan {
	return &plan.Plan{
		Dir:         dir,
		Epoch:       time.Unix(0, 0),
		Compression: plan.Compression{Algorithm: "gzip"},
		Images: []plan.Image{{
			Name:      "hello",
			Tags:      []string{tag},
			Platforms: platforms,
			Stages: []plan.Stage{
				{Name: "build", Steps: []plan.Step{
					{Compile: &plan.Compile{Dir: dir, Package: "example.com/hello", Binary: "hello", Output: "/app/hello"}},
				}},
				{Name: "hello", Base: from, Steps: []plan.Step{
					{Copy: &plan.Copy{From: "build", Source: "/app/hello", Dest: "/app/hello"}},
					{Config: &plan.Config{Entrypoint: []string{"/app/hello"}, Ports: []string{"8080/tcp"}}},
				}},
			},
		}},
	}
}

// exampleModule writes a small Go module, and returns its directory and a cache
// for the example to use.
func exampleModule() (dir string, c *cache.Cache) {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range map[string]string{
		"go.mod":  "module example.com/hello\n\ngo 1.21\n",
		"main.go": "package main\n\nfunc main() { println(\"hello\") }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	if c, err = cache.Open(filepath.Join(dir, "cache")); err != nil {
		log.Fatal(err)
	}
	return dir, c
}

// Build a package into an archive for `docker load`.
func ExampleBuilder_Build() {
	dir, c := exampleModule()
	defer os.RemoveAll(dir)

	b := builder.Builder{Cache: c} // without Cache, the user's cache directory is used
	p := examplePlan(dir, plan.Static, "hello:v1", v1.Platform{OS: "linux", Architecture: "amd64"})
	archive := filepath.Join(dir, "image.tar")
	result, err := b.Build(context.Background(), p, &output.Archive{Path: archive, Docker: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Images[0].Tags, len(result.Written), filepath.Base(result.Written[0].Where))
	// Output: [hello:v1] 1 image.tar
}

// Push to a registry. Credentials are docker's unless the client has a keychain.
func ExampleBuilder_Build_push() {
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir, c := exampleModule()
	defer os.RemoveAll(dir)

	b := builder.Builder{Cache: c}
	p := examplePlan(dir, plan.Static, host+"/team/hello:v1", v1.Platform{OS: "linux", Architecture: "amd64"})
	result, err := b.Build(context.Background(), p, &output.Registry{Client: &registry.Client{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	repo, digest, _ := strings.Cut(result.Written[0].Where, "@")
	fmt.Println(strings.TrimPrefix(repo, host), strings.HasPrefix(digest, "sha256:"))
	// Output: /team/hello true
}

// Several platforms make an index.
func ExampleBuilder_Build_multiPlatform() {
	dir, c := exampleModule()
	defer os.RemoveAll(dir)

	b := builder.Builder{Cache: c}
	p := examplePlan(dir, plan.Scratch, "hello:v1",
		v1.Platform{OS: "linux", Architecture: "amd64"},
		v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"},
	)
	result, err := b.Build(context.Background(), p, &output.Layout{Dir: filepath.Join(dir, "layout")})
	if err != nil {
		fmt.Println(err)
		return
	}
	index, err := result.Images[0].Index.IndexManifest()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range index.Manifests {
		fmt.Println(m.Platform)
	}
	// Output:
	// linux/amd64
	// linux/arm/v7
}

// A base of one's own: here an image that the same program built before, as an
// OCI layout. A reference works the same way.
func ExampleBuilder_Build_ownBase() {
	dir, c := exampleModule()
	defer os.RemoveAll(dir)
	amd64 := v1.Platform{OS: "linux", Architecture: "amd64"}

	b := builder.Builder{
		Cache: c,
		Bases: &base.Resolver{Registry: &registry.Client{}, Cache: c, Dir: dir},
	}
	first := examplePlan(dir, plan.Static, "base:v1", amd64)
	if _, err := b.Build(context.Background(), first, &output.Layout{Dir: filepath.Join(dir, "base")}); err != nil {
		fmt.Println(err)
		return
	}
	second := examplePlan(dir, "oci:base", "hello:v1", amd64)
	result, err := b.Build(context.Background(), second)
	if err != nil {
		fmt.Println(err)
		return
	}
	img := result.Images[0].Images[0]
	fmt.Println(img.BaseName, img.BaseLayers)
	// Output: oci:base 2
}

// Read what was built: from the result, or from the file as here.
func ExampleBuilder_Build_readResult() {
	dir, c := exampleModule()
	defer os.RemoveAll(dir)

	b := builder.Builder{Cache: c}
	p := examplePlan(dir, plan.Scratch, "hello:v1", v1.Platform{OS: "linux", Architecture: "amd64"})
	archive := filepath.Join(dir, "image.tar")
	if _, err := b.Build(context.Background(), p, &output.Archive{Path: archive}); err != nil {
		fmt.Println(err)
		return
	}

	f, err := image.Open(archive)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	img := f.Images[0].Images[0].Image
	cf, err := img.ConfigFile()
	if err != nil {
		fmt.Println(err)
		return
	}
	tree, err := image.ReadTree(img)
	if err != nil {
		fmt.Println(err)
		return
	}
	binary, _ := tree.Lstat("/app/hello")
	fmt.Printf("%v %#o %d:%d\n", cf.Config.Entrypoint, binary.Mode, binary.UID, binary.GID)
	// Output: [/app/hello] 0755 0:0
}
