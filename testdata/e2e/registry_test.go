//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pushed is what a push prints: the repository and a digest.
var pushed = regexp.MustCompile(`^[a-z0-9./:-]+@sha256:[0-9a-f]{64}$`)

// login is the environment of somebody who may push.
func login(t testing.TB) opts {
	t.Helper()
	return opts{Env: []string{"DOCKER_CONFIG=" + dockerConfig(t, password)}}
}

// checkPushed fails unless out names the repository and the digest that the
// registry has under the reference. It returns the digest.
func checkPushed(t testing.TB, out, ref string) string {
	t.Helper()
	if !pushed.MatchString(out) {
		t.Fatalf("standard output: %q", out)
	}
	r := services.Registry
	if strings.HasPrefix(ref, services.Mirror.Host) {
		r = services.Mirror
	}
	repo, digest, _ := strings.Cut(out, "@")
	equal(t, "repository", repo, ref[:strings.LastIndex(ref, ":")])
	equal(t, "digest in the registry", r.digest(t, ref), digest)
	return digest
}

// TestPush proves that a push over TLS finds its password in DOCKER_CONFIG,
// prints the digest that the registry has, and sets the tag last.
func TestPush(t *testing.T) {
	ref := services.Registry.Host + "/team/server:v1"
	var out string
	reqs := services.Registry.during(t, func() {
		out = buildOnAlpine(t, login(t), "-t", ref, "--push", "./server")
	})
	digest := checkPushed(t, out, ref)
	writes := reqs.match("PUT", "")
	if len(writes) == 0 || !strings.HasSuffix(writes[len(writes)-1].Path, "/manifests/v1") {
		t.Errorf("the last write is not the tag: %v", writes)
	}
	id, body := pullAndFetch(t, ref, "push-box")
	contains(t, "answer", body, "push-box")
	equal(t, "image", docker(t, "inspect", "-f", "{{.Config.Image}}", id), ref)
	contains(t, "digests docker knows", docker(t, "image", "inspect", "-f", "{{.RepoDigests}}", ref), digest)
}

// pullAndFetch pulls an image and runs its server.
func pullAndFetch(t testing.TB, ref, hostname string) (id, body string) {
	t.Helper()
	dockerPull(t, ref)
	return runAndFetch(t, "--hostname", hostname, ref)
}

// pullAndRun pulls an image, runs it to its end and returns what it says.
func pullAndRun(t testing.TB, ref string, args ...string) string {
	t.Helper()
	dockerPull(t, ref)
	return runOnce(t, "docker", append([]string{ref}, args...)...)
}

// TestPushAgain proves that pushing what the registry has sends nothing, and
// reads no layer.
func TestPushAgain(t *testing.T) {
	ref := services.Registry.Host + "/again/server:v1"
	first := buildOnAlpine(t, login(t), "-t", ref, "--push", "./server")
	var second string
	reqs := services.Registry.during(t, func() {
		second = buildOnAlpine(t, login(t), "-t", ref, "--push", "./server")
	})
	equal(t, "standard output", second, first)
	if writes := reqs.match("POST|PATCH|PUT|DELETE", ""); len(writes) > 0 {
		t.Errorf("the second push writes: %v", writes)
	}
	if reads := reqs.match("GET", "/blobs/"); len(reads) > 0 {
		t.Errorf("the second push reads: %v", reads)
	}
	if len(reqs) == 0 {
		t.Error("the second push did not ask the registry at all")
	}
}

