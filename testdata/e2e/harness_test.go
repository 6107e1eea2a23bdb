//go:build linux

package e2e

import (
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestHarness proves that the other parts work here with an image that
// stagectl did not make, so that a failure elsewhere is stagectl's.
func TestHarness(t *testing.T) {
	img, err := alpineImage(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, dockerTypes)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "alpine.tar")
	tag, err := name.NewTag("harness/alpine:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		t.Fatal(err)
	}
	t.Run("docker", func(t *testing.T) {
		equal(t, "loaded", dockerLoad(t, file), []string{"harness/alpine:v1"})
		equal(t, "id", runOnce(t, "docker", "harness/alpine:v1", "id", "-u"), "0")
	})
	t.Run("docker pull from mirror", func(t *testing.T) {
		reqs := services.Mirror.during(t, func() { docker(t, "pull", "-q", "alpine:3.20") })
		if len(reqs.match("GET|HEAD", alpineRepo+"/manifests/3.20")) == 0 {
			t.Errorf("the mirror was not asked: %v", reqs)
		}
	})
	t.Run("podman", func(t *testing.T) {
		names := podmanLoad(t, file)
		equal(t, "loaded", names, []string{"localhost/harness/alpine:v1"})
		equal(t, "id", runOnce(t, "podman", names[0], "id", "-u"), "0")
	})
	t.Run("registry", func(t *testing.T) {
		auth := filepath.Join(dockerConfig(t, password), "config.json")
		ref := services.Registry.Host + "/harness/alpine:v1"
		skopeo(t, "copy", "--authfile", auth, "docker-archive:"+file, "docker://"+ref)
		if services.Registry.digest(t, ref) == "" {
			t.Errorf("the registry does not have %s", ref)
		}
		status, err := services.Registry.get(t.Context(), "/v2/")
		if err != nil || status != http.StatusUnauthorized {
			t.Errorf("without a password the registry answers %d, %v", status, err)
		}
	})
	t.Run("sandbox", func(t *testing.T) {
		links, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if link.Flags&net.FlagLoopback == 0 && !strings.HasPrefix(link.Name, "docker") {
				t.Errorf("the sandbox has a network: %s", link.Name)
			}
		}
	})
}
