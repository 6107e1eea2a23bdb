package builder_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/imagetest"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

var (
	amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = v1.Platform{OS: "linux", Architecture: "arm64"}
)

// fakeCompiler makes the same binary of every package, for the tests that are
// about what happens to it.
type fakeCompiler struct {
	binary      string
	interpreter string
	err         error
	// late is an error that comes when the binaries have been given out.
	late error

	mu    sync.Mutex
	calls [][]plan.Compile
}

func (f *fakeCompiler) Start(ctx context.Context, _ v1.Platform, steps []plan.Compile) *compile.Binaries {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, steps)
	if f.err != nil {
		return compile.Finished(len(steps), nil, f.err)
	}
	info, err := os.Stat(f.binary)
	if err != nil {
		return compile.Finished(len(steps), nil, err)
	}
	var list []compile.Binary
	for range steps {
		list = append(list, compile.Binary{Path: f.binary, Size: info.Size(), Interpreter: f.interpreter})
	}
	return compile.Finished(len(steps), list, errors.Join(f.late, ctx.Err()))
}

// fakeBinary is content that compresses about as a program does, 40 bytes for
// each of n.
func fakeBinary(t testing.TB, n int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "binary")
	var content bytes.Buffer
	content.WriteString("\x7fELF")
	for i := range n {
		sum := sha256.Sum256(fmt.Append(nil, i))
		content.Write(sum[:20])
		content.WriteString(strings.Repeat("\x00", 20))
	}
	if err := os.WriteFile(name, content.Bytes(), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func newBuilder(t testing.TB, dir string) (*builder.Builder, *fakeCompiler) {
	t.Helper()
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	fake := &fakeCompiler{binary: fakeBinary(t, 1000)}
	return &builder.Builder{
		Compiler: fake, Cache: c,
		Bases: &base.Resolver{Registry: &registry.Client{Offline: true}, Cache: c, Dir: dir},
	}, fake
}

// The go command can fail after it has linked everything: then nothing of it is
// written.
func TestLateError(t *testing.T) {
	b, fake := newBuilder(t, t.TempDir())
	fake.late = errors.New("it fails in the end")
	file := filepath.Join(t.TempDir(), "image.tar")
	_, err := b.Build(t.Context(), serverPlan(t.TempDir(), "scratch"), &output.Archive{Path: file})
	if !errors.Is(err, fake.late) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is an archive: %v", err)
	}
}

// serverPlan is what the flags make of one package.
func serverPlan(dir, from string, steps ...plan.Step) *plan.Plan {
	final := plan.Stage{Name: "server", Base: from}
	final.Steps = append(final.Steps, steps...)
	final.Steps = append(final.Steps,
		plan.Step{Copy: &plan.Copy{From: "build", Source: "/app/server", Dest: "/app/server"}},
		plan.Step{Config: &plan.Config{Entrypoint: []string{"/app/server"}, Ports: []string{"8080/tcp"}}},
	)
	return &plan.Plan{
		Dir: dir, Epoch: time.Unix(0, 0).UTC(), Compression: plan.Compression{Algorithm: "gzip"},
		Images: []plan.Image{{
			Name: "server", Tags: []string{"server:latest"}, Platforms: []v1.Platform{amd64},
			Stages: []plan.Stage{
				{Name: "build", Steps: []plan.Step{{Compile: &plan.Compile{
					Dir: dir, Package: "example.com/server", Binary: "server", Output: "/app/server",
				}}}},
				final,
			},
		}},
	}
}

