package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/registry"
)

// sending sends what an image or an index consists of to repo: layers, then
// manifests, then the index. A pusher would do all of that in one go, and end
// every upload when one of them breaks; so it does the parts, and uploads that
// break start over one by one.
type sending struct {
	client   *registry.Client
	pusher   *remote.Pusher
	repo     name.Repository
	have     map[v1.Hash][]name.Repository
	uploads  *uploads
	progress event.Func
}

// uploads are those of all pushes, by what goes where. Each is done once.
type uploads struct {
	mu    sync.Mutex
	calls map[target]func() error
}

type target struct {
	repo   name.Repository
	digest v1.Hash
}

func (u *uploads) once(d target, do func() error) error {
	u.mu.Lock()
	call, ok := u.calls[d]
	if !ok {
		if u.calls == nil {
			u.calls = map[target]func() error{}
		}
		call = sync.OnceValue(do)
		u.calls[d] = call
	}
	u.mu.Unlock()
	return call()
}

// errAbsent is the answer of a probe when it is looked into.
var errAbsent = errors.New("the repository does not have it")

// probe is an image that is not there to be pushed, but to be asked for: a
// pusher looks for the layers when the repository does not have the manifest.
type probe struct{ v1.Image }

// Layers implements v1.Image.
func (probe) Layers() ([]v1.Layer, error) { return nil, errAbsent }

// imageIndex gives the field that embeds an index a name that does not hide its
// method ImageIndex. It hides the Manifests method that an index may have.
type imageIndex = v1.ImageIndex

// indexProbe is the same for an index.
type indexProbe struct{ imageIndex }

// IndexManifest implements v1.ImageIndex.
func (indexProbe) IndexManifest() (*v1.IndexManifest, error) { return nil, errAbsent }

func (s *sending) result(ctx context.Context, r image.Result) error {
	if r.Index != nil {
		return s.index(ctx, r.Index)
	}
	return s.image(ctx, r.Images[0].Image)
}

func (s *sending) image(ctx context.Context, img v1.Image) error {
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	ref := s.repo.Digest(digest.String())
	if err := s.pusher.Push(ctx, ref, probe{img}); !errors.Is(err, errAbsent) {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return err
	}
	g, groupCtx := s.group(ctx)
	for _, l := range layers {
		g.Go(func() error { return s.layer(groupCtx, l, s.progress) })
	}
	g.Go(func() error { return s.layer(groupCtx, config, nil) })
	if err := g.Wait(); err != nil {
		return err
	}
	return s.pusher.Put(ctx, ref, img)
}

func (s *sending) index(ctx context.Context, idx v1.ImageIndex) error {
	digest, err := idx.Digest()
	if err != nil {
		return err
	}
	ref := s.repo.Digest(digest.String())
	if err := s.pusher.Push(ctx, ref, indexProbe{idx}); !errors.Is(err, errAbsent) {
		return err
	}
	m, err := idx.IndexManifest()
	if err != nil {
		return err
	}
	g, groupCtx := s.group(ctx)
	for _, desc := range m.Manifests {
		g.Go(func() error { return s.child(groupCtx, idx, desc) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return s.pusher.Put(ctx, ref, idx)
}

func (s *sending) group(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.client.Parallel())
	return g, ctx
}

// child sends what an index lists, which may be something else than a manifest.
func (s *sending) child(ctx context.Context, idx v1.ImageIndex, desc v1.Descriptor) error {
	switch {
	case desc.MediaType.IsIndex():
		inner, err := idx.ImageIndex(desc.Digest)
		if err != nil {
			return err
		}
		return s.index(ctx, inner)
	case desc.MediaType.IsImage():
		img, err := idx.Image(desc.Digest)
		if err != nil {
			return err
		}
		return s.image(ctx, img)
	}
	with, ok := idx.(interface {
		Layer(h v1.Hash) (v1.Layer, error)
	})
	if !ok {
		return fmt.Errorf("finding %s in the index: %w", desc.Digest, fs.ErrNotExist)
	}
	l, err := with.Layer(desc.Digest)
	if err != nil {
		return err
	}
	return s.layer(ctx, l, s.progress)
}

// layer sends a layer, over again where it breaks in the middle. It is mounted
// if another repository of the registry has it.
func (s *sending) layer(ctx context.Context, l v1.Layer, progress event.Func) error {
	desc, err := image.Describe(l)
	if err != nil {
		return err
	}
	return s.uploads.once(target{s.repo, desc.Digest}, func() error {
		sent := &sentLayer{Layer: l, desc: desc, repo: s.repo, progress: progress}
		mountable := s.mountable(sent)
		err := s.client.Restart(ctx, func(ctx context.Context) error {
			return s.pusher.Upload(ctx, s.repo, mountable)
		})
		sent.end(err)
		return err
	})
}

// mountable returns l as the pusher is to see it.
func (s *sending) mountable(l *sentLayer) v1.Layer {
	if from, ok := origin(l.Layer); ok && from.Context().Registry == s.repo.Registry {
		return &remote.MountableLayer{Layer: l, Reference: from}
	}
	for _, from := range s.have[l.desc.Digest] {
		if from.Registry == s.repo.Registry {
			return &remote.MountableLayer{Layer: l, Reference: from.Digest(l.desc.Digest.String())}
		}
	}
	return l
}

// origin returns where a layer of a base was found, if that was in a registry.
func origin(l v1.Layer) (name.Reference, bool) {
	for {
		switch known := l.(type) {
		case *remote.MountableLayer:
			return known.Reference, true
		case interface{ Unwrap() v1.Layer }:
			l = known.Unwrap()
		default:
			return nil, false
		}
	}
}

// sentLayer reports its upload. To open it is what a pusher does when the
// target turned out not to have it, and again when it starts over.
type sentLayer struct {
	v1.Layer
	desc     v1.Descriptor
	repo     name.Repository
	progress event.Func

	mu   sync.Mutex
	task *event.Task // nil before the first upload
	// last is the upload that counts.
	last  *upload
	ended bool
}

// Compressed implements v1.Layer.
func (l *sentLayer) Compressed() (io.ReadCloser, error) {
	rc, err := l.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.task == nil {
		l.task = l.progress.Start(event.Push, registry.RepoName(l.repo)+" "+l.desc.Digest.Hex[:12], l.desc.Size)
	}
	if l.last != nil && l.last.sent > 0 {
		l.task.Add(-l.last.sent)
	}
	l.last = &upload{ReadCloser: rc, l: l}
	return l.last, nil
}

// end reports what came of it all.
func (l *sentLayer) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.task != nil {
		l.task.End(registry.Clean(err), "")
	}
}

// upload is a layer being read. An HTTP client may go on with it for a while
// after the registry has refused it.
type upload struct {
	io.ReadCloser
	l    *sentLayer
	sent int64
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	u.l.mu.Lock()
	defer u.l.mu.Unlock()
	if n > 0 && u.l.last == u && !u.l.ended {
		u.sent += int64(n)
		u.l.task.Add(int64(n))
	}
	return n, err
}
