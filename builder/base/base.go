// Package base finds base images: in registries and their mirrors, in OCI
// layouts and docker archives, and the two that are built in.
package base

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

// The prefixes of bases that are files.
const (
	layoutPrefix  = "oci:"
	archivePrefix = "docker-archive:"
)

// PlatformError is returned where a base has no image for a platform.
type PlatformError struct {
	Base string
	Want v1.Platform
	// Have is what there is, in the base's own order.
	Have []v1.Platform
}

func (e *PlatformError) Error() string {
	var names []string
	for _, p := range e.Have {
		name := p.String()
		if name == "" {
			name = "one for no platform"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	have := strings.Join(names, ", ")
	if have == "" {
		have = "none"
	}
	return fmt.Sprintf("base %s has no image for %s: it has %s", e.Base, e.Want, have)
}

// Image is a base image for one platform.
type Image struct {
	v1.Image
	// Reference is the fully qualified name, empty for what is no registry's.
	Reference string
}

// Resolver finds bases. What it has found stays found, and files that bases
// are read from stay open, for as long as it is used. All methods may be
// called from several goroutines.
type Resolver struct {
	// Registry to ask for references. Bases that are files or built in need
	// none, nor a Cache.
	Registry *registry.Client
	// Cache of manifests, configs and layers.
	Cache *cache.Cache
	// Dir is what relative oci: and docker-archive: paths start from.
	Dir string
	// Progress is told of what is looked for and downloaded.
	Progress event.Func

	sources memo[string, source]
	blobs   memo[v1.Hash, *cache.Blob]
}

// source is a resolved name: a set of images by platform.
type source interface {
	platforms() []v1.Platform
	image(ctx context.Context, p v1.Platform) (*Image, error)
}

// Platforms lists what the base can be had for, in its own order.
func (r *Resolver) Platforms(ctx context.Context, name string) ([]v1.Platform, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	src, err := r.source(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("resolving base %s: %w", name, err)
	}
	return src.platforms(), nil
}

// Image returns the base's image for p, which may be one of a lower variant.
// Without one the error is a *PlatformError. Layers of a registry's image are
// downloaded when they are first read, for as long as ctx lives.
func (r *Resolver) Image(ctx context.Context, name string, p v1.Platform) (*Image, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	src, err := r.source(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("resolving base %s: %w", name, err)
	}
	img, err := src.image(ctx, p)
	if pe := (*PlatformError)(nil); errors.As(err, &pe) {
		return nil, &PlatformError{Base: name, Want: p, Have: pe.Have}
	}
	if err != nil {
		return nil, fmt.Errorf("resolving base %s: %w", name, err)
	}
	return img, nil
}

func (r *Resolver) source(ctx context.Context, name string) (source, error) {
	return r.sources.get(ctx, name, func() (source, error) { return r.find(ctx, name) })
}

func (r *Resolver) find(ctx context.Context, name string) (src source, err error) {
	switch name {
	case plan.Static:
		return builtin{staticImage}, nil
	case plan.Scratch:
		return builtin{image.Empty}, nil
	}
	task := r.Progress.Start(event.Resolve, name, 0)
	var found string
	defer func() { task.End(err, found) }()
	if isFile(name) {
		return r.openFile(name)
	}
	s, err := r.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	found = s.digest.String()
	return s, nil
}

func isFile(name string) bool {
	return strings.HasPrefix(name, layoutPrefix) || strings.HasPrefix(name, archivePrefix)
}

// checkName refuses a name that is not to be repeated.
func checkName(name string) error {
	if isFile(name) {
		return nil
	}
	if err := registry.CheckUserInfo(name); err != nil {
		return fmt.Errorf("resolving a base: %w", err)
	}
	return nil
}

// builtin is a base that exists for every platform.
type builtin struct {
	make func(v1.Platform) (v1.Image, error)
}

func (b builtin) platforms() []v1.Platform { return staticPlatforms }

func (b builtin) image(_ context.Context, p v1.Platform) (*Image, error) {
	img, err := b.make(p)
	if err != nil {
		return nil, err
	}
	return &Image{Image: img}, nil
}

// abs resolves a path against r.Dir.
func (r *Resolver) abs(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(r.Dir, name)
}

// best returns the index in have of what suits want best.
func best(want v1.Platform, have []v1.Platform) (int, error) {
	at, score := -1, 0
	for i, p := range have {
		if s := plan.Runs(want, p); s > score {
			at, score = i, s
		}
	}
	if at < 0 {
		return 0, &PlatformError{Have: have}
	}
	return at, nil
}
