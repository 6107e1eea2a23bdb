package base

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
)

// fileSource is one image, for its platforms, of a layout or an archive.
type fileSource struct{ *image.Opened }

// openFile reads oci:PATH[:NAME] and docker-archive:PATH[:NAME].
func (r *Resolver) openFile(base string) (_ source, err error) {
	_, spec, _ := strings.Cut(base, ":")
	if spec == "" {
		return nil, errors.New("the path is missing")
	}
	path, name := splitName(r.abs(spec))
	f, err := image.Open(path)
	if err != nil {
		return nil, err
	}
	opened, err := f.Find(name)
	if err != nil {
		if name == "" {
			err = fmt.Errorf("%w (write %s:NAME)", err, base)
		}
		return nil, errors.Join(err, f.Close())
	}
	return fileSource{opened}, nil
}

// splitName divides PATH:NAME. Both may have colons: the path is the longest
// there is, so that one that exists with its colon is taken as it is.
func splitName(spec string) (path, name string) {
	for end := len(spec); end > 0; end = strings.LastIndexByte(spec[:end], ':') {
		if _, err := os.Lstat(spec[:end]); err == nil {
			return spec[:end], strings.TrimPrefix(spec[end:], ":")
		}
	}
	return spec, ""
}

func (s fileSource) platforms() []v1.Platform {
	platforms := make([]v1.Platform, len(s.Images))
	for i, img := range s.Images {
		platforms[i] = plan.Normalize(img.Platform)
	}
	return platforms
}

func (s fileSource) image(_ context.Context, p v1.Platform) (*Image, error) {
	at, err := best(p, s.platforms())
	if err == nil {
		return &Image{Image: s.Images[at].Image}, nil
	}
	for _, listed := range s.Incomplete {
		if plan.Runs(p, listed.Platform) > 0 {
			return nil, fmt.Errorf("finding the image for %s: it is listed, but not all there: %w", p, listed.Cause)
		}
	}
	return nil, err
}
