//go:build linux

package e2e

import (
	"strings"
	"testing"
)

// TestPodman proves that podman loads the archive that docker loads, as the
// same image, and that crun runs it.
func TestPodman(t *testing.T) {
	s := serverSample(t)
	names := podmanLoad(t, s.Archive)
	if len(names) != 1 || !strings.HasSuffix(names[0], "/"+sampleName) {
		t.Fatalf("loaded: %q", names)
	}
	equal(t, "image ID", "sha256:"+inspect(t, "podman", names[0]).ID, s.ConfigDigest)
	// Containers of podman are on the sandbox's own network.
	id := start(t, "podman", "-e", "PORT=18080", "--uts=private", "--hostname", "podman-box", names[0])
	contains(t, "answer", fetch(t, "http://127.0.0.1:18080/"), "podman-box")
	equal(t, "runtime", podman(t, "inspect", "-f", "{{.OCIRuntime}}", id), "crun")
}

// TestPodmanLayout proves that podman pulls the OCI layout.
func TestPodmanLayout(t *testing.T) {
	s := serverSample(t)
	podman(t, "image", "prune", "-af")
	id := podman(t, "pull", "-q", "oci:"+s.Layout)
	equal(t, "image ID", "sha256:"+id, s.ConfigDigest)
}

// TestPodmanLoadFlag proves that `podman run --rm $(stagectl build -q
// --load=podman …)` works.
func TestPodmanLoadFlag(t *testing.T) {
	r := stagectl(t, opts{Dir: writeFiles(t, commands)},
		"build", "-q", "--load=podman", "-t", "e2e/podman-load:v1", "./cmd/one")
	equal(t, "exit code", r.Code, 0)
	equal(t, "standard error", r.Stderr, "")
	equal(t, "container says", runOnce(t, "podman", strings.TrimSuffix(r.Stdout, "\n"), "hi"), "one [hi]")
}