// TestPushCredentialHelper proves that a credential helper of docker's is asked.
func TestPushCredentialHelper(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"config.json":           fmt.Sprintf(`{"credHelpers": {%q: "e2e"}}`, services.Registry.Host),
		"docker-credential-e2e": fmt.Sprintf("#!/bin/sh\necho '{\"Username\": %q, \"Secret\": %q}'\n", user, password),
	})
	if err := os.Chmod(filepath.Join(dir, "docker-credential-e2e"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := opts{Env: []string{"DOCKER_CONFIG=" + dir, "PATH=" + dir + ":" + os.Getenv("PATH")}}
	ref := services.Registry.Host + "/helper/server:v1"
	checkPushed(t, mustStagectl(t, o, "build", "-t", ref, "--push", "./server"), ref)
}

// TestPushTwoImages proves that two images go to two repositories, and that
// the second gets their common base from the first.
func TestPushTwoImages(t *testing.T) {
	host := services.Registry.Host
	o := login(t)
	o.Dir = writeFiles(t, commands)
	var out string
	reqs := services.Registry.during(t, func() {
		out = buildOnAlpine(t, o, "-t", host+"/pair/{name}:v1", "--push", "./cmd/...")
	})
	lines := strings.Split(out, "\n")
	if len(lines) != 2 {
		t.Fatalf("standard output: %q", out)
	}
	checkPushed(t, lines[0], host+"/pair/one:v1")
	checkPushed(t, lines[1], host+"/pair/two:v1")
	// Two layers and two configs; the base's layer once.
	equal(t, "uploads", len(reqs.match("PUT", "/blobs/uploads/")), 5)
	equal(t, "container says", pullAndRun(t, host+"/pair/two:v1", "hi"), "two [hi]")
}

// TestPushTwoTags proves that several tags of one image share all uploads.
func TestPushTwoTags(t *testing.T) {
	repo := services.Registry.Host + "/tags/server"
	var out string
	reqs := services.Registry.during(t, func() {
		out = buildOnAlpine(t, login(t), "-t", repo+":v1", "-t", repo+":v1.0", "--push", "./server")
	})
	digest := checkPushed(t, strings.Split(out, "\n")[0], repo+":v1")
	equal(t, "other tag", services.Registry.digest(t, repo+":v1.0"), digest)
	// Two layers and a config.
	equal(t, "uploads begun", len(reqs.match("POST", "/blobs/uploads/")), 3)
}

// TestPushRefused proves that a wrong password, and none, is one clear error
// and that nothing is pushed.
func TestPushRefused(t *testing.T) {
	ref := services.Registry.Host + "/refused/server:v1"
	for name, o := range map[string]opts{
		"wrong password": {Env: []string{"DOCKER_CONFIG=" + dockerConfig(t, "wrong horse")}},
		"no password":    {},
	} {
		t.Run(name, func(t *testing.T) {
			var r result
			reqs := services.Registry.during(t, func() {
				r = stagectl(t, o, append(append([]string{"build", "--base", "alpine"}, useMirror()...),
					"-t", ref, "--push", "./server")...)
			})
			equal(t, "exit code", r.Code, 1)
			equal(t, "standard output", r.Stdout, "")
			contains(t, "standard error", r.Stderr, services.Registry.Host)
			contains(t, "standard error", strings.ToLower(r.Stderr), "unauthorized")
			for _, req := range reqs {
				if req.Status < 400 {
					t.Errorf("the registry allowed %v", req)
				}
			}
			equal(t, "digest in the registry", services.Registry.digest(t, ref), "")
		})
	}
}

// TestPushInsecure proves that a registry without TLS, and one with a
// certificate of an unknown authority, is refused until --insecure-registry
// names it.
func TestPushInsecure(t *testing.T) {
	unknown := login(t)
	unknown.Env = append(unknown.Env, "SSL_CERT_FILE=")
	for name, test := range map[string]struct {
		host, reason string
		opts         opts
	}{
		"no TLS":            {services.Mirror.Host, "HTTP response to HTTPS client", opts{}},
		"unknown authority": {services.Registry.Host, "certificate signed by unknown authority", unknown},
	} {
		t.Run(name, func(t *testing.T) {
			test.opts.Dir = writeFiles(t, commands)
			ref := test.host + "/insecure/one:v1"
			args := []string{"build", "-t", ref, "--push", "./cmd/one"}
			r := stagectl(t, test.opts, args...)
			equal(t, "exit code", r.Code, 1)
			contains(t, "standard error", r.Stderr, test.reason)
			contains(t, "hint", r.Stderr, "--insecure-registry")
			out := mustStagectl(t, test.opts, append(args, "--insecure-registry", test.host)...)
			checkPushed(t, out, ref)
		})
	}
}

// TestPushMounts proves that a base in the same registry is neither downloaded
// nor uploaded: its layer is mounted into the new repository.
func TestPushMounts(t *testing.T) {
	base, layer := pushBase(t)
	ref := services.Registry.Host + "/mount/server:v1"
	var out string
	reqs := services.Registry.during(t, func() {
		out = mustStagectl(t, login(t), "build", "--base", base, "-t", ref, "--push", "./server")
	})
	checkPushed(t, out, ref)
	var mounts int
	for _, req := range reqs.match("POST", "/mount/server/blobs/uploads/") {
		if req.Query.Get("mount") == layer && req.Status == 201 {
			equal(t, "mounted from", req.Query.Get("from"), alpineRepo)
			mounts++
		}
	}
	equal(t, "mounts of the base's layer", mounts, 1)
	if reads := reqs.match("GET", "/blobs/"+layer); len(reads) > 0 {
		t.Errorf("the base's layer was downloaded: %v", reads)
	}
	// The binary's layer and the config.
	if blobs := reqs.match("PUT", "/blobs/uploads/"); len(blobs) != 2 {
		t.Errorf("uploads: %v", blobs)
	}
}

// pushBase puts the base image into the registry and returns its reference and
// the digest of the host platform's layer.
func pushBase(t testing.TB) (base, layer string) {
	t.Helper()
	base = services.Registry.Host + "/" + alpineRepo + ":latest"
	ref, err := name.ParseReference(base)
	if err != nil {
		t.Fatal(err)
	}
	options := services.Registry.remote(t.Context())
	if err := remote.WriteIndex(ref, services.Alpine.Docker, options...); err != nil {
		t.Fatal(err)
	}
	host, err := v1.ParsePlatform(hostPlatform)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref, append(options, remote.WithPlatform(*host))...)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return base, m.Layers[0].Digest.String()
}

