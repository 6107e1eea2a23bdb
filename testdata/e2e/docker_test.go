//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDockerClassic proves that the first lines of the README work: build on
// alpine, docker load, docker run, and an answer with the container's name.
func TestDockerClassic(t *testing.T) {
	dir := clone(t)
	out := buildOnAlpine(t, opts{Dir: dir}, "-p", "8080", "./server")
	equal(t, "standard output", out, "image.tar")
	equal(t, "loaded", dockerLoad(t, filepath.Join(dir, "image.tar")), []string{"server:latest"})
	_, body := runAndFetch(t, "--hostname", "classic-box", "server:latest")
	contains(t, "answer", body, "classic-box")
}

// TestDockerStatic proves that the built-in base runs a server as its own
// user, with no capabilities and nothing to write to.
func TestDockerStatic(t *testing.T) {
	file := filepath.Join(t.TempDir(), "static.tar")
	mustStagectl(t, opts{}, "build", "-t", "e2e/static:v1", "-o", file, "./server")
	dockerLoad(t, file)
	equal(t, "user", inspect(t, "docker", "e2e/static:v1").Config.User, "65532")
	id, body := runAndFetch(t, "--hostname", "static-box", "--read-only", "--cap-drop=ALL", "e2e/static:v1")
	contains(t, "answer", body, "static-box")
	equal(t, "uid of the process", processUID(t, id), "65532")
}

// processUID is the real user of a container's first process.
func processUID(t testing.TB, id string) string {
	t.Helper()
	pid := docker(t, "inspect", "-f", "{{.State.Pid}}", id)
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nUid:")
	return strings.Fields(rest)[0]
}

// TestDockerLoadFlag proves that `docker run --rm $(stagectl build -q --load …)`
// works with every docker client of this machine.
func TestDockerLoadFlag(t *testing.T) {
	dir := writeFiles(t, commands)
	for i, client := range dockerClients(t) {
		t.Run(client, func(t *testing.T) {
			bin := t.TempDir()
			if err := os.Symlink(client, filepath.Join(bin, "docker")); err != nil {
				t.Fatal(err)
			}
			path := "PATH=" + bin + ":" + os.Getenv("PATH")
			tag := fmt.Sprintf("e2e/load:v%d", i)
			r := stagectl(t, opts{Dir: dir, Env: []string{path}}, "build", "-q", "--load", "-t", tag, "./cmd/one")
			equal(t, "exit code", r.Code, 0)
			equal(t, "standard output", r.Stdout, tag+"\n")
			equal(t, "standard error", r.Stderr, "")
			equal(t, "container says", runOnce(t, "docker", strings.TrimSpace(r.Stdout), "hi"), "one [hi]")
			if _, err := os.Stat(filepath.Join(dir, "image.tar")); err == nil {
				t.Error("--load also wrote image.tar")
			}
		})
	}
}

// dockerClients are the different docker programs on PATH.
func dockerClients(t testing.TB) []string {
	t.Helper()
	seen := map[string]bool{}
	var clients []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		file, err := filepath.EvalSymlinks(filepath.Join(dir, "docker"))
		if _, notExecutable := exec.LookPath(file); err != nil || notExecutable != nil || seen[file] {
			continue
		}
		seen[file] = true
		clients = append(clients, file)
	}
	return clients
}

// TestDockerTwoImages proves that one archive carries several images.
func TestDockerTwoImages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "two.tar")
	mustStagectl(t, opts{}, "build", "-t", "e2e/{name}:v1", "-o", file, "./cmd/stagectl", "./server")
	equal(t, "loaded", dockerLoad(t, file), []string{"e2e/server:v1", "e2e/stagectl:v1"})
	contains(t, "stagectl in a container", runOnce(t, "docker", "e2e/stagectl:v1", "version"), "stagectl")
	_, body := runAndFetch(t, "--hostname", "two-box", "e2e/server:v1")
	contains(t, "answer", body, "two-box")
}

// TestDockerMultiPlatformArchive proves that an archive of several platforms
// loads as the engine's own, though it is not the first.
func TestDockerMultiPlatformArchive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "multi.tar")
	buildOnAlpine(t, opts{}, "--platform", otherPlatform()+","+hostPlatform, "-t", "e2e/multi:v1", "-o", file, "./server")
	equal(t, "loaded", dockerLoad(t, file), []string{"e2e/multi:v1"})
	equal(t, "platform", "linux/"+inspect(t, "docker", "e2e/multi:v1").Architecture, hostPlatform)
	_, body := runAndFetch(t, "--hostname", "multi-box", "e2e/multi:v1")
	contains(t, "answer", body, "multi-box")
}

