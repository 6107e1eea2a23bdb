//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagectl/stagectl/testdata/build/corpus"
)

const (
	// buildKitModule is compiled in the version that go.mod has, so that the
	// daemon's rules are those of the parser that stagectl has from it. The
	// engines of distributions are years behind.
	buildKitModule = "github.com/moby/buildkit"
	buildKitSocket = "unix:///run/buildkit-e2e.sock"
	// corpusRepo is where the mirror has the corpus's bases.
	corpusRepo = mirrorName + ":5000/corpus/"
)

// makeBuildKit compiles the daemon and its client into dir.
func makeBuildKit(ctx context.Context, root, dir string) error {
	version, err := goRun(ctx, root, "list", "-m", "-f", "{{.Version}}", buildKitModule)
	if err != nil {
		return err
	}
	out, err := goRun(ctx, os.TempDir(), "mod", "download", "-json", buildKitModule+"@"+strings.TrimSpace(version))
	if err != nil {
		return fmt.Errorf("the corpus is compared with BuildKit, which the module proxy does not give: %w", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &module); err != nil {
		return err
	}
	// As the main module, for its go.mod has replacements and exclusions.
	_, err = goRunEnv(ctx, module.Dir, []string{"CGO_ENABLED=0"}, "build", "-o", dir+string(filepath.Separator), "./cmd/buildkitd", "./cmd/buildctl")
	return err
}

// startBuildKit starts the daemon, which keeps everything in dir.
func (s *stack) startBuildKit(dir string) error {
	config := filepath.Join(dir, "buildkitd.toml")
	text := fmt.Sprintf(`root = %q
[grpc]
  address = [%q]
[worker.containerd]
  enabled = false
[worker.oci]
  enabled = true
  binary = "runc"
  gc = false
  networkMode = "host"
  cgroupParent = %q
[registry."docker.io"]
  mirrors = [%[4]q]
[registry.%[4]q]
  http = true
`, filepath.Join(dir, "buildkit"), buildKitSocket, "/"+cgroupParent, s.Mirror.Host)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	ready := func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, filepath.Join(env.BuildKit, "buildctl"), "--addr", buildKitSocket, "debug", "workers").CombinedOutput()
		if err == nil && len(strings.Fields(string(out))) < 2 {
			err = errors.New("it has no worker")
		}
		return err
	}
	_, err := s.start(dir, "buildkitd", ready, exec.Command(filepath.Join(env.BuildKit, "buildkitd"), "--config", config))
	return err
}

// buildctl is the client building by the Dockerfile in a directory.
func buildctl(t testing.TB, dir string, args ...string) *exec.Cmd {
	t.Helper()
	all := []string{
		"--addr", buildKitSocket, "build", "--progress", "plain", "--frontend", "dockerfile.v0",
		"--local", "context=" + dir, "--local", "dockerfile=" + dir,
		// With it, a syntax directive does not make the daemon fetch another front end.
		"--opt", "cmdline=",
	}
	for _, base := range corpus.Bases {
		all = append(all, "--opt", "context:"+base+"=docker-image://"+corpusRepo+base)
	}
	return tool(t, filepath.Join(env.BuildKit, "buildctl"), append(all, args...)...)
}

// pushCorpusBases pushes the corpus's bases, with a busybox that works.
func pushCorpusBases(t testing.TB) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	var links []string
	for applet := range strings.FieldsSeq(output(t, tool(t, "busybox", "--list"))) {
		if applet != "busybox" {
			links = append(links, "lrwxrwxrwx 0:0 /bin/"+applet+" -> /bin/busybox")
		}
	}
	p, err := v1.ParsePlatform(hostPlatform)
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range corpus.Bases {
		img, err := corpus.Base(base, p.Architecture, program, links)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := name.ParseReference(corpusRepo+base, name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}

// golangDockerfile makes an image like those of golang out of the host's Go. What
// the corpus's programs import is compiled beforehand, with paths and without:
// for real golang images, that is a part of each build.
const golangDockerfile = `FROM alpine
COPY --from=goroot --exclude=**/testdata --exclude=**/*_test.go --exclude=pkg/obj . /usr/local/go/
COPY passwd group /etc/
COPY <<roots /etc/ssl/certs/ca-certificates.crt
none
roots
ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV GOLANG_VERSION=%s GOTOOLCHAIN=local GOPATH=/go
RUN mkdir -p /go/src /go/bin && chmod -R 1777 /go
WORKDIR /go
RUN go build fmt && go build -trimpath fmt
CMD ["/bin/sh"]
`

// pushGolang makes that image and pushes it to the mirror with all the tags
// that the cases have.
func pushGolang(t testing.TB, cases []*corpus.Case) {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"passwd", "group"} {
		data, err := os.ReadFile(filepath.Join(env.Source, "builder", "golang", "alpine", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	release := strings.TrimPrefix(output(t, tool(t, "go", "env", "GOVERSION")), "go")
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), fmt.Appendf(nil, golangDockerfile, release), 0o644); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range cases {
		for word := range strings.FieldsSeq(c.Dockerfile) {
			if tag, ok := strings.CutPrefix(word, "golang:"); ok && !slices.Contains(names, tag) {
				names = append(names, tag)
			}
		}
	}
	names = append(names, "latest")
	for i := range names {
		names[i] = services.Mirror.Host + "/" + golangRepo + ":" + names[i]
	}
	output(t, buildctl(t, dir,
		"--local", "goroot="+output(t, tool(t, "go", "env", "GOROOT")), "--opt", "context:goroot=local:goroot",
		"--output", `type=image,"name=`+strings.Join(names, ",")+`",push=true,registry.insecure=true,compression=uncompressed`))
}
