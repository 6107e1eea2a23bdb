package output

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/registry"
)

// Registry pushes to the repositories that the tags of the results name.
type Registry struct {
	Client *registry.Client
	// Jobs is how many repositories are pushed to at once.
	Jobs int
	// Progress is told of what is uploaded.
	Progress event.Func
}

// waves is how many waves there are: see wave.
const waves = 3

// pushing is one result on its way to one repository.
type pushing struct {
	result image.Result
	digest v1.Hash
	repo   name.Repository
	tags   []name.Tag
	// wave says after which others it is pushed, to mount what they have.
	wave int
}

// Check says early that the client may not push.
func (r *Registry) Check() error {
	if err := r.Client.Check(); err != nil {
		return fmt.Errorf("pushing: %w", err)
	}
	return nil
}

// Write pushes all results, by digest first. Tags move when every image of
// every repository is there, so that a push that fails before moves none. What
// the target has is not sent, a manifest that it has is not looked into, and
// what another repository of the same registry has is mounted from there.
func (r *Registry) Write(ctx context.Context, results []image.Result) ([]Written, error) {
	pushes, err := r.plan(results)
	if err != nil {
		return nil, err
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	var sent uploads
	// Each wave only reads of what the ones before have noted.
	have := map[v1.Hash][]name.Repository{}
	for wave := range waves {
		in := slices.DeleteFunc(slices.Clone(pushes), func(p pushing) bool { return p.wave != wave })
		if err := r.each(ctx, in, func(ctx context.Context, p pushing) error {
			return r.push(ctx, p, &sending{repo: p.repo, have: have, uploads: &sent})
		}); err != nil {
			return nil, err
		}
		if err := remember(have, in); err != nil {
			return nil, err
		}
	}
	if err := r.each(ctx, pushes, func(ctx context.Context, p pushing) error {
		return r.tag(ctx, p)
	}); err != nil {
		return nil, err
	}
	written := make([]Written, len(pushes))
	for i, p := range pushes {
		written[i] = Written{Kind: "registry", Where: registry.RepoName(p.repo) + "@" + p.digest.String()}
	}
	return written, nil
}

// plan sorts the tags by repository, in the order in which they first appear.
func (r *Registry) plan(results []image.Result) ([]pushing, error) {
	var pushes []pushing
	for _, res := range results {
		digest, err := res.Digest()
		if err != nil {
			return nil, fmt.Errorf("reading image %s: %w", res.Name, err)
		}
		start := len(pushes)
		for _, t := range res.Tags {
			ref, err := r.Client.Parse(t)
			if err != nil {
				return nil, err
			}
			tag, ok := ref.(name.Tag)
			if !ok {
				return nil, fmt.Errorf("pushing %s: a push needs a tag, not a digest", t)
			}
			i := slices.IndexFunc(pushes[start:], func(p pushing) bool { return p.repo == tag.Repository })
			if i < 0 {
				i = len(pushes) - start
				p := pushing{result: res, digest: digest, repo: tag.Repository}
				p.wave = wave(p, pushes)
				pushes = append(pushes, p)
			}
			pushes[start+i].tags = append(pushes[start+i].tags, tag)
		}
	}
	return pushes, nil
}

// wave is 0 for the first push to a registry, from which the others mount the
// base's layers, 1 for the first one there of another image, and 2 for images
// that another repository there has by then.
func wave(p pushing, before []pushing) int {
	n := 0
	for _, b := range before {
		switch {
		case b.repo.Registry != p.repo.Registry:
		case b.digest == p.digest:
			return 2
		default:
			n = 1
		}
	}
	return n
}

// each does something for all pushes, several at once. The first error ends
// the others.
func (r *Registry) each(ctx context.Context, pushes []pushing, do func(context.Context, pushing) error) error {
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(max(r.Jobs, 1))
	for _, p := range pushes {
		g.Go(func() error {
			return explain(ctx, "pushing to "+registry.RepoName(p.repo), registry.Clean(do(groupCtx, p)))
		})
	}
	return g.Wait()
}

func (r *Registry) push(ctx context.Context, p pushing, s *sending) (err error) {
	task := r.Progress.Start(event.Push, registry.RepoName(p.repo), 0)
	defer func() { task.End(registry.Clean(err), p.digest.String()) }()
	s.client, s.progress = r.Client, r.Progress
	if s.pusher, err = r.Client.Pusher(p.repo.Registry); err != nil {
		return err
	}
	return s.result(ctx, p.result)
}

func (r *Registry) tag(ctx context.Context, p pushing) error {
	pusher, err := r.Client.Pusher(p.repo.Registry)
	if err != nil {
		return err
	}
	for _, tag := range p.tags {
		if err := pusher.Push(ctx, tag, top(p.result)); err != nil {
			return fmt.Errorf("tag %s: %w", tag.TagStr(), err)
		}
	}
	return nil
}

// manifest is an image or an index without what it consists of, which is there
// when it gets a tag.
type manifest interface {
	remote.Taggable
	partial.Describable
}

type onlyManifest struct{ manifest }

// top is what the tags of a result stand for.
func top(r image.Result) remote.Taggable {
	if r.Index != nil {
		return onlyManifest{r.Index}
	}
	return onlyManifest{r.Images[0].Image}
}

// remember notes which layers the repositories of the wave have now.
func remember(have map[v1.Hash][]name.Repository, wave []pushing) error {
	for _, p := range wave {
		for _, img := range p.result.Images {
			m, err := img.Image.Manifest()
			if err != nil {
				return fmt.Errorf("reading image %s: %w", p.result.Name, err)
			}
			for _, l := range m.Layers {
				have[l.Digest] = append(have[l.Digest], p.repo)
			}
		}
	}
	return nil
}