// TestDockerSingle proves that --single puts all binaries into one image and
// starts the first.
func TestDockerSingle(t *testing.T) {
	file := filepath.Join(t.TempDir(), "single.tar")
	o := opts{Dir: writeFiles(t, commands)}
	mustStagectl(t, o, "build", "--single", "-t", "e2e/single:v1", "-o", file, "./cmd/two", "./cmd/one")
	equal(t, "loaded", dockerLoad(t, file), []string{"e2e/single:v1"})
	equal(t, "entrypoint", runOnce(t, "docker", "e2e/single:v1", "a"), "two [a]")
	equal(t, "other", runOnce(t, "docker", "--entrypoint", "/app/one", "e2e/single:v1", "b"), "one [b]")
}

// TestDockerHealth proves that a health check without a shell turns the
// container healthy.
func TestDockerHealth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.tar")
	mustStagectl(t, opts{}, "build", "-t", "e2e/health:v1", "-o", file,
		"--health-cmd", `["/app/server","-health"]`, "--health-interval", "1s", "--health-timeout", "5s",
		"--health-retries", "4", "./server")
	dockerLoad(t, file)
	check := inspect(t, "docker", "e2e/health:v1").Config.Healthcheck
	equal(t, "test", check.Test, []string{"CMD", "/app/server", "-health"})
	equal(t, "interval", check.Interval, time.Second)
	equal(t, "timeout", check.Timeout, 5*time.Second)
	equal(t, "retries", check.Retries, 4)
	becomesHealthy(t, start(t, "docker", "e2e/health:v1"))
}

// TestDockerHealthShell proves that a health check is a shell's command line
// otherwise, as in docker run.
func TestDockerHealthShell(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.tar")
	buildOnAlpine(t, opts{}, "-t", "e2e/health:v2", "-o", file,
		"--health-cmd", "wget -q -O- http://127.0.0.1:8080/healthz || exit 1", "--health-interval", "1s", "./server")
	dockerLoad(t, file)
	equal(t, "test", inspect(t, "docker", "e2e/health:v2").Config.Healthcheck.Test,
		[]string{"CMD-SHELL", "wget -q -O- http://127.0.0.1:8080/healthz || exit 1"})
	becomesHealthy(t, start(t, "docker", "e2e/health:v2"))
}

