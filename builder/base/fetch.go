package base

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/registry"
)

// inTurn returns what the first that works of n candidates gives.
func inTurn[V any](ctx context.Context, n int, try func(i int) (V, error)) (V, error) {
	var errs anyOf
	for i := range n {
		v, err := try(i)
		if err == nil {
			return v, nil
		}
		if ctx.Err() != nil {
			return v, context.Cause(ctx)
		}
		errs = append(errs, err)
	}
	var none V
	if len(errs) == 1 {
		return none, errs[0]
	}
	return none, errs
}

// found is a manifest, and the repositories to ask for what it describes: the
// one that had it, and those that come after that.
type found struct {
	raw   []byte
	repos []name.Repository
}

// manifest returns a manifest from the cache or from the first repository that
// has it, which is held to the digest.
func (r *Resolver) manifest(ctx context.Context, repos []name.Repository, desc v1.Descriptor) (found, error) {
	if raw, err := r.cached(desc); err == nil {
		return found{raw, repos}, nil
	}
	if err := r.Registry.Check(); err != nil {
		return found{}, notCached(repos, desc, err)
	}
	return inTurn(ctx, len(repos), func(i int) (found, error) {
		ref := repos[i].Digest(desc.Digest.String())
		got, err := r.get(ctx, ref)
		if err != nil {
			return found{}, &answer{registry.Name(ref), err}
		}
		if err := checkManifest(got.Descriptor); err != nil {
			return found{}, err
		}
		if desc.Size != unknownSize && desc.Size != got.Size {
			return found{}, wrongSize(desc, got.Size)
		}
		_, err = r.Cache.Put(desc.Digest, bytes.NewReader(got.Manifest))
		return found{got.Manifest, repos[i:]}, err
	})
}

// get asks for a manifest, again where it breaks off.
func (r *Resolver) get(ctx context.Context, ref name.Reference) (desc *remote.Descriptor, err error) {
	puller, err := r.Registry.Puller(ref.Context().Registry)
	if err != nil {
		return nil, err
	}
	err = r.Registry.Restart(ctx, func(ctx context.Context) error {
		desc, err = puller.Get(ctx, ref)
		return err
	})
	return desc, err
}

// cached reads a manifest from the cache.
func (r *Resolver) cached(desc v1.Descriptor) ([]byte, error) {
	b, err := r.Cache.Blob(desc.Digest)
	if err != nil {
		return nil, err
	}
	if desc.Size != unknownSize && desc.Size != b.Size {
		return nil, wrongSize(desc, b.Size)
	}
	return readJSON(b)
}

// readJSON reads a manifest or config.
func readJSON(b *cache.Blob) (_ []byte, err error) {
	if err := checkJSON("content", v1.Descriptor{Digest: b.Digest, Size: b.Size}); err != nil {
		return nil, err
	}
	rc := b.Open()
	defer func() { err = errors.Join(err, rc.Close()) }()
	return io.ReadAll(rc)
}

// wrongSize refuses a description, as others might believe it.
func wrongSize(desc v1.Descriptor, size int64) error {
	return fmt.Errorf("%s has %d bytes, not the %d it is listed with", desc.Digest, size, desc.Size)
}

func notCached(repos []name.Repository, desc v1.Descriptor, cause error) error {
	origin := repos[len(repos)-1]
	return fmt.Errorf("%s@%s is not in the cache: %w", registry.RepoName(origin), desc.Digest, cause)
}

// content is a blob to get.
type content struct {
	desc v1.Descriptor
	// open opens it in a repository. What is read there is held to the digest.
	open func(ctx context.Context, puller *remote.Puller, repo name.Repository) (io.ReadCloser, error)
	// progress is told of a download.
	progress event.Func
}

// blob returns a blob from the cache or from the first repository that has it.
// However many ask, it is downloaded once in the process.
func (r *Resolver) blob(ctx context.Context, repos []name.Repository, c content) (*cache.Blob, error) {
	b, err := r.blobs.get(ctx, c.desc.Digest, func() (*cache.Blob, error) {
		if b, err := r.Cache.Verified(c.desc.Digest); err == nil {
			return b, nil
		}
		if err := r.Registry.Check(); err != nil {
			return nil, notCached(repos, c.desc, err)
		}
		return inTurn(ctx, len(repos), func(i int) (*cache.Blob, error) {
			b, err := r.download(ctx, repos[i], c)
			if err != nil {
				err = &answer{registry.RepoName(repos[i]) + "@" + c.desc.Digest.String(), err}
			}
			return b, err
		})
	})
	if err != nil {
		return nil, err
	}
	if b.Size != c.desc.Size {
		return nil, wrongSize(c.desc, b.Size)
	}
	return b, nil
}

// download copies a blob into the cache, which verifies it.
func (r *Resolver) download(ctx context.Context, repo name.Repository, c content) (b *cache.Blob, err error) {
	task := c.progress.Start(event.Pull, c.desc.Digest.String(), c.desc.Size)
	defer func() { task.End(registry.Clean(err), "") }()
	puller, err := r.Registry.Puller(repo.Registry)
	if err != nil {
		return nil, err
	}
	rc, err := c.open(ctx, puller, repo)
	if err != nil {
		return nil, err
	}
	rc = r.Registry.Resume(ctx, repo, c.desc, rc)
	defer func() { err = errors.Join(err, rc.Close()) }()
	return r.Cache.Put(c.desc.Digest, &atMost{r: task.Reader(rc), left: c.desc.Size})
}

// atMost fails where there is more than there should be, for that would fill
// the disk before the digest says so.
type atMost struct {
	r    io.Reader
	left int64
}

func (a *atMost) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if a.left -= int64(n); a.left < 0 {
		return 0, errors.New("it has more bytes than it is listed with")
	}
	return n, err
}

// ownBlob is a blob that a repository has itself.
func ownBlob(desc v1.Descriptor) content {
	return content{desc: desc, open: func(ctx context.Context, puller *remote.Puller, repo name.Repository) (io.ReadCloser, error) {
		layer, err := puller.Layer(ctx, repo.Digest(desc.Digest.String()))
		if err != nil {
			return nil, err
		}
		return layer.Compressed()
	}}
}

// foreignBlob is a blob that, where the repository does not have it, is at a
// URL that the manifest names.
func foreignBlob(desc v1.Descriptor, manifest v1.Hash) content {
	return content{desc: desc, open: func(ctx context.Context, puller *remote.Puller, repo name.Repository) (io.ReadCloser, error) {
		got, err := puller.Get(ctx, repo.Digest(manifest.String()))
		if err != nil {
			return nil, err
		}
		img, err := got.Image()
		if err != nil {
			return nil, err
		}
		layer, err := img.LayerByDigest(desc.Digest)
		if err != nil {
			return nil, err
		}
		return layer.Compressed()
	}}
}
