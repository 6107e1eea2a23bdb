package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/layer"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/rootfs"
)

// FormatVersion names the version of everything that decides a digest: how
// entries are ordered and written, block sizes and levels of compression, what
// config and manifest say. It changes only on purpose, with the golden digests.
const FormatVersion = 1

// Compiler makes binaries. *compile.Compiler is one.
type Compiler interface {
	// Start begins to compile the steps for a platform. The binaries are there
	// one by one, and stay as they are until they are closed.
	Start(ctx context.Context, p v1.Platform, steps []plan.Compile) *compile.Binaries
}

// Bases finds base images. *base.Resolver is one.
type Bases interface {
	// Image returns the base for a platform, with layers that may be
	// downloaded as late as they are read.
	Image(ctx context.Context, name string, p v1.Platform) (*base.Image, error)
}

// Output writes results somewhere. Those of the output package are some.
type Output interface {
	// Check says, before anything is compiled, what will keep Write from
	// working.
	Check() error
	// Write writes all results and tells where.
	Write(ctx context.Context, results []image.Result) ([]output.Written, error)
}

// Builder carries plans out. The zero value compiles with the go command on
// PATH, asks registries with the credentials that docker has, and caches in
// the user's cache directory. A Builder may be used for one build after
// another, but its fields are not changed after the first.
type Builder struct {
	// Compiler, a *compile.Compiler where nil.
	Compiler Compiler
	// Bases, a *base.Resolver where nil.
	Bases Bases
	// Cache of layers and of what the defaults of Compiler and Bases cache; in
	// os.UserCacheDir where nil.
	Cache *cache.Cache
	// NoCache makes every layer anew, and caches it. A Compiler that is not nil
	// has a setting of its own.
	NoCache bool
	// Go runs the go command and git for the stages of a Dockerfile, a
	// *golang.Host with the environment of the process where nil.
	Go *golang.Host
	// AllowHostExec lets the RUNs of a Dockerfile run code of the project on the
	// host: go generate, go run, go test and make.
	AllowHostExec bool
	// Secrets are those of RUN --mount=type=secret, by ID. They are in no layer,
	// record or text, and change no key: who has another one has NoCache.
	Secrets map[string][]byte
	// SSH has the socket of the agent for each ID of RUN --mount=type=ssh.
	SSH map[string]string
	// Files downloads what ADD names by a URL, a *registry.Client where nil.
	Files Files
	// Offline keeps ADD from downloading: it has what was downloaded before.
	Offline bool
	// Jobs is how many things are done at once, the number of CPUs where 0.
	Jobs int
	// Progress is told of everything that takes time. It has to be safe for
	// several goroutines.
	Progress event.Func
}

// Result is what a build made.
type Result struct {
	// Images in the order of the plan.
	Images []image.Result
	// Written by the outputs, in their order.
	Written []output.Written
}

// Build makes what p says and writes it to outputs, in their order. An error
// of the go command is a *compile.Error; a platform that a base lacks is a
// *base.PlatformError; that of a cancelled ctx is its error or its cause. Where
// Build fails, no output has anything half-written.
func (b *Builder) Build(ctx context.Context, p *plan.Plan, outputs ...Output) (*Result, error) {
	s, err := b.start(p, outputs)
	if err != nil {
		return nil, err
	}
	defer s.close()
	unpin, err := s.Cache.Pin(ctx)
	if err != nil {
		return nil, err
	}
	defer unpin()
	result, err := s.build(ctx, outputs)
	if errors.Is(err, cache.ErrCorrupt) {
		// It is gone from the cache, and made anew. There may be more of it.
		s.verify = true
		result, err = s.build(ctx, outputs)
	}
	return result, err
}

