package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
)

// binaries are the outputs of all compile steps, some of them yet to come.
type binaries struct {
	// byOutput has the step of a target and stage by its path in the stage.
	byOutput map[string]compiled
	sets     []*compile.Binaries
}

// compiled is a step among those that are compiled together.
type compiled struct {
	set *compile.Binaries
	at  int
}

func outputKey(t target, stage, output string) string { return t.key() + " " + stage + " " + output }

func (b *binaries) close() {
	for _, set := range b.sets {
		set.Close()
	}
}

// finish waits until the compilers have ended. What they gave out before counts
// only then: the go command can fail after it has linked, and what a build was
// made from is remembered at its end.
func (b *binaries) finish(ctx context.Context) error {
	for _, set := range b.sets {
		select {
		case <-set.Ended():
			if err := set.Err(); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// wait returns the binary of a stage when it is there.
func (b *binaries) wait(ctx context.Context, t target, stage, output string) (compile.Binary, error) {
	c, ok := b.byOutput[outputKey(t, stage, output)]
	if !ok {
		return compile.Binary{}, fmt.Errorf("stage %s has no %s", stage, output)
	}
	return c.set.Wait(ctx, c.at)
}

// waitAll returns when all binaries of a target are there.
func (b *binaries) waitAll(ctx context.Context, t target) error {
	for _, stage := range t.stages() {
		for _, step := range stage.Steps {
			if step.Compile == nil {
				continue
			}
			if _, err := b.wait(ctx, t, stage.Name, step.Compile.Output); err != nil {
				return err
			}
		}
	}
	return nil
}

// platforms of all targets, each once.
func (s *session) platforms() []v1.Platform {
	var all []v1.Platform
	for _, t := range s.targets {
		if !slices.ContainsFunc(all, t.platform.Equals) {
			all = append(all, t.platform)
		}
	}
	return all
}

// resolve finds the base of each target's last stage while the compiler is at
// work: one waits for the network, the other for the CPU. Where the compiler
// fails, so does this.
func (s *session) resolve(ctx context.Context, bins *binaries) (map[string]*base.Image, error) {
	// The layers of the bases are read long after this has returned, so the
	// context that they are resolved with only ends on a failure.
	ctx, abandon := context.WithCancelCause(ctx)
	resolved := make(chan struct{})
	defer close(resolved)
	follow := func(set *compile.Binaries) {
		select {
		case <-set.Ended():
			if err := set.Err(); err != nil {
				abandon(err)
			}
		case <-resolved:
		}
	}
	for _, set := range bins.sets {
		go follow(set)
	}
	var mu sync.Mutex
	bases := map[string]*base.Image{}
	var g errgroup.Group
	g.SetLimit(s.Jobs)
	for _, t := range s.targets {
		g.Go(func() error {
			name, platform := t.base()
			img, err := s.Bases.Image(ctx, name, platform)
			if err != nil {
				return baseError(t, name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			bases[t.key()] = img
			return nil
		})
	}
	return bases, g.Wait()
}

// GolangError is returned for an image that is to be on a golang image, which can
// not be had. Stages that only feed others do without it.
type GolangError struct {
	Image string
	Err   error
}

func (e *GolangError) Error() string {
	return fmt.Sprintf("the image is on %s itself, which cannot be had: %v", e.Image, e.Err)
}

// Unwrap returns the cause.
func (e *GolangError) Unwrap() error { return e.Err }

// baseError says by which FROM the base is needed that there is not.
func baseError(t target, name string, err error) error {
	if _, ok := golang.Tag(name); ok && t.native() {
		err = &GolangError{name, err}
	}
	return at(plan.Step{Position: t.chain()[0].Position}, err)
}

// compile starts to build the steps of all images, those of a platform together.
func (s *session) compile(ctx context.Context) *binaries {
	bins := &binaries{byOutput: map[string]compiled{}}
	for _, p := range s.platforms() {
		var steps []plan.Compile
		var keys []string
		for _, t := range s.targets {
			if !t.platform.Equals(p) {
				continue
			}
			for _, stage := range t.stages() {
				for _, step := range stage.Steps {
					if step.Compile != nil {
						steps = append(steps, *step.Compile)
						keys = append(keys, outputKey(t, stage.Name, step.Compile.Output))
					}
				}
			}
		}
		if len(steps) == 0 {
			continue
		}
		set := s.Compiler.Start(ctx, p, steps)
		bins.sets = append(bins.sets, set)
		for i, key := range keys {
			bins.byOutput[key] = compiled{set, i}
		}
	}
	return bins
}

// layers makes the new layers of every target, several at once and each as soon
// as what is in it has been compiled.
func (s *session) layers(ctx context.Context, bases map[string]*base.Image, bins *binaries) (_ map[string][]image.Layer, err error) {
	var mu sync.Mutex
	layers := map[string][]image.Layer{}
	work, err := s.newWorkspace()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, work.close()) }()
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan struct{}, s.Jobs)
	for _, t := range s.targets {
		g.Go(func() error {
			// Who waits for the compiler keeps nobody else from working.
			if err := bins.waitAll(ctx, t); err != nil {
				return err
			}
			if !t.native() { // whose stages wait for each other
				jobs <- struct{}{}
				defer func() { <-jobs }()
			}
			made, err := s.layersOf(ctx, t, bases[t.key()], bins, work)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			layers[t.key()] = made
			return nil
		})
	}
	return layers, g.Wait()
}

func (s *session) layersOf(ctx context.Context, t target, from *base.Image, bins *binaries, work *workspace) ([]image.Layer, error) {
	if t.native() {
		made, err := s.carry(ctx, t, from, work)
		if err != nil && len(t.image.Platforms) > 1 {
			err = fmt.Errorf("%w (for %s)", err, t.platform)
		}
		return made, err
	}
	st := &stacker{session: s, target: t, base: from, binaries: bins}
	made, err := st.stack(ctx)
	if err != nil {
		return nil, fmt.Errorf("image %s for %s: %w", t.image.Name, t.platform, err)
	}
	return made, nil
}

// assemble puts every target together, and the targets of an image into an
// index where there are several.
func (s *session) assemble(bases map[string]*base.Image, layers map[string][]image.Layer) ([]image.Result, error) {
	results := make([]image.Result, len(s.plan.Images))
	for i, img := range s.plan.Images {
		r := image.Result{Name: img.Name, Tags: img.Tags}
		for _, platform := range img.Platforms {
			t := target{img, platform}
			p, err := s.assembleOne(t, bases[t.key()], layers[t.key()])
			if err != nil {
				return nil, fmt.Errorf("assembling image %s for %s: %w", img.Name, platform, err)
			}
			r.Images = append(r.Images, p)
		}
		if len(r.Images) > 1 {
			r.Index = image.NewIndex(r.Images, img.IndexAnnotations)
		}
		results[i] = r
	}
	return results, nil
}

func (s *session) assembleOne(t target, from *base.Image, layers []image.Layer) (image.Platform, error) {
	annotations, err := annotations(t.image, from)
	if err != nil {
		return image.Platform{}, err
	}
	was, err := from.Manifest()
	if err != nil {
		return image.Platform{}, err
	}
	spec := image.Spec{Epoch: s.plan.Epoch, Layers: layers, Annotations: annotations}
	name, platform := t.base()
	spec.Platform = platform
	changes := t.allConfig()
	for _, c := range changes {
		if c.Author != "" {
			spec.Author = c.Author
		}
		if c.Healthcheck != nil {
			spec.StartInterval = c.StartInterval
		}
	}
	spec.Configure = func(to *v1.Config) {
		for _, c := range changes {
			c.Apply(to)
		}
	}
	img, err := image.Assemble(from.Image, spec)
	if err != nil {
		return image.Platform{}, err
	}
	return image.Platform{
		Platform: t.platform, Image: img, BaseName: name, BaseLayers: len(was.Layers),
	}, nil
}

// annotations are the plan's, and the base's where it can be found by name.
func annotations(img plan.Image, from *base.Image) (map[string]string, error) {
	all := map[string]string{}
	if from.Reference != "" {
		digest, err := from.Digest()
		if err != nil {
			return nil, fmt.Errorf("reading base manifest: %w", err)
		}
		all[image.AnnotationBaseName] = from.Reference
		all[image.AnnotationBaseDigest] = digest.String()
	}
	for k, v := range img.Annotations {
		all[k] = v
	}
	return all, nil
}
