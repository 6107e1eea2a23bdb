//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDockerIdentity proves that docker's image ID and layers are the ones
// that stagectl says, and that the history is for people.
func TestDockerIdentity(t *testing.T) {
	s := serverSample(t)
	dockerLoad(t, s.Archive)
	img := inspect(t, "docker", sampleName)
	equal(t, "image ID", img.ID, s.ConfigDigest)
	idx := openArchive(t, s.Archive)
	desc := manifest(t, idx).Manifests[0]
	equal(t, "digest", desc.Digest.String(), s.Digest)
	inArchive, err := idx.Image(desc.Digest)
	if err != nil {
		t.Fatal(err)
	}
	cf, err := inArchive.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var diffIDs []string
	for _, id := range cf.RootFS.DiffIDs {
		diffIDs = append(diffIDs, id.String())
	}
	equal(t, "layers", img.RootFS.Layers, diffIDs)
	history := strings.Split(docker(t, "history", "--no-trunc", "--format", "{{.CreatedBy}}", sampleName), "\n")
	contains(t, "newest history entry", history[0], "server")
	contains(t, "oldest history entry", history[len(history)-1], "ADD alpine-minirootfs.tar.gz")
}

// TestDockerConfig proves that every flag of the image's config means what it
// means in docker run.
func TestDockerConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.tar")
	buildOnAlpine(t, opts{Dir: writeFiles(t, commands)}, "-t", "e2e/config:v1", "-o", file,
		"-p", "8080", "-p", "53/udp", "-e", "GREETING=hello world", "-w", "/data", "-u", "1000:1000",
		"--label", "org.example.team=a b", "--volume", "/data", "--stop-signal", "SIGINT",
		"--cmd", "fixed", "./cmd/one")
	dockerLoad(t, file)
	cf := inspect(t, "docker", "e2e/config:v1").Config
	equal(t, "ports", cf.ExposedPorts, map[string]struct{}{"8080/tcp": {}, "53/udp": {}})
	equal(t, "user", cf.User, "1000:1000")
	equal(t, "workdir", cf.WorkingDir, "/data")
	equal(t, "label", cf.Labels["org.example.team"], "a b")
	equal(t, "volumes", cf.Volumes, map[string]struct{}{"/data": {}})
	equal(t, "stop signal", cf.StopSignal, "SIGINT")
	equal(t, "entrypoint", cf.Entrypoint, []string{"/app/one"})
	equal(t, "cmd", cf.Cmd, []string{"fixed"})
	if !slices.Contains(cf.Env, "GREETING=hello world") || !slices.Contains(cf.Env, alpineEnv) {
		t.Errorf("env: %q", cf.Env)
	}
	equal(t, "container says", runOnce(t, "docker", "e2e/config:v1"), "one [fixed]")
	equal(t, "with arguments", runOnce(t, "docker", "e2e/config:v1", "other"), "one [other]")
	equal(t, "user in the container", runOnce(t, "docker", "--entrypoint", "id", "e2e/config:v1", "-u"), "1000")
}

// TestDockerClearsCmd proves that the base's command is not an argument of the
// new entrypoint.
func TestDockerClearsCmd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.tar")
	buildOnAlpine(t, opts{Dir: writeFiles(t, commands)}, "-t", "e2e/cmd:v1", "-o", file, "./cmd/one")
	dockerLoad(t, file)
	equal(t, "container says", runOnce(t, "docker", "e2e/cmd:v1"), "one []")
}

