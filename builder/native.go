package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
)

// native tells whether the stages are carried out one by one, as those of a
// Dockerfile are, and not compiled and copied as those of packages.
func (t target) native() bool {
	for _, stage := range t.stages() {
		for _, step := range stage.Steps {
			if step.Compile != nil || step.Copy != nil {
				return false
			}
			if step.Run != nil || step.Files != nil || step.MakeDir != nil {
				return true
			}
		}
	}
	return len(t.image.Variants) > 0
}

// chain are the stages that the image consists of: the last one, the one that
// it starts from, and so on, the lowest first.
func (t target) chain() []plan.Stage {
	stages := t.stages()
	var chain []plan.Stage
	want := stages[len(stages)-1].Name
	for i := len(stages) - 1; i >= 0; i-- {
		if stages[i].Name == want {
			chain = append([]plan.Stage{stages[i]}, chain...)
			want = stages[i].Base
		}
	}
	return chain
}

func (t target) isChain(name string) bool {
	for _, stage := range t.chain() {
		if stage.Name == name {
			return true
		}
	}
	return false
}

// base is the image that the target's stages end at, and the platform that it
// is wanted for.
func (t target) base() (string, v1.Platform) {
	root := t.chain()[0]
	return root.Base, t.platformOf(root)
}

func (t target) platformOf(stage plan.Stage) v1.Platform {
	if stage.Platform != nil {
		return *stage.Platform
	}
	return t.platform
}

// carrier carries out the stages of one target.
type carrier struct {
	*session
	*workspace
	target target
	// base is that of the chain.
	base *base.Image

	mu    sync.Mutex
	built map[string]*built
}

// built is a stage that was carried out, or is known from an earlier build.
type built struct {
	plan.Stage
	// tree is what the stage has in the end, or nil where it is not yet known.
	tree func() (rootfs.Tree, error)
	// key sums up all that decides it, and is empty where not all is known, and
	// keys sum up what decides it up to each step and with it.
	key  string
	keys []string
	// platform of the stage.
	platform v1.Platform
	// golang is the reference of the golang image that the stage is made from,
	// directly or not, and that was stood in for.
	golang string
}

// carry returns the layers of the chain, which are what the image has on its base.
func (s *session) carry(ctx context.Context, t target, from *base.Image, w *workspace) ([]image.Layer, error) {
	c := &carrier{session: s, workspace: w, target: t, base: from, built: map[string]*built{}}
	return c.each(ctx, t.stages())
}

// stageOf is a stage that was carried out before, or nil.
func (c *carrier) stageOf(name string) *built {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.built[name]
}

// imageTree is a tree that is closed with c.
func (c *carrier) imageTree(name string, img v1.Image) (*imageTree, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("listing the layers of %s: %w", name, err)
	}
	t := c.session.imageTree(name, layers, c.temp)
	c.closes(t)
	return t, nil
}

// stage carries out one stage or finds what came of it the last time. Of a stage
// of the chain, it returns the layers.
func (c *carrier) stage(ctx context.Context, stage plan.Stage) ([]image.Layer, error) {
	b := &built{Stage: stage, platform: c.target.platformOf(stage)}
	below, err := c.below(ctx, b)
	if err != nil {
		return nil, at(plan.Step{Position: stage.Position}, err)
	}
	if err := c.setKey(ctx, b); err != nil {
		return nil, err
	}
	chain := c.target.isChain(stage.Name)
	key := ""
	if !chain {
		key = b.key
	}
	out, err := c.once(key, func() (*outcome, error) {
		if out, ok := c.known(b, below, chain); ok {
			return out, nil
		}
		c.slots <- struct{}{}
		defer func() { <-c.slots }()
		return c.make(ctx, b, below, chain, c.NoCache)
	})
	if err != nil {
		return nil, err
	}
	b.tree = out.tree
	c.mu.Lock()
	defer c.mu.Unlock()
	c.built[stage.Name] = b
	return out.layers, nil
}

// make carries out a stage, with all of its steps or without those that are known
// to change nothing.
func (c *carrier) make(ctx context.Context, b *built, below func() (rootfs.Tree, error), chain, all bool) (*outcome, error) {
	tree, err := below()
	if err != nil {
		return nil, at(plan.Step{Position: b.Position}, err)
	}
	dir, err := os.MkdirTemp(c.temp, "stage-")
	if err != nil {
		return nil, err
	}
	f, err := rootfs.New(tree, dir)
	if err != nil {
		return nil, err
	}
	w := &worker{carrier: c, b: b, fs: f, lower: tree, chain: chain, all: all}
	if err := w.run(ctx); err != nil {
		err = errors.Join(err, f.Close())
		if w.skipped && ctx.Err() == nil { // which may have been what is missing now
			return c.make(ctx, b, below, chain, true)
		}
		return nil, err
	}
	c.closes(f)
	f.Hold() // until the end: nothing changes it any more
	if chain {
		if err := c.remember(b, w); err != nil {
			return nil, err
		}
	} else {
		c.later.Go(func() error { return c.remember(b, w) })
	}
	return &outcome{func() (rootfs.Tree, error) { return f, nil }, w.layers}, nil
}

// below finds what a stage is made on, and notes in b what decides it. What it
// returns gets the files, of which nil is none.
func (c *carrier) below(ctx context.Context, b *built) (func() (rootfs.Tree, error), error) {
	if parent := c.stageOf(b.Base); parent != nil {
		b.golang, b.key = parent.golang, parent.key
		return parent.tree, nil
	}
	none := func() (rootfs.Tree, error) { return nil, nil }
	if b.Base == plan.Scratch {
		b.key = plan.Scratch
		return none, nil
	}
	chain := c.target.isChain(b.Name)
	if tag, ok := golang.Tag(b.Base); ok && !chain {
		release := releaseOf(b.Stage)
		b.golang, b.key = b.Base, "golang "+tag+" "+release
		return func() (rootfs.Tree, error) {
			static, err := c.staticTree(ctx)
			if err != nil {
				return nil, err
			}
			return c.golang.Tree(ctx, static, tag, release), nil
		}, nil
	}
	img := c.base
	if !chain {
		var err error
		if img, err = c.Bases.Image(ctx, b.Base, b.platform); err != nil {
			return nil, err
		}
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	b.key = "image " + digest.String()
	return func() (rootfs.Tree, error) { return c.imageTree(b.Base, img) }, nil
}

// releaseOf is the release of Go that a stage's image has, as its RUNs see it.
func releaseOf(stage plan.Stage) string {
	for _, step := range stage.Steps {
		if step.Run != nil {
			return golang.Release(step.Run.Env)
		}
	}
	return ""
}

// staticTree is the static base's files: CA roots and time zones.
func (c *carrier) staticTree(ctx context.Context) (rootfs.Tree, error) {
	img, err := c.Bases.Image(ctx, plan.Static, c.target.platform)
	if err != nil {
		return nil, err
	}
	return c.imageTree(plan.Static, img)
}

// source is what a Files step or a mount takes from.
func (c *carrier) source(ctx context.Context, from string, kind plan.FromKind) (rootfs.Tree, error) {
	switch kind {
	case plan.FromContext:
		return c.contextTree(from)
	case plan.FromStage:
		return c.stageOf(from).tree()
	}
	if from == plan.Scratch {
		return c.session.imageTree(plan.Scratch, nil, c.temp), nil
	}
	img, err := c.Bases.Image(ctx, from, c.target.platform)
	if err != nil {
		return nil, err
	}
	return c.imageTree(from, img)
}
