package base

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

// tagRecords is the kind of the cache's records of what a tag pointed to last.
const tagRecords = "tags"

// tag is such a record, for use without the network.
type tag struct {
	Digest v1.Hash `json:"digest"`
}

// remoteSource is a manifest or an index in a registry.
type remoteSource struct {
	r *Resolver
	// origin is the reference as it was asked for.
	origin name.Reference
	// repos are where its content is asked for: where it was found, and then
	// what comes after that.
	repos    []name.Repository
	digest   v1.Hash
	children []child
}

// child is an image of the source.
type child struct {
	platform v1.Platform
	manifest v1.Descriptor
}

// resolve finds what s points to: with one HEAD for a tag, with nothing for a
// digest, and from the cache where there is no network.
func (r *Resolver) resolve(ctx context.Context, s string) (*remoteSource, error) {
	origin, err := r.Registry.Parse(s)
	if err != nil {
		return nil, err
	}
	refs, err := r.Registry.Candidates(origin)
	if err != nil {
		return nil, err
	}
	if d, ok := origin.(name.Digest); ok {
		digest, err := v1.NewHash(d.DigestStr())
		if err == nil {
			err = checkManifest(v1.Descriptor{Digest: digest})
		}
		if err != nil {
			return nil, err
		}
		return r.load(ctx, origin, digest, refs)
	}
	if err := r.Registry.Check(); err != nil {
		var known tag
		if !r.Cache.Record(tagRecords, origin.Name(), &known) {
			return nil, fmt.Errorf("%s is not in the cache: %w", registry.Name(origin), err)
		}
		return r.load(ctx, origin, known.Digest, refs)
	}
	return inTurn(ctx, len(refs), func(i int) (*remoteSource, error) {
		digest, err := r.digestOf(ctx, refs[i])
		if err != nil {
			return nil, &answer{registry.Name(refs[i]), err}
		}
		src, err := r.load(ctx, origin, digest, refs[i:])
		if err != nil {
			return nil, err
		}
		return src, r.Cache.SetRecord(tagRecords, origin.Name(), tag{digest})
	})
}

// digestOf asks what a tag points to.
func (r *Resolver) digestOf(ctx context.Context, ref name.Reference) (v1.Hash, error) {
	puller, err := r.Registry.Puller(ref.Context().Registry)
	if err != nil {
		return v1.Hash{}, err
	}
	head, err := puller.Head(ctx, ref)
	if err == nil {
		return head.Digest, checkManifest(*head)
	}
	if ctx.Err() != nil || !worthAsking(err) {
		return v1.Hash{}, err
	}
	desc, err := r.get(ctx, ref)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := checkManifest(desc.Descriptor); err != nil {
		return v1.Hash{}, err
	}
	_, err = r.Cache.Put(desc.Digest, bytes.NewReader(desc.Manifest))
	return desc.Digest, err
}

// worthAsking tells whether a GET may work, or at least say more, where a HEAD
// failed: some registries forbid it, or leave the digest out.
func worthAsking(err error) bool {
	if te := (*transport.Error)(nil); errors.As(err, &te) {
		return !te.Temporary() && te.StatusCode < 500
	}
	ue := (*url.Error)(nil)
	return !errors.As(err, &ue) // not connected at all
}

// load reads the manifest or the index with the digest.
func (r *Resolver) load(ctx context.Context, origin name.Reference, digest v1.Hash, refs []name.Reference) (*remoteSource, error) {
	s := &remoteSource{r: r, origin: origin, digest: digest}
	for _, ref := range refs {
		s.repos = append(s.repos, ref.Context())
	}
	desc := v1.Descriptor{Digest: digest, Size: unknownSize}
	f, err := r.manifest(ctx, s.repos, desc)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(f.raw)
	if err != nil {
		return nil, err
	}
	s.repos = f.repos
	desc.MediaType, desc.Size = m.MediaType, int64(len(f.raw))
	if m.Manifests == nil {
		s.children, err = s.only(ctx, desc)
	} else {
		s.children, err = s.imagesOf(ctx, m.Manifests)
	}
	return s, err
}

// only describes an image by its config.
func (s *remoteSource) only(ctx context.Context, desc v1.Descriptor) ([]child, error) {
	img, err := s.open(ctx, desc)
	if err != nil {
		return nil, err
	}
	p := img.cf.Platform()
	if p == nil {
		return nil, fmt.Errorf("reading config %s: it names no platform", img.manifest.Config.Digest)
	}
	return []child{{platform: *p, manifest: desc}}, nil
}

// imagesOf describes the images of an index. What else it has, such as
// attestations, whose platform is unknown/unknown, is left out.
func (s *remoteSource) imagesOf(ctx context.Context, descs []v1.Descriptor) ([]child, error) {
	var children []child
	for _, d := range descs {
		switch {
		case d.MediaType.IsIndex():
			return nil, fmt.Errorf("an index inside an index (%s) is not supported", d.Digest)
		case !d.MediaType.IsImage() || isAttestation(d):
		case d.Platform != nil && d.Platform.OS != "":
			children = append(children, child{platform: *d.Platform, manifest: d})
		default:
			unnamed, err := s.only(ctx, d)
			if err != nil {
				return nil, err
			}
			children = append(children, unnamed...)
		}
	}
	return children, nil
}

func isAttestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" || d.Platform != nil && d.Platform.OS == "unknown"
}

func (s *remoteSource) platforms() []v1.Platform {
	platforms := make([]v1.Platform, len(s.children))
	for i, c := range s.children {
		platforms[i] = plan.Normalize(c.platform)
	}
	return platforms
}

func (s *remoteSource) image(ctx context.Context, p v1.Platform) (*Image, error) {
	at, err := best(p, s.platforms())
	if err != nil {
		return nil, err
	}
	c := s.children[at]
	img, err := s.open(ctx, c.manifest)
	if err != nil {
		return nil, err
	}
	if is := img.cf.Platform(); is == nil || is.OS != c.platform.OS || is.Architecture != c.platform.Architecture {
		return nil, fmt.Errorf("the index lists %s for %s, but its config is for %s", c.manifest.Digest, c.platform, orNone(is))
	}
	return &Image{Image: img.mountable(), Reference: registry.Name(s.origin)}, nil
}

func orNone(p *v1.Platform) string {
	if p == nil {
		return "no platform"
	}
	return p.String()
}
