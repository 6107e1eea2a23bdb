package base

import (
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/limit"
)

// unknownSize is that of a descriptor that was made of a digest alone.
const unknownSize = -1

// manifestOrIndex has what tells the two apart, and what is read of either.
type manifestOrIndex struct {
	MediaType types.MediaType `json:"mediaType"`
	Config    *v1.Descriptor  `json:"config"`
	Layers    []v1.Descriptor `json:"layers"`
	FSLayers  json.RawMessage `json:"fsLayers"`
	Manifests []v1.Descriptor `json:"manifests"`
}

// parseManifest refuses what is both an image and an index (CVE-2021-41190,
// https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh),
// and what is neither. The media type is set where the manifest has none.
func parseManifest(raw []byte) (*manifestOrIndex, error) {
	var m manifestOrIndex
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	if err := image.CheckKeys(raw); err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	isImage, isIndex := m.Config != nil || m.Layers != nil, m.Manifests != nil
	switch {
	case m.FSLayers != nil || m.MediaType.IsSchema1():
		return nil, errSchema1
	case isImage && isIndex:
		return nil, errors.New("the manifest is both an image and an index")
	case isIndex && m.MediaType == "":
		m.MediaType = types.OCIImageIndex
	case isIndex && !m.MediaType.IsIndex():
		return nil, fmt.Errorf("the manifest is an index, but says it is %s", m.MediaType)
	case isIndex:
	case m.Config == nil:
		return nil, fmt.Errorf("not an image: the manifest is %s", orUnknown(m.MediaType))
	case !m.Config.MediaType.IsConfig():
		return nil, fmt.Errorf("not an image: its config is %s", orUnknown(m.Config.MediaType))
	case m.MediaType == "":
		m.MediaType = types.OCIManifestSchema1
	case !m.MediaType.IsImage():
		return nil, fmt.Errorf("the manifest is an image, but says it is %s", m.MediaType)
	}
	return &m, m.check()
}

var errSchema1 = errors.New("the manifest has the format of Docker before 1.10 (schema 1), which is not supported: push the image again")

func orUnknown(t types.MediaType) types.MediaType {
	if t == "" {
		return "of no known type"
	}
	return t
}

// check looks at everything that m describes.
func (m *manifestOrIndex) check() error {
	switch {
	case len(m.Manifests) > limit.Manifests:
		return fmt.Errorf("the index lists %d manifests, the limit is %d", len(m.Manifests), limit.Manifests)
	case len(m.Layers) > limit.Layers:
		return fmt.Errorf("the manifest lists %d layers, the limit is %d", len(m.Layers), limit.Layers)
	}
	for _, d := range m.Manifests {
		if err := checkManifest(d); err != nil {
			return err
		}
	}
	if m.Config != nil {
		if err := checkJSON("config", *m.Config); err != nil {
			return err
		}
	}
	for _, d := range m.Layers {
		if err := checkContent("layer", d); err != nil {
			return err
		}
		if d.Size > limit.Layer {
			return fmt.Errorf("layer %s has %d bytes, the limit is %d", d.Digest, d.Size, int64(limit.Layer))
		}
	}
	return nil
}

// checkManifest looks at the description of a manifest or an index.
func checkManifest(d v1.Descriptor) error {
	if d.MediaType.IsSchema1() {
		return errSchema1
	}
	return checkJSON("manifest", d)
}

// checkJSON looks at the description of what is going to be kept in memory.
func checkJSON(what string, d v1.Descriptor) error {
	if err := checkContent(what, d); err != nil {
		return err
	}
	if d.Size > limit.JSON {
		return fmt.Errorf("%s %s has %d bytes, the limit is %d", what, d.Digest, d.Size, limit.JSON)
	}
	return nil
}

// checkContent looks at the description of any content.
func checkContent(what string, d v1.Descriptor) error {
	if d.Digest == (v1.Hash{}) {
		return fmt.Errorf("the manifest names a %s without a digest", what)
	}
	if err := image.CheckDigest(d.Digest); err != nil {
		return fmt.Errorf("%s %w", what, err)
	}
	if d.Size < 0 {
		return fmt.Errorf("%s %s has a size of %d", what, d.Digest, d.Size)
	}
	return nil
}
