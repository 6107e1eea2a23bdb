package image

import v1 "github.com/google/go-containerregistry/pkg/v1"

// Result is one finished image, for all its platforms.
type Result struct {
	// Name is the plan's name for the image.
	Name string
	// Tags are the references it is known by, as the plan has them.
	Tags []string
	// Images holds one image a platform, in the plan's order.
	Images []Platform
	// Index over Images, nil where there is one platform only.
	Index v1.ImageIndex
}

// Platform is a finished image for one platform.
type Platform struct {
	Platform v1.Platform
	Image    v1.Image
	// BaseName is the base as the plan names it.
	BaseName string
	// BaseLayers says how many of the image's layers came from the base.
	BaseLayers int
}

// Digest of what a push of the result makes: the index, or the only manifest.
func (r Result) Digest() (v1.Hash, error) {
	if r.Index != nil {
		return r.Index.Digest()
	}
	return r.Images[0].Image.Digest()
}