// TestDockerCopy proves that copied files, directories and links are in the
// container with their modes and owners, and readable for any user.
func TestDockerCopy(t *testing.T) {
	dir := writeFiles(t, commands)
	tree := copyTree(t)
	file := filepath.Join(t.TempDir(), "image.tar")
	buildOnAlpine(t, opts{Dir: dir}, "-t", "e2e/copy:v1", "-o", file, "-u", "1000",
		"--copy", filepath.Join(tree, "app.conf")+":/etc/app/app.conf,chmod=0640,chown=1000:1001",
		"--copy", filepath.Join(tree, "assets")+":/srv/assets",
		"--copy", filepath.Join(tree, "run.txt")+":/var/run/e2e.txt",
		"./cmd/one")
	dockerLoad(t, file)
	stat := func(format string, paths ...string) string {
		args := append([]string{"--entrypoint", "stat", "e2e/copy:v1", "-c", format}, paths...)
		return runOnce(t, "docker", args...)
	}
	got := stat("%a %u:%g %n", "/app", "/app/one", "/etc/app", "/etc/app/app.conf", "/srv", "/srv/assets",
		"/srv/assets/tool.sh", "/srv/assets/sub/page")
	equal(t, "modes and owners", strings.Split(got, "\n"), []string{
		"755 0:0 /app", "755 0:0 /app/one", "755 0:0 /etc/app", "640 1000:1001 /etc/app/app.conf",
		"755 0:0 /srv", "755 0:0 /srv/assets", "755 0:0 /srv/assets/tool.sh", "644 0:0 /srv/assets/sub/page",
	})
	equal(t, "times", stat("%Y", "/app/one", "/srv/assets/sub/page"), "0\n0")
	read := func(path string) string { return runOnce(t, "docker", "--entrypoint", "cat", "e2e/copy:v1", path) }
	equal(t, "file", read("/etc/app/app.conf"), "key=value")
	equal(t, "link", read("/srv/assets/link"), "a page")
	target := runOnce(t, "docker", "--entrypoint", "readlink", "e2e/copy:v1", "/srv/assets/link")
	equal(t, "link's target", target, "sub/page")
	equal(t, "file below a link of the base", read("/run/e2e.txt"), "running")
}

// TestDockerKeepsBaseDirectories proves that adding a file to a directory of
// the base changes nothing else about it. Engines make up the directories that
// a layer's tar leaves out, with modes of their own.
func TestDockerKeepsBaseDirectories(t *testing.T) {
	tree := copyTree(t)
	file := filepath.Join(t.TempDir(), "image.tar")
	args := []string{"-t", "e2e/dirs:v1", "-o", file}
	for _, dest := range []string{"/etc/x", "/root/x", "/tmp/x", "/usr/bin/x", "/var/run/x", "/var/www/x"} {
		args = append(args, "--copy", filepath.Join(tree, "app.conf")+":"+dest)
	}
	buildOnAlpine(t, opts{Dir: writeFiles(t, commands)}, append(args, "./cmd/one")...)
	dockerLoad(t, file)
	for _, engine := range []string{"docker", "podman"} {
		name := "e2e/dirs:v1"
		if engine == "podman" {
			name = podmanLoad(t, file)[0]
		}
		got := runOnce(t, engine, "--entrypoint", "stat", name, "-c", "%a %u:%g %F %n",
			"/etc", "/root", "/tmp", "/usr", "/usr/bin", "/var", "/var/run", "/var/www")
		equal(t, engine, strings.Split(got, "\n"), []string{
			"755 0:0 directory /etc", "700 0:0 directory /root", "1777 0:0 directory /tmp", "755 0:0 directory /usr",
			"755 0:0 directory /usr/bin", "755 0:0 directory /var", "777 0:0 symbolic link /var/run",
			"750 33:33 directory /var/www",
		})
	}
}

// copyTree makes the files that the tests copy, with modes of all kinds.
func copyTree(t testing.TB) string {
	t.Helper()
	dir := writeFiles(t, map[string]string{
		"app.conf":        "key=value\n",
		"run.txt":         "running\n",
		"assets/tool.sh":  "#!/bin/sh\n",
		"assets/sub/page": "a page\n",
	})
	if err := os.Chmod(filepath.Join(dir, "assets/tool.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/page", filepath.Join(dir, "assets/link")); err != nil {
		t.Fatal(err)
	}
	return dir
}