func build(t testing.TB, b *builder.Builder, p *plan.Plan, outputs ...builder.Output) []image.Result {
	t.Helper()
	result, err := b.Build(t.Context(), p, outputs...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range result.Images {
		for _, img := range r.Images {
			validImage(t, img)
		}
		if r.Index != nil {
			if err := validate.Index(r.Index, validate.Fast); err != nil {
				t.Errorf("index %s: %v", r.Name, err)
			}
		}
	}
	return result.Images
}

// validImage checks an image as validate.Image does, whose look at layers
// however knows gzip only.
func validImage(t testing.TB, p image.Platform) {
	t.Helper()
	if err := validate.Image(p.Image, validate.Fast); err != nil {
		t.Errorf("image for %s: %v", p.Platform, err)
	}
	layers, err := p.Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layers {
		if mt, err := l.MediaType(); err == nil && mt == types.OCILayer {
			if err := validate.Layer(l); err != nil {
				t.Errorf("layer %d: %v", i+1, err)
			}
			continue
		}
		for name, side := range map[string]struct {
			want func() (v1.Hash, error)
			open func() (io.ReadCloser, error)
		}{"digest": {l.Digest, l.Compressed}, "diffID": {l.DiffID, l.Uncompressed}} {
			want, err := side.want()
			if err != nil {
				t.Fatal(err)
			}
			rc, err := side.open()
			if err != nil {
				t.Fatal(err)
			}
			if got, _, err := v1.SHA256(rc); err != nil || got != want {
				t.Errorf("layer %d: %s %s, %v, want %s", i+1, name, got, err, want)
			}
			rc.Close()
		}
	}
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func copyStep(t testing.TB, spec string) plan.Step {
	t.Helper()
	c, err := plan.ParseCopy(spec)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Step{Copy: c}
}

// layersOf lists the entries of the layers above the base's.
func layersOf(t testing.TB, p image.Platform) []string {
	t.Helper()
	layers, err := p.Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, l := range layers[p.BaseLayers:] {
		entries, err := image.ReadLayer(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			lines = append(lines, e.String())
		}
	}
	return lines
}

// The zero values of a plan mean the defaults.
func TestZeroPlan(t *testing.T) {
	b, _ := newBuilder(t, t.TempDir())
	p := serverPlan(t.TempDir(), plan.Static)
	want := archiveOf(t, b, p)
	p.Epoch, p.Compression = time.Time{}, plan.Compression{}
	if !bytes.Equal(archiveOf(t, b, p), want) {
		t.Error("the archive differs from that with epoch 0 and gzip")
	}
	if !p.Epoch.IsZero() {
		t.Error("the plan was changed")
	}
	p.Compression.Algorithm = "lzma"
	if _, err := b.Build(t.Context(), p); err == nil || !strings.Contains(err.Error(), "lzma") {
		t.Errorf("got %v for an unknown compression", err)
	}
}

func TestBinaryIntoDirectory(t *testing.T) {
	b, _ := newBuilder(t, t.TempDir())
	p := serverPlan(t.TempDir(), plan.Scratch)
	p.Images[0].Stages[1].Steps[0].Copy.Dest = "/bin/"
	want := []string{"drwxr-xr-x 0:0 /bin", "-rwxr-xr-x 0:0 40004 /bin/server"}
	if diff := cmp.Diff(want, layersOf(t, build(t, b, p)[0].Images[0])); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
}

// A file from elsewhere does not tell where it was.
func TestCopyAbsolute(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	write(t, elsewhere, map[string]string{"f": "x"})
	b, _ := newBuilder(t, dir)
	results := build(t, b, serverPlan(dir, plan.Scratch, copyStep(t, filepath.Join(elsewhere, "f")+":/etc/f")))
	cf := imagetest.New(t, results[0].Images[0].Image).Config()
	if got := cf.History[0].CreatedBy; got != "COPY f /etc/f" {
		t.Errorf("history says %q", got)
	}
}

func TestBuild(t *testing.T) {
	b, _ := newBuilder(t, t.TempDir())
	results := build(t, b, serverPlan(t.TempDir(), plan.Static))
	img := imagetest.New(t, results[0].Images[0].Image)
	img.WantEntrypoint("/app/server")
	img.WantPorts("8080/tcp")
	img.WantUser("65532")
	want := []string{"drwxr-xr-x 0:0 /app", "-rwxr-xr-x 0:0 40004 /app/server"}
	if diff := cmp.Diff(want, layersOf(t, results[0].Images[0])); diff != "" {
		t.Errorf("own layer (-want +got):\n%s", diff)
	}
	cf := img.Config()
	if got := cf.History[len(cf.History)-1].CreatedBy; !strings.Contains(got, "/app/server") {
		t.Errorf("history says %q, want the binary's path in it", got)
	}
	if !cf.Created.Equal(time.Unix(0, 0)) {
		t.Errorf("created %s, want the epoch", cf.Created)
	}
}

// Copies follow links of the base, repeat its directories as they are and make
// what is missing.
func TestCopyPlacement(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"f": "x", "d/sub/g": "y", "d/h": "z", "new/etc/app/c": "w"})
	if err := os.Symlink("f", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	base := baseLayout(t)
	tests := []struct {
		name, spec string
		want       []string
	}{
		{"file into a directory that is there", "f:/etc/f", []string{"drwxr-xr-x 0:0 /etc", "-rw-r--r-- 0:0 1 /etc/f"}},
		{"trailing slash", "f:/etc/", []string{"drwxr-xr-x 0:0 /etc", "-rw-r--r-- 0:0 1 /etc/f"}},
		{"parents that are missing", "f:/a/b/f", []string{"drwxr-xr-x 0:0 /a", "drwxr-xr-x 0:0 /a/b", "-rw-r--r-- 0:0 1 /a/b/f"}},
		{"below a link of the base", "f:/var/run/x/f", []string{"drwx------ 3:4 /run", "drwxr-xr-x 0:0 /run/x", "-rw-r--r-- 0:0 1 /run/x/f"}},
		{"contents of a directory", "d:/etc", []string{"drwxr-xr-x 0:0 /etc", "-rw-r--r-- 0:0 1 /etc/h", "drwxr-xr-x 0:0 /etc/sub", "-rw-r--r-- 0:0 1 /etc/sub/g"}},
		{"over the whole image", "new:/", []string{"drwxr-xr-x 0:0 /etc", "drwxr-xr-x 0:0 /etc/app", "-rw-r--r-- 0:0 1 /etc/app/c"}},
		{"link as it is", "link:/opt/link", []string{"drwxr-xr-x 0:0 /opt", "lrwxrwxrwx 0:0 /opt/link -> f"}},
		{"mode and owner", "f:/etc/f,chmod=4711,chown=5:6", []string{"drwxr-xr-x 0:0 /etc", "-rws--x--x 5:6 1 /etc/f"}},
		{"mode of directories", "d:/n,chmod=0640,chown=7", []string{
			"drwxr-x--- 7:7 /n", "-rw-r----- 7:7 1 /n/h", "drwxr-x--- 7:7 /n/sub", "-rw-r----- 7:7 1 /n/sub/g"}},
		{"over a file of the base", "f:/etc/passwd", []string{"drwxr-xr-x 0:0 /etc", "-rw-r--r-- 0:0 1 /etc/passwd"}},
		{"directory onto a link to one", "d:/var/run", []string{
			"drwx------ 3:4 /run", "-rw-r--r-- 0:0 1 /run/h", "drwxr-xr-x 0:0 /run/sub", "-rw-r--r-- 0:0 1 /run/sub/g"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := newBuilder(t, dir)
			results := build(t, b, serverPlan(dir, base, copyStep(t, tt.spec)))
			got := layersOf(t, results[0].Images[0])
			if diff := cmp.Diff(tt.want, got[:len(got)-2]); diff != "" {
				t.Errorf("layer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCopyErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"in/f": "x", "in/d/g": "y", "secret": "z"})
	for name, target := range map[string]string{"in/out": "../secret", "in/outdir": ".."} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	base := baseLayout(t)
	tests := []struct{ name, spec, want string }{
		{"missing source", "nope:/x", "copying nope to /x: no such file or directory"},
		{"out through ..", "../secret:/x", "it leads out of the directory"},
		{"out through .. in the middle", "d/../../secret:/x", "it leads out of the directory"},
		{"out through a link", "outdir/secret:/x", "path escapes from parent"},
		{"file onto a directory", "f:/etc", "/etc is a directory in the image so far, and cannot become a file"},
		{"file onto a link", "f:/var/run", "/var/run is a symbolic link in the image so far, and cannot become a file"},
		{"directory onto a file", "d:/etc/passwd", "/etc/passwd is a file in the image so far, and cannot become a directory"},
		{"below a file", "f:/etc/passwd/f", "/etc/passwd is a file in the image so far, and cannot become a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := newBuilder(t, dir)
			archive := filepath.Join(t.TempDir(), "image.tar")
			write(t, filepath.Dir(archive), map[string]string{"image.tar": "old"})
			_, err := b.Build(t.Context(), serverPlan(filepath.Join(dir, "in"), base, copyStep(t, tt.spec)), &output.Archive{Path: archive})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			wantOnly(t, archive, "old")
		})
	}
}

// wantOnly checks that a failed build left the old file and no other.
func wantOnly(t *testing.T, name, content string) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil || string(got) != content {
		t.Errorf("%s holds %q, %v, want %q", name, got, err, content)
	}
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files beside the output, %v, want it alone", len(entries), err)
	}
}

func TestDynamicBinary(t *testing.T) {
	dir := t.TempDir()
	b, fake := newBuilder(t, dir)
	fake.interpreter = "/lib64/ld-linux-x86-64.so.2"
	_, err := b.Build(t.Context(), serverPlan(dir, plan.Static))
	if de := (*builder.DynamicError)(nil); !errors.As(err, &de) || de.Interpreter != fake.interpreter || de.Base != plan.Static {
		t.Errorf("got %v, want a DynamicError", err)
	}
	p := serverPlan(dir, plan.Static)
	p.Images[0].AllowDynamic = true
	build(t, b, p)
	// A base that has the interpreter, behind links as Debian's.
	build(t, b, serverPlan(dir, baseLayout(t)))
}

// What is in the cache is used, and not needed.
func TestCache(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"f": "x"})
	b, _ := newBuilder(t, dir)
	var layers []string
	var mu sync.Mutex
	b.Progress = func(e event.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Phase == event.Layer && e.State == event.Done {
			layers = append(layers, e.Subject+" "+e.Text)
		}
	}
	p := serverPlan(dir, plan.Static, copyStep(t, "f:/etc/f"))
	steps := []struct {
		name   string
		change func()
		want   []string
	}{
		{"cold", func() {}, []string{"/etc/f ", "/app/server "}},
		{"warm", func() {}, []string{"/etc/f cached", "/app/server cached"}},
		{"file changed", func() { write(t, dir, map[string]string{"f": "y"}) }, []string{"/etc/f ", "/app/server cached"}},
		{"back again", func() { write(t, dir, map[string]string{"f": "x"}) }, []string{"/etc/f cached", "/app/server cached"}},
		{"blobs damaged", func() { damage(t, filepath.Join(b.Cache.Dir(), "blobs", "sha256")) }, []string{"/etc/f ", "/app/server "}},
		{"records gone", func() { _ = os.RemoveAll(filepath.Join(b.Cache.Dir(), "records")) }, []string{"/etc/f ", "/app/server "}},
		{"not wanted", func() { b.NoCache = true }, []string{"/etc/f ", "/app/server "}},
	}
	var first v1.Hash
	for _, step := range steps {
		step.change()
		layers = nil
		results := build(t, b, p)
		if diff := cmp.Diff(step.want, layers); diff != "" {
			t.Errorf("%s: layers (-want +got):\n%s", step.name, diff)
		}
		digest, err := results[0].Digest()
		if err != nil {
			t.Fatal(err)
		}
		if first == (v1.Hash{}) {
			first = digest
		}
		if (digest == first) == (step.name == "file changed") {
			t.Errorf("%s: digest %s, the first was %s", step.name, digest, first)
		}
	}
}

// damage flips a bit in every file of a directory.
func damage(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatal("nothing to damage", err)
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if err := os.WriteFile(name, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMultiPlatform(t *testing.T) {
	dir := t.TempDir()
	b, fake := newBuilder(t, dir)
	p := serverPlan(dir, plan.Static)
	p.Images[0].Platforms = []v1.Platform{amd64, arm64}
	p.Images[0].IndexAnnotations = map[string]string{"k": "v"}
	r := build(t, b, p)[0]
	if len(fake.calls) != 2 {
		t.Errorf("the compiler ran %d times, want once a platform", len(fake.calls))
	}
	m, err := r.Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, d := range m.Manifests {
		platforms = append(platforms, d.Platform.String())
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
	if m.Annotations["k"] != "v" {
		t.Errorf("index annotations %v", m.Annotations)
	}
}

// All packages of a platform are compiled by one call, whatever image they are in.
func TestOneCompilation(t *testing.T) {
	dir := t.TempDir()
	b, fake := newBuilder(t, dir)
	p := serverPlan(dir, plan.Scratch)
	for i := range 5 {
		other := serverPlan(dir, plan.Scratch).Images[0]
		other.Name, other.Tags = fmt.Sprint("other", i), []string{fmt.Sprintf("other%d:latest", i)}
		p.Images = append(p.Images, other)
	}
	build(t, b, p)
	if len(fake.calls) != 1 || len(fake.calls[0]) != 6 {
		t.Errorf("the compiler got %v, want one call with 6 steps", fake.calls)
	}
}

type failingOutput struct{ check, write error }

func (f failingOutput) Check() error { return f.check }
func (f failingOutput) Write(context.Context, []image.Result) ([]output.Written, error) {
	return nil, f.write
}

func TestErrors(t *testing.T) {
	boom := errors.New("boom")
	t.Run("an output that cannot work stops the build before it starts", func(t *testing.T) {
		b, fake := newBuilder(t, t.TempDir())
		_, err := b.Build(t.Context(), serverPlan(t.TempDir(), plan.Static), failingOutput{check: boom})
		if !errors.Is(err, boom) || len(fake.calls) != 0 {
			t.Errorf("got %v after %d compilations", err, len(fake.calls))
		}
	})
	t.Run("output", func(t *testing.T) {
		b, _ := newBuilder(t, t.TempDir())
		if _, err := b.Build(t.Context(), serverPlan(t.TempDir(), plan.Static), failingOutput{write: boom}); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("compiler", func(t *testing.T) {
		b, fake := newBuilder(t, t.TempDir())
		fake.err = boom
		if _, err := b.Build(t.Context(), serverPlan(t.TempDir(), plan.Static)); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("base", func(t *testing.T) {
		b, _ := newBuilder(t, t.TempDir())
		_, err := b.Build(t.Context(), serverPlan(t.TempDir(), "oci:nowhere"))
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "resolving base oci:nowhere") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("plan", func(t *testing.T) {
		b, _ := newBuilder(t, t.TempDir())
		if _, err := b.Build(t.Context(), &plan.Plan{}); err == nil {
			t.Error("an empty plan was built")
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		b, _ := newBuilder(t, t.TempDir())
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(boom)
		if _, err := b.Build(ctx, serverPlan(t.TempDir(), plan.Static)); err == nil {
			t.Error("a cancelled build succeeded")
		}
	})
}

// archiveOf builds into an archive and returns its bytes.
func archiveOf(t testing.TB, b *builder.Builder, p *plan.Plan) []byte {
	t.Helper()
	var out bytes.Buffer
	build(t, b, p, &output.Archive{Writer: io.Writer(&out), Docker: true, Host: amd64})
	return slices.Clone(out.Bytes())
}
