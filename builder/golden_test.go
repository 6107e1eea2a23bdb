package builder_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

var update = flag.Bool("update", false, "write the golden files")

// baseLayout makes a small base, with Docker's media types and the traits of a
// real one, as an OCI layout, and returns its name.
func baseLayout(t testing.TB) string {
	t.Helper()
	var content bytes.Buffer
	tw := tar.NewWriter(&content)
	for _, h := range []tar.Header{
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644, Size: 5},
		{Name: "lib64", Typeflag: tar.TypeSymlink, Linkname: "usr/lib64"},
		{Name: "run/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 3, Gid: 4},
		{Name: "usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "usr/lib64/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "usr/lib64/ld-linux-x86-64.so.2", Typeflag: tar.TypeReg, Mode: 0o755},
		{Name: "var/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "var/run", Typeflag: tar.TypeSymlink, Linkname: "/run"},
	} {
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, "root\n"[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	// Uncompressed, so that no other compressor's bytes are part of a digest.
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	diffID, err := l.DiffID()
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   uncompressed{static.NewLayer(content.Bytes(), types.DockerUncompressedLayer), diffID},
		History: v1.History{CreatedBy: "base"},
	})
	if err != nil {
		t.Fatal(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf.OS, cf.Architecture = "linux", "amd64"
	cf.Config = v1.Config{Env: []string{"PATH=/bin"}, Cmd: []string{"/bin/sh"}, Labels: map[string]string{"from": "base"}}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "base")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	return "oci:" + dir
}

// uncompressed is a layer whose digest is its diffID.
type uncompressed struct {
	v1.Layer
	diffID v1.Hash
}

func (u uncompressed) DiffID() (v1.Hash, error) { return u.diffID, nil }

// TestGolden pins the bytes of everything that is made. A change of a digest
// makes every user push everything again, so it needs a new FormatVersion, and
// `go test ./builder -run TestGolden -update`.
func TestGolden(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"conf/a.conf": "a", "conf/sub/b.conf": "b"})
	// A COPY of a Dockerfile keeps modes, which are the umask's otherwise.
	for name, mode := range map[string]os.FileMode{"conf": 0o755, "conf/sub": 0o755, "conf/a.conf": 0o644, "conf/sub/b.conf": 0o600} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	var got strings.Builder
	fmt.Fprintf(&got, "format %d\n", builder.FormatVersion)
	bases := []struct {
		title, name string
		platforms   []v1.Platform
	}{
		{"scratch", plan.Scratch, []v1.Platform{amd64, arm64}},
		{"static", plan.Static, []v1.Platform{amd64, arm64}},
		{"layout", baseLayout(t), []v1.Platform{amd64}},
	}
	host := registryWithBase(t)
	bases = append(bases, []struct {
		title, name string
		platforms   []v1.Platform
	}{
		{"archive", "docker-archive:" + baseArchive(t, host), []v1.Platform{amd64}},
		{"registry", "registry.example.com/base:v1", []v1.Platform{amd64}},
	}...)
	algorithms := []string{"gzip", "zstd", "none"}
	for _, from := range bases {
		for _, algorithm := range algorithms {
			p := serverPlan(dir, from.name, copyStep(t, "conf:/etc/conf,chown=5"))
			p.Compression.Algorithm, p.Images[0].Platforms = algorithm, from.platforms
			describe(t, &got, from.title+" "+algorithm, p, host)
		}
	}
	for _, algorithm := range algorithms {
		p := dockerPlan(t, dir, goldenDockerfile)
		p.Compression.Algorithm = algorithm
		describe(t, &got, "dockerfile "+algorithm, p, host)
	}
	golden := filepath.Join("..", "testdata", "golden", "digests.txt")
	if *update {
		wantKept(t, golden, got.String())
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(want, fmt.Appendf(nil, "format %d\n", builder.FormatVersion)) {
		t.Errorf("%s is of another format version", golden)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
}

// wantKept refuses to write other digests for the same FormatVersion.
func wantKept(t *testing.T, golden, now string) {
	t.Helper()
	was, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	version := fmt.Sprintf("format %d\n", builder.FormatVersion)
	if bytes.HasPrefix(was, []byte(version)) && !strings.HasPrefix(now, string(was)) {
		t.Fatalf("digests have moved: that takes another FormatVersion than %d. New ones go to the end.", builder.FormatVersion)
	}
}

// goldenDockerfile has each kind of step that makes a layer, but for those whose
// bytes are the go command's.
const goldenDockerfile = `FROM scratch AS files
COPY --chown=5:6 conf /etc/conf
COPY <<EOF /etc/more.conf
more
EOF
RUN ["ln", "-s", "conf/a.conf", "/etc/link"]
RUN ["mkdir", "-p", "-m", "700", "/var/lib/x"]
FROM registry.example.com/base:v1
ENV A=b
WORKDIR /srv
COPY --from=files /etc /etc
COPY --from=files --chmod=600 /etc/more.conf .
RUN ["rm", "-r", "/usr"]
RUN ["touch", "/var/run/x"]
USER 5:6
EXPOSE 8080
LABEL c=d
ENTRYPOINT ["/server"]
`

// baseArchive has the base of a registry as docker save writes it.
func baseArchive(t *testing.T, host string) string {
	t.Helper()
	ref, err := name.NewTag(host + "/base:v1")
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "base.tar")
	if err := tarball.WriteToFile(file, ref, img); err != nil {
		t.Fatal(err)
	}
	return file
}

// mirrored resolves what is of registry.example.com at a host.
func mirrored(t *testing.T, b *builder.Builder, dir, host string) *base.Resolver {
	t.Helper()
	m, err := registry.ParseMirror("registry.example.com=" + host)
	if err != nil {
		t.Fatal(err)
	}
	return &base.Resolver{Registry: &registry.Client{Mirrors: []registry.Mirror{m}}, Cache: b.Cache, Dir: dir}
}

// describe writes the digests of all that a plan makes.
func describe(t *testing.T, w *strings.Builder, title string, p *plan.Plan, host string) {
	t.Helper()
	b, fake := newBuilder(t, p.Dir)
	b.Bases = mirrored(t, b, p.Dir, host)
	fake.binary = fakeBinary(t, 60_000) // several blocks of the compressor
	fmt.Fprintf(w, "%s archive sha256:%x\n", title, sha256.Sum256(archiveOf(t, b, p)))
	r := build(t, b, p)[0]
	if r.Index != nil {
		digest, err := r.Index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "%s index %s\n", title, digest)
	}
	for _, img := range r.Images {
		m, err := img.Image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		digest, err := img.Image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "%s %s manifest %s\n", title, img.Platform, digest)
		fmt.Fprintf(w, "%s %s config %s\n", title, img.Platform, m.Config.Digest)
		for _, l := range m.Layers {
			fmt.Fprintf(w, "%s %s layer %s %d\n", title, img.Platform, l.Digest, l.Size)
		}
	}
}
