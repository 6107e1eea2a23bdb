//go:build linux

package e2e

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/stagectl/stagectl/testdata/build/corpus"
)

// engineCases are built by Docker Engine, too. Its own BuildKit is an old one
// with distributions, so they have nothing that it does not know.
var engineCases = []string{
	"args", "base-stage", "cmd-json", "copy-chown", "copy-dest-links", "copy-dir", "copy-over", "deleted", "entrypoint", "go-classic",
	"ignore-patterns", "labels", "onbuild", "run-delete", "run-files", "single-stage", "volumes", "wildcards", "workdir",
}

// TestCorpusDocker builds some of the corpus with the BuildKit of Docker Engine,
// and compares as TestCorpus does.
func TestCorpusDocker(t *testing.T) {
	cases, err := corpus.Load(corpusDir)
	if err != nil {
		t.Fatal(err)
	}
	if env.BuildKitErr != "" { // which makes the golang image
		t.Fatal(env.BuildKitErr)
	}
	startCorpus(t, cases)
	client := buildKitClient(t)
	docker(t, "image", "prune", "-af")
	docker(t, "pull", "-q", corpusRepo+"alpine")
	docker(t, "tag", corpusRepo+"alpine", "alpine:latest")
	docker(t, "pull", "-q", "golang:alpine") // its BuildKit would want TLS of the mirror
	for _, c := range cases {
		if !slices.Contains(engineCases, c.Name) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.Write(dir); err != nil {
				t.Fatal(err)
			}
			want := corpusFacts(t, c, buildByDocker(t, client, c, dir))
			compareFacts(t, corpusFacts(t, c, buildByStagectl(t, c, dir)), want, "Docker  ", nil)
		})
	}
}

func dockerBuild(t testing.TB, client, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := tool(t, client, append(append([]string{"build", "-q"}, args...), dir)...)
	cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT=1")
	return cmd
}

// buildByDocker builds a case with Docker Engine, and saves the image.
func buildByDocker(t testing.TB, client string, c *corpus.Case, dir string) v1.Image {
	t.Helper()
	tag := "corpus/" + c.Name + ":v1"
	output(t, dockerBuild(t, client, dir, append([]string{"-t", tag}, c.Flags...)...))
	file := filepath.Join(t.TempDir(), "image.tar")
	docker(t, "save", "-o", file, tag)
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