// TestPushMultiPlatform proves that an index of several platforms is pushed,
// that skopeo finds each platform in it, and that docker runs its own.
func TestPushMultiPlatform(t *testing.T) {
	ref := services.Registry.Host + "/multi/server:v1"
	platforms := "linux/amd64,linux/arm64,linux/arm/v7"
	out := buildOnAlpine(t, login(t), "--platform", platforms, "-t", ref, "--push", "./server")
	checkPushed(t, out, ref)
	auth := filepath.Join(dockerConfig(t, password), "config.json")
	for platform, arch := range map[string]string{
		"linux/amd64": "amd64\n", "linux/arm64": "arm64v8\n", "linux/arm/v7": "armv7\n",
	} {
		t.Run(platform, func(t *testing.T) {
			p, err := v1.ParsePlatform(platform)
			if err != nil {
				t.Fatal(err)
			}
			override := []string{"--override-os", p.OS, "--override-arch", p.Architecture, "--override-variant", p.Variant}
			var cf v1.ConfigFile
			config := skopeo(t, append(override, "inspect", "--config", "--authfile", auth, "docker://"+ref)...)
			if err := json.Unmarshal([]byte(config), &cf); err != nil {
				t.Fatal(err)
			}
			equal(t, "architecture", cf.Architecture, p.Architecture)
			pulled := filepath.Join(t.TempDir(), "layout")
			skopeo(t, append(override, "copy", "-q", "--authfile", auth, "docker://"+ref, "oci:"+pulled+":v1")...)
			bundle := filepath.Join(t.TempDir(), "bundle")
			output(t, tool(t, "umoci", "unpack", "--image", pulled+":v1", bundle))
			checkFile(t, filepath.Join(bundle, "rootfs/etc/apk/arch"), arch)
			checkELF(t, filepath.Join(bundle, "rootfs/app/server"), p.Architecture)
		})
	}
	_, body := pullAndFetch(t, ref, "index-box")
	contains(t, "answer", body, "index-box")
}

// TestPushCommand proves that `stagectl push` of an archive and of a layout
// gives the digest that was built.
func TestPushCommand(t *testing.T) {
	s := serverSample(t)
	for name, source := range map[string]string{"archive": s.Archive, "layout": s.Layout} {
		t.Run(name, func(t *testing.T) {
			ref := services.Registry.Host + "/pushed/" + name + ":v1"
			out := mustStagectl(t, login(t), "push", source, ref)
			equal(t, "digest", checkPushed(t, out, ref), s.Digest)
		})
	}
}

// TestPushCommandIndex proves that `stagectl push` of an archive for several
// platforms pushes the index.
func TestPushCommandIndex(t *testing.T) {
	dir := t.TempDir()
	file, info := filepath.Join(dir, "image.tar"), filepath.Join(dir, "metadata.json")
	buildOnAlpine(t, opts{}, "--platform", hostPlatform+","+otherPlatform(), "-t", "e2e/index:v1",
		"-o", file, "--metadata-file", info, "./server")
	ref := services.Registry.Host + "/pushed/index:v1"
	digest := checkPushed(t, mustStagectl(t, login(t), "push", file, ref), ref)
	equal(t, "digest", digest, readMetadata(t, info).Digest)
}

// TestInspect proves that `stagectl inspect` reads a registry, and says there
// what it says of the archive.
func TestInspect(t *testing.T) {
	s := serverSample(t)
	ref := services.Registry.Host + "/inspect/server:v1"
	mustStagectl(t, login(t), "push", s.Archive, ref)
	text := mustStagectl(t, login(t), "inspect", ref)
	for _, part := range []string{s.Digest, "app/server", "8080"} {
		contains(t, "inspect", text, part)
	}
	var data any
	out := mustStagectl(t, login(t), "inspect", "--json", ref)
	if err := json.Unmarshal([]byte(out), &data); err != nil {
		t.Errorf("inspect --json: %v\n%s", err, out)
	}
	for _, part := range []string{s.Digest, "app/server", "8080/tcp"} {
		contains(t, "inspect --json", out, part)
	}
}
