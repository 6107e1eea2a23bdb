package output

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

const (
	layoutVersion       = `{"imageLayoutVersion":"1.0.0"}`
	annotationRefName   = "org.opencontainers.image.ref.name"
	annotationImageName = "io.containerd.image.name"
)

// content is all of what an archive or a layout holds.
type content struct {
	// index is index.json, which lists the images by their tags.
	index []byte
	// docker is manifest.json, by which engines older than the OCI layout
	// find the images.
	docker []byte
	// blobs in the order in which the images need them, each once. Layers that
	// may not be distributed are left out, as a push leaves them out: the image
	// says where they are to be had
	// (https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers).
	blobs []blob
}

// blob is one file below blobs/sha256.
type blob struct {
	digest v1.Hash
	size   int64
	open   func() (io.ReadCloser, error)
}

func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// saved is an entry of manifest.json, as `docker save` writes it.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// gather lists what the results consist of. With several platforms,
// manifest.json has the one that suits the host best, or else the first.
func gather(results []image.Result, host v1.Platform) (*content, error) {
	g := gatherer{seen: map[v1.Hash]bool{}}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	docker := []saved{}
	for _, r := range results {
		descs, err := g.result(r)
		if err != nil {
			return nil, fmt.Errorf("reading image %s: %w", r.Name, err)
		}
		index.Manifests = append(index.Manifests, descs...)
		entry, err := dockerEntry(r, host)
		if err != nil {
			return nil, fmt.Errorf("reading image %s: %w", r.Name, err)
		}
		docker = append(docker, entry)
	}
	var err error
	if g.index, err = json.Marshal(index); err != nil {
		return nil, err
	}
	g.docker, err = json.Marshal(docker)
	return &g.content, err
}

// gatherer collects content, each blob once.
type gatherer struct {
	content
	seen map[v1.Hash]bool
}

// result adds the blobs of r and returns its descriptors: one a tag, or one
// without a name.
func (g *gatherer) result(r image.Result) ([]v1.Descriptor, error) {
	desc, err := g.top(r)
	if err != nil {
		return nil, err
	}
	if len(r.Tags) == 0 {
		return []v1.Descriptor{desc}, nil
	}
	descs := make([]v1.Descriptor, len(r.Tags))
	for i, t := range r.Tags {
		tag, err := name.NewTag(t)
		if err != nil {
			return nil, err
		}
		descs[i] = desc
		descs[i].Annotations = map[string]string{annotationImageName: registry.Name(tag), annotationRefName: tag.TagStr()}
	}
	return descs, nil
}

// top adds the index of r and what it lists, or else the only image.
func (g *gatherer) top(r image.Result) (v1.Descriptor, error) {
	if r.Index == nil {
		if err := g.image(r.Images[0].Image); err != nil {
			return v1.Descriptor{}, err
		}
		desc, err := image.Describe(r.Images[0].Image)
		desc.Platform = r.Images[0].Platform.DeepCopy()
		return desc, err
	}
	children, err := partial.Manifests(r.Index)
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, child := range children {
		img, ok := child.(v1.Image)
		if !ok {
			return v1.Descriptor{}, errors.New("its index lists something that is not an image")
		}
		if err := g.image(img); err != nil {
			return v1.Descriptor{}, err
		}
	}
	raw, err := r.Index.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	g.bytes(raw)
	return image.Describe(r.Index)
}

func (g *gatherer) image(img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := g.layer(l); err != nil {
			return err
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	g.bytes(config)
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	g.bytes(manifest)
	return nil
}

func (g *gatherer) layer(l v1.Layer) error {
	mt, err := l.MediaType()
	if err != nil {
		return err
	}
	desc, err := image.Describe(l)
	if err != nil {
		return err
	}
	if mt.IsDistributable() {
		g.add(blob{desc.Digest, desc.Size, l.Compressed})
	}
	return nil
}

func (g *gatherer) bytes(raw []byte) {
	digest, size, _ := v1.SHA256(bytes.NewReader(raw)) // of memory: no error
	g.add(blob{digest, size, func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw)), nil
	}})
}

func (g *gatherer) add(b blob) {
	if !g.seen[b.digest] {
		g.seen[b.digest] = true
		g.blobs = append(g.blobs, b)
	}
}

func dockerEntry(r image.Result, host v1.Platform) (saved, error) {
	img, score := r.Images[0].Image, 0
	for _, p := range r.Images {
		if s := plan.Runs(host, p.Platform); s > score {
			img, score = p.Image, s
		}
	}
	m, err := img.Manifest()
	if err != nil {
		return saved{}, err
	}
	entry := saved{Config: blobName(m.Config.Digest), Layers: []string{}}
	for _, l := range m.Layers {
		entry.Layers = append(entry.Layers, blobName(l.Digest))
	}
	for _, t := range r.Tags {
		tag, err := name.NewTag(t)
		if err != nil {
			return saved{}, err
		}
		entry.RepoTags = append(entry.RepoTags, FamiliarName(tag))
	}
	return entry, nil
}

// size of all blobs.
func (c *content) size() (n int64) {
	for _, b := range c.blobs {
		n += b.size
	}
	return n
}

// fetch downloads what is not on this machine, several at a time, by opening
// each blob once. Nothing is written before all of it is here. With whole, each
// is read to its end, which checks it: for what cannot be taken back once a
// part of it is written.
func (c *content) fetch(ctx context.Context, jobs int, whole bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(jobs, 1))
	for _, b := range c.blobs {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			rc, err := b.open()
			if err == nil {
				if whole {
					_, err = io.Copy(io.Discard, rc)
				}
				err = errors.Join(err, rc.Close())
			}
			if err != nil {
				return fmt.Errorf("reading %s: %w", b.digest, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// copyTo writes all of b to w by way of buf, for as long as ctx lives.
func (b blob) copyTo(ctx context.Context, w io.Writer, task *event.Task, buf []byte) error {
	return b.read(func(r io.Reader) error { return b.copy(ctx, r, w, task, buf) })
}

// read has do read b.
func (b blob) read(do func(io.Reader) error) (err error) {
	rc, err := b.open()
	if err != nil {
		return fmt.Errorf("reading %s: %w", b.digest, err)
	}
	defer func() {
		if closeErr := rc.Close(); closeErr != nil && err == nil {
			err = fmt.Errorf("reading %s: %w", b.digest, closeErr)
		}
	}()
	return do(rc)
}

// copy writes r, which is all of b, to w.
func (b blob) copy(ctx context.Context, r io.Reader, w io.Writer, task *event.Task, buf []byte) error {
	for n := int64(0); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		read, err := r.Read(buf)
		n += int64(read)
		ended := errors.Is(err, io.EOF)
		switch {
		case err != nil && !ended:
			return fmt.Errorf("reading %s: %w", b.digest, err)
		case n > b.size || ended && n < b.size:
			return fmt.Errorf("reading %s: it does not have the %d bytes that it is listed with", b.digest, b.size)
		}
		if read > 0 {
			if _, err := w.Write(buf[:read]); err != nil {
				return err
			}
			task.Add(int64(read))
		}
		if ended {
			return nil
		}
	}
}
