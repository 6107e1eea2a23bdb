//go:build linux

package e2e

import (
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// TestPublicModule proves that one command builds all the commands of a
// module that nobody here wrote, for two platforms, and that each image is valid.
func TestPublicModule(t *testing.T) {
	if env.PublicErr != "" {
		t.Fatal(env.PublicErr)
	}
	file := filepath.Join(t.TempDir(), "tools.tar")
	o := opts{Dir: env.Public}
	mustStagectl(t, o, "build", "--platform", "linux/amd64,linux/arm64", "-t", "tools/{name}:v1", "-o", file, "./cmd/...")
	idx := openArchive(t, file)
	got := map[string][]string{}
	for _, desc := range manifest(t, idx).Manifests {
		nested, err := idx.ImageIndex(desc.Digest)
		if err != nil {
			t.Fatal(err)
		}
		image := desc.Annotations["io.containerd.image.name"]
		for _, m := range manifest(t, nested).Manifests {
			got[image] = append(got[image], m.Platform.String())
		}
	}
	want := map[string][]string{}
	for _, command := range publicCommands(t) {
		want["docker.io/tools/"+command+":v1"] = []string{"linux/amd64", "linux/arm64"}
	}
	equal(t, "images", got, want)
	equal(t, "loaded", len(dockerLoad(t, file)), len(want))
	help := execute(t, tool(t, "docker", "run", "--rm", "tools/stringer:v1", "-help"))
	contains(t, "help of stringer", help.Stderr, "Usage of stringer")
}

// publicCommands are the names of the module's commands, as go lists them.
func publicCommands(t testing.TB) []string {
	t.Helper()
	list := tool(t, "go", "list", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, "./cmd/...")
	list.Dir = env.Public
	var names []string
	for _, importPath := range strings.Fields(output(t, list)) {
		names = append(names, path.Base(importPath))
	}
	return names
}