// build is the one line of the package comment.
func (s *session) build(ctx context.Context, outputs []Output) (*Result, error) {
	s.commits = map[string]func() (string, error){}
	s.downloads = map[string]func() (*downloaded, error){}
	binaries := s.compile(ctx)
	defer binaries.close()
	bases, err := s.resolve(ctx, binaries)
	if err != nil {
		return nil, err
	}
	layers, err := s.layers(ctx, bases, binaries)
	if err != nil {
		return nil, err
	}
	if err := binaries.finish(ctx); err != nil {
		return nil, err
	}
	images, err := s.assemble(bases, layers)
	if err != nil {
		return nil, err
	}
	result := &Result{Images: images}
	for _, out := range outputs {
		written, err := out.Write(ctx, images)
		if err != nil {
			return nil, err
		}
		result.Written = append(result.Written, written...)
	}
	return result, nil
}

// session is one build: a plan and what carries it out, defaults filled in.
type session struct {
	Builder
	plan *plan.Plan
	// targets are the images of the plan, a platform each.
	targets []target
	// verify has cached layers checked before they are relied on.
	verify bool
	golang *golang.Host

	mu sync.Mutex
	// contexts are the build contexts that are open, by name, and sums those of
	// what is taken from them.
	contexts map[string]*rootfs.HostTree
	sums     map[string]string
	// downloads are those of ADD, by checksum and URL.
	downloads map[string]func() (*downloaded, error)
	// commits are what refs of repositories are, by URL and ref.
	commits map[string]func() (string, error)
}

func (s *session) close() {
	for _, t := range s.contexts {
		_ = t.Close()
	}
}

// target is an image for one platform.
type target struct {
	image    plan.Image
	platform v1.Platform
}

// key tells targets apart.
func (t target) key() string { return t.image.Name + " " + t.platform.String() }

// stages are those of the image for the target's platform.
func (t target) stages() []plan.Stage { return t.image.StagesFor(t.platform) }

// final is the stage that becomes the image.
func (t target) final() plan.Stage { return t.image.Final(t.platform) }

func (b *Builder) start(p *plan.Plan, outputs []Output) (*session, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	var errs []error
	for _, out := range outputs {
		errs = append(errs, out.Check())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := layer.Compression(p.Compression).Valid(); err != nil {
		return nil, err
	}
	planned := *p
	if planned.Epoch.IsZero() {
		planned.Epoch = time.Unix(0, 0)
	}
	// Without an output, the images are all that the caller gets.
	s := &session{
		Builder: *b, plan: &planned, verify: len(outputs) == 0,
		contexts: map[string]*rootfs.HostTree{}, sums: map[string]string{},
	}
	if err := s.defaults(); err != nil {
		return nil, err
	}
	for _, img := range p.Images {
		img = shareSteps(img)
		for _, platform := range img.Platforms {
			s.targets = append(s.targets, target{img, platform})
		}
	}
	if err := s.check(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// check finds what will fail before anything is done.
func (s *session) check() error {
	if err := s.checkRuns(); err != nil {
		return err
	}
	if err := s.checkContexts(); err != nil {
		return err
	}
	return s.checkSources()
}

func (s *session) defaults() error {
	if s.Jobs == 0 {
		s.Jobs = runtime.GOMAXPROCS(0)
	}
	if s.Cache == nil {
		dir, err := os.UserCacheDir() //nolint:forbidigo // the default of a library's user
		if err != nil {
			return fmt.Errorf("finding the cache directory: %w", err)
		}
		if s.Cache, err = cache.Open(filepath.Join(dir, "stagectl")); err != nil {
			return err
		}
	}
	if s.Compiler == nil {
		s.Compiler = &compile.Compiler{Outputs: s.Cache.Links(), Records: s.Cache, Forget: s.NoCache, Progress: s.Progress}
	}
	if s.golang = s.Go; s.golang == nil {
		s.golang = &golang.Host{
			Env: os.Environ(), Offline: s.Offline, Progress: s.Progress,
			Records: s.Cache, Packages: s.Cache.Links(), Forget: s.NoCache,
		}
	}
	if s.Files == nil {
		s.Files = &registry.Client{Offline: s.Offline, Progress: s.Progress}
	}
	if s.Bases == nil {
		s.Bases = &base.Resolver{Registry: &registry.Client{}, Cache: s.Cache, Dir: s.plan.Dir, Progress: s.Progress}
	}
	return nil
}
