package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/registry"
)

// errPartly is how an upload ends that the registry, the network or the end of
// the push cut short. A pusher may try again.
var errPartly = errors.New("the upload was cut short")

// sending wraps images on their way to repo, so that their layers are mounted
// where they can be, and their uploads reported.
type sending struct {
	have     map[v1.Hash][]name.Repository
	repo     name.Repository
	progress event.Func

	mu   sync.Mutex
	open []*upload
}

func (s *sending) whole(r image.Result) remote.Taggable {
	if r.Index != nil {
		return sentIndex{r.Index, s}
	}
	return sentImage{r.Images[0].Image, s}
}

// layer returns l as the pusher is to see it.
func (s *sending) layer(l v1.Layer, err error) (v1.Layer, error) {
	if err != nil {
		return nil, err
	}
	desc, err := image.Describe(l)
	if err != nil {
		return nil, err
	}
	sent := &sentLayer{Layer: l, desc: desc, s: s}
	if from, ok := origin(l); ok && s.mountable(from.Context()) {
		return &remote.MountableLayer{Layer: sent, Reference: from}, nil
	}
	for _, from := range s.have[desc.Digest] {
		if s.mountable(from) {
			return &remote.MountableLayer{Layer: sent, Reference: from.Digest(desc.Digest.String())}, nil
		}
	}
	return sent, nil
}

// mountable tells whether the registry can mount what another repository has.
func (s *sending) mountable(from name.Repository) bool {
	return from.Registry == s.repo.Registry
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

// sentImage wraps the layers as a pusher asks for them.
type sentImage struct {
	v1.Image
	s *sending
}

func (i sentImage) Layers() ([]v1.Layer, error) {
	layers, err := i.Image.Layers()
	if err != nil {
		return nil, err
	}
	sent := make([]v1.Layer, len(layers)) // the image may keep its own slice
	for n, l := range layers {
		if sent[n], err = i.s.layer(l, nil); err != nil {
			return nil, err
		}
	}
	return sent, nil
}

// imageIndex gives the field that embeds an index a name that does not hide its
// method ImageIndex.
type imageIndex = v1.ImageIndex

// sentIndex hides the Manifests method that an index may have, with which it
// would hand out images that are not wrapped.
type sentIndex struct {
	imageIndex
	s *sending
}

var (
	_ v1.Image      = sentImage{}
	_ v1.ImageIndex = sentIndex{}
)

func (x sentIndex) Image(h v1.Hash) (v1.Image, error) {
	img, err := x.imageIndex.Image(h)
	if err != nil {
		return nil, err
	}
	return sentImage{img, x.s}, nil
}

// Layer returns what the index lists besides manifests.
func (x sentIndex) Layer(h v1.Hash) (v1.Layer, error) {
	if idx, ok := x.imageIndex.(interface {
		Layer(v1.Hash) (v1.Layer, error)
	}); ok {
		return x.s.layer(idx.Layer(h))
	}
	return nil, fmt.Errorf("finding %s in the index: %w", h, fs.ErrNotExist)
}

// sentLayer reports its upload. To open it is what a pusher does when the
// target turned out not to have it.
type sentLayer struct {
	v1.Layer
	desc v1.Descriptor
	s    *sending
}

func (l *sentLayer) Compressed() (io.ReadCloser, error) {
	rc, err := l.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	subject := registry.RepoName(l.s.repo) + " " + l.desc.Digest.Hex[:12]
	u := &upload{rc: rc, left: l.desc.Size, task: l.s.progress.Start(event.Push, subject, l.desc.Size)}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.open = append(l.s.open, u)
	return u, nil
}

// end ends the uploads that are open when the push is over: an HTTP client may
// go on with a body after the registry has refused it.
func (s *sending) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.open {
		u.end(nil)
	}
}

// upload is a layer being read. An HTTP client may close it in the middle of
// a read, so the task is guarded.
type upload struct {
	rc io.ReadCloser

	mu   sync.Mutex
	task *event.Task // nil after its end
	left int64
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.rc.Read(p)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.task != nil && n > 0 {
		u.left -= int64(n)
		u.task.Add(int64(n))
	}
	return n, err
}

func (u *upload) Close() error {
	err := u.rc.Close()
	u.end(err)
	return err
}

func (u *upload) end(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.task == nil {
		return
	}
	if err == nil && u.left > 0 {
		err = errPartly
	}
	u.task.End(err, "")
	u.task = nil
}
