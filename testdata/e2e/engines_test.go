//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// dockerSocket is where the tests' dockerd listens; /run is the sandbox's own.
const dockerSocket = "/run/docker-e2e.sock"

// containerdSocket is where the containerd listens that dockerd starts.
const containerdSocket = "/run/docker/containerd/containerd.sock"

// dockerdConfig keeps newer engines with the image store in which an image's
// ID is the digest of its config.
const dockerdConfig = `{"features": {"containerd-snapshotter": false}}`

// startDocker starts dockerd with nothing of the host's. It publishes ports
// with its proxy, so that it needs no firewall rules.
func (s *stack) startDocker(dir string) error {
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte(dockerdConfig), 0o644); err != nil {
		return err
	}
	cmd := exec.Command("dockerd",
		"--config-file="+config,
		"--data-root="+filepath.Join(dir, "docker"),
		"--host=unix://"+dockerSocket,
		"--exec-opt=native.cgroupdriver=cgroupfs",
		"--cgroup-parent=/"+cgroupParent,
		"--iptables=false",
		"--ip6tables=false",
		"--ip-masq=false",
		"--registry-mirror=http://"+mirrorName+":5000",
	)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+s.CA, "SSL_CERT_DIR="+dir)
	ready := func(ctx context.Context) error {
		ping := exec.CommandContext(ctx, "docker", "version")
		ping.Env = append(os.Environ(), engineEnv()...)
		out, err := ping.CombinedOutput()
		if err != nil {
			return fmt.Errorf("docker version: %w\n%s", err, out)
		}
		return nil
	}
	if _, err := s.start(dir, "dockerd", ready, cmd); err != nil {
		return err
	}
	return writePodmanConfig(dir)
}

// writePodmanConfig keeps podman's images and containers in dir, and lets it
// run as root with fewer capabilities than it is used to.
func writePodmanConfig(dir string) error {
	containers := fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
tmp_dir = %q
`, "/run/podman-e2e")
	storage := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n",
		filepath.Join(dir, "podman"), "/run/podman-e2e/storage")
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "containers.conf"), []byte(containers), 0o644),
		os.WriteFile(filepath.Join(dir, "storage.conf"), []byte(storage), 0o644),
	)
}

// engineEnv leads docker and podman to the tests' engines.
func engineEnv() []string {
	return []string{
		"DOCKER_HOST=unix://" + dockerSocket,
		"CONTAINERS_CONF=" + filepath.Join(env.Dir, "containers.conf"),
		"CONTAINERS_STORAGE_CONF=" + filepath.Join(env.Dir, "storage.conf"),
	}
}

// tool is a command of one of the other parts.
func tool(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = baseEnv(t)
	return cmd
}

// docker runs the docker client, which must succeed.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	return output(t, tool(t, "docker", args...))
}

// podman runs podman, which must succeed.
func podman(t testing.TB, args ...string) string {
	t.Helper()
	return output(t, tool(t, "podman", args...))
}

// skopeo runs skopeo, which must succeed.
func skopeo(t testing.TB, args ...string) string {
	t.Helper()
	return output(t, tool(t, "skopeo", args...))
}

// dockerLoad loads an archive into a docker that has no image it does not run,
// so that nothing of the archive is there already, and returns the names that
// docker says it has.
func dockerLoad(t testing.TB, archive string) []string {
	t.Helper()
	docker(t, "image", "prune", "-af")
	return loaded(docker(t, "load", "-i", archive))
}

// dockerPull lets docker, logged in and without images, pull one.
func dockerPull(t testing.TB, ref string) {
	t.Helper()
	docker(t, "image", "prune", "-af")
	docker(t, "--config", dockerConfig(t, password), "pull", "-q", ref)
}

// podmanLoad is dockerLoad for podman.
func podmanLoad(t testing.TB, archive string) []string {
	t.Helper()
	podman(t, "image", "prune", "-af")
	return loaded(podman(t, "load", "-q", "-i", archive))
}

// loaded are the names in what `docker load` and `podman load` print, sorted.
func loaded(out string) []string {
	var names []string
	for line := range strings.Lines(out) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), "Loaded image: "); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// engineImage is what docker and podman say about an image.
type engineImage struct {
	ID           string `json:"Id"`
	Architecture string
	Config       struct {
		User         string
		Env          []string
		Entrypoint   []string
		Cmd          []string
		WorkingDir   string
		Labels       map[string]string
		ExposedPorts map[string]struct{}
		Volumes      map[string]struct{}
		StopSignal   string
		Healthcheck  *struct {
			Test     []string
			Interval time.Duration
			Timeout  time.Duration
			Retries  int
		}
	}
	RootFS struct{ Layers []string }
}

// inspect asks an engine, docker or podman, about an image.
func inspect(t testing.TB, engine, image string) engineImage {
	t.Helper()
	var images []engineImage
	out := output(t, tool(t, engine, "image", "inspect", image))
	if err := json.Unmarshal([]byte(out), &images); err != nil {
		t.Fatalf("%s image inspect: %v\n%s", engine, err, out)
	}
	return images[0]
}

// start runs a container in the background until the test ends and returns its ID.
func start(t testing.TB, engine string, args ...string) string {
	t.Helper()
	id := output(t, tool(t, engine, append(runCommand(engine), append([]string{"-d"}, args...)...)...))
	vars := baseEnv(t)
	t.Cleanup(func() {
		// The test's context is over, so these do not have it.
		for _, args := range [][]string{{"logs", id}, {"rm", "-f", id}} {
			cmd := exec.Command(engine, args...)
			cmd.Env = vars
			out, err := cmd.CombinedOutput()
			if t.Failed() || err != nil {
				t.Logf("%s: %v\n%s", cmd, err, out)
			}
		}
	})
	return id
}

// runOnce runs a container to its end, which must be a success, and returns
// its standard output.
func runOnce(t testing.TB, engine string, args ...string) string {
	t.Helper()
	return output(t, tool(t, engine, append(runCommand(engine), append([]string{"--rm"}, args...)...)...))
}

// runCommand is how an engine runs a container below the tests' cgroup, which
// docker does by itself.
func runCommand(engine string) []string {
	if engine == "podman" {
		return []string{"run", "--cgroup-parent=/" + cgroupParent}
	}
	return []string{"run"}
}

// runAndFetch runs a docker image's server with its port published, and
// returns the container's ID and what the server answers.
func runAndFetch(t testing.TB, args ...string) (id, body string) {
	t.Helper()
	id = start(t, "docker", append([]string{"-p", "127.0.0.1:0:8080"}, args...)...)
	addr := docker(t, "port", id, "8080/tcp")
	return id, fetch(t, "http://"+addr+"/")
}

// fetch asks until there is an answer and returns its body.
func fetch(t testing.TB, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var body []byte
	err := poll(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		body, err = io.ReadAll(resp.Body)
		return err
	})
	if err != nil {
		t.Fatalf("no answer from %s: %v", url, err)
	}
	return string(body)
}