// becomesHealthy waits until docker calls the container healthy.
func becomesHealthy(t testing.TB, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := poll(ctx, func() error {
		if health := docker(t, "inspect", "-f", "{{.State.Health.Status}}", id); health != "healthy" {
			return errors.New("the container is " + health)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDockerStop proves that the server gets docker's SIGTERM and ends by itself.
func TestDockerStop(t *testing.T) {
	dockerLoad(t, serverSample(t).Archive)
	id, _ := runAndFetch(t, sampleName)
	docker(t, "stop", id)
	equal(t, "exit code", docker(t, "inspect", "-f", "{{.State.ExitCode}}", id), "0")
}

// TestDockerStdin proves that `stagectl build -o - | docker load` works.
func TestDockerStdin(t *testing.T) {
	r := stagectl(t, opts{Dir: writeFiles(t, commands)}, "build", "-t", "e2e/stdout:v1", "-o", "-", "./cmd/one")
	equal(t, "exit code", r.Code, 0)
	cmd := tool(t, "docker", "load")
	cmd.Stdin = strings.NewReader(r.Stdout)
	equal(t, "loaded", loaded(output(t, cmd)), []string{"e2e/stdout:v1"})
	equal(t, "container says", runOnce(t, "docker", "e2e/stdout:v1"), "one []")
}

// TestDockerSavedBase proves that what `docker save` writes is a base.
func TestDockerSavedBase(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base.tar")
	docker(t, "pull", "-q", "alpine:3.20")
	docker(t, "save", "-o", base, "alpine:3.20")
	file := filepath.Join(t.TempDir(), "image.tar")
	o := opts{Dir: writeFiles(t, commands)}
	mustStagectl(t, o, "build", "--base", "docker-archive:"+base, "-t", "e2e/saved:v1", "-o", file, "./cmd/one")
	want := inspect(t, "docker", "alpine:3.20").RootFS.Layers
	dockerLoad(t, file)
	equal(t, "container says", runOnce(t, "docker", "e2e/saved:v1"), "one []")
	release := runOnce(t, "docker", "--entrypoint", "cat", "e2e/saved:v1", "/etc/alpine-release")
	equal(t, "file of the base", release, "3.20.3")
	equal(t, "layers of the base", inspect(t, "docker", "e2e/saved:v1").RootFS.Layers[:1], want)
}

// TestDockerBases proves that images on every kind of base run.
func TestDockerBases(t *testing.T) {
	dir := t.TempDir()
	skopeo(t, "copy", "-q", "--src-tls-verify=false",
		"docker://"+services.Mirror.Host+"/"+alpineRepo+":latest", "oci:"+dir+"/layout:v1")
	digest, err := services.Alpine.OCI.Digest()
	if err != nil {
		t.Fatal(err)
	}
	o := opts{Dir: writeFiles(t, commands)}
	for i, base := range []string{
		"scratch", "static", "alpine:3.20", "alpine:oci", "docker.io/library/alpine@" + digest.String(),
		services.Mirror.Host + "/library/alpine", "oci:" + dir + "/layout", "oci:" + dir + "/layout:v1",
	} {
		t.Run(base, func(t *testing.T) {
			tag := fmt.Sprintf("e2e/bases:v%d", i)
			args := append(useMirror(), "-t", tag, "--load", "./cmd/one")
			mustStagectl(t, o, append([]string{"build", "--base", base}, args...)...)
			equal(t, "container says", runOnce(t, "docker", tag), "one []")
		})
	}
}

// TestContainerd proves that containerd imports the archive under its name and
// finds all of it.
func TestContainerd(t *testing.T) {
	s := serverSample(t)
	ctr := func(args ...string) string {
		return output(t, tool(t, "ctr", append([]string{"-a", containerdSocket, "-n", "e2e"}, args...)...))
	}
	ctr("images", "import", "--digests", s.Archive)
	image := "docker.io/" + sampleName
	contains(t, "images", ctr("images", "ls", "name=="+image), s.Digest)
	contains(t, "check", ctr("images", "check", "name=="+image), "complete")
}

// TestDockerCompression proves that every Docker Engine loads and runs layers
// compressed with gzip at any level, and those that are not compressed.
func TestDockerCompression(t *testing.T) {
	o := opts{Dir: writeFiles(t, commands)}
	for i, compression := range []string{"gzip:1", "gzip:9", "none"} {
		t.Run(compression, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "image.tar")
			tag := fmt.Sprintf("e2e/compression:v%d", i)
			mustStagectl(t, o, "build", "--compression", compression, "-t", tag, "-o", file, "./cmd/one")
			dockerLoad(t, file)
			equal(t, "container says", runOnce(t, "docker", tag), "one []")
		})
	}
}

// TestZstd proves that podman runs layers compressed with zstd, from an archive
// and from a registry, and that Docker Engine does since version 23: older ones
// take them for damaged.
func TestZstd(t *testing.T) {
	o := login(t)
	o.Dir = writeFiles(t, commands)
	file := filepath.Join(t.TempDir(), "image.tar")
	ref := services.Registry.Host + "/zstd/one:v1"
	mustStagectl(t, o, "build", "--compression", "zstd", "-t", ref, "-o", file, "--push", "./cmd/one")

	podmanLoad(t, file)
	equal(t, "podman's container says", runOnce(t, "podman", ref), "one []")
	podman(t, "image", "rm", ref)
	podman(t, "pull", "-q", "--authfile", filepath.Join(dockerConfig(t, password), "config.json"), ref)
	equal(t, "podman's container says", runOnce(t, "podman", ref), "one []")

	docker(t, "image", "prune", "-af")
	version := docker(t, "version", "-f", "{{.Server.Version}}")
	major, _, _ := strings.Cut(version, ".")
	load := execute(t, tool(t, "docker", "load", "-i", file))
	if number, err := strconv.Atoi(major); err != nil || number < 23 {
		contains(t, "error of docker "+version, load.Stdout+load.Stderr, "invalid tar header")
		return
	}
	equal(t, "docker's container says", runOnce(t, "docker", ref), "one []")
}
