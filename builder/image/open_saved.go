package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// savedImage is an element of manifest.json
// (https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format).
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
	// LayerSources describes, by DiffID, layers that are not in the archive.
	LayerSources map[v1.Hash]v1.Descriptor
}

// loadSaved reads what `docker save` wrote before version 25. It has no
// manifests and mostly uncompressed layers. A manifest is made that lists the
// config and the layers as they are, so that nothing is compressed again.
func (l *loader) loadSaved(raw []byte) ([]Opened, error) {
	var saved []savedImage
	if err := json.Unmarshal(raw, &saved); err != nil {
		return nil, fmt.Errorf("reading manifest.json: %w", err)
	}
	layers := map[string]v1.Descriptor{}
	var images []Opened
	for i, s := range saved {
		desc, err := l.manifestOf(s, layers)
		if err != nil {
			return nil, fmt.Errorf("reading image %d of manifest.json: %w", i+1, err)
		}
		o := Opened{Names: s.RepoTags, digest: desc.Digest}
		if o.Images, err = l.openImage(desc); err != nil {
			return nil, fmt.Errorf("reading image %d of manifest.json: %w", i+1, err)
		}
		images = addOpened(images, o)
	}
	return images, nil
}

// manifestOf makes the manifest of a saved image. It keeps the descriptions of
// layers by their names, since images share them.
func (l *loader) manifestOf(s savedImage, layers map[string]v1.Descriptor) (v1.Descriptor, error) {
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	config, err := l.savedConfig(s.Config, &m)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if have, want := len(config.RootFS.DiffIDs), len(s.Layers); have != want {
		return v1.Descriptor{}, fmt.Errorf("config %s lists %d layers, manifest.json lists %d", s.Config, have, want)
	}
	for n, name := range s.Layers {
		diffID := config.RootFS.DiffIDs[n]
		desc, err := l.savedLayer(name, diffID, layers)
		if foreign, ok := s.LayerSources[diffID]; ok && errors.Is(err, fs.ErrNotExist) {
			desc, err = foreign, nil
		}
		if err != nil {
			return v1.Descriptor{}, fmt.Errorf("reading layer %d: %w", n+1, err)
		}
		m.Layers = append(m.Layers, desc)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return l.keep(raw, types.OCIManifestSchema1)
}

// keep makes raw readable by its digest.
func (l *loader) keep(raw []byte, mt types.MediaType) (v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: mt, Digest: digest, Size: size}, l.keepJSON(digest, raw)
}

func (l *loader) savedConfig(name string, m *v1.Manifest) (*v1.ConfigFile, error) {
	raw, err := l.readJSON(name)
	if err != nil {
		return nil, err
	}
	if m.Config, err = l.keep(raw, types.OCIConfigJSON); err != nil {
		return nil, err
	}
	// Every writer names the config after its digest.
	hex := strings.TrimPrefix(strings.TrimSuffix(path.Base(name), ".json"), "sha256:")
	if want, err := v1.NewHash("sha256:" + hex); err == nil && want != m.Config.Digest {
		return nil, fmt.Errorf("verifying %s: the content is damaged, its digest is %s", name, m.Config.Digest)
	}
	l.names[m.Config.Digest] = name
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return config, nil
}

// savedLayer describes a layer. The digest of an uncompressed one is its
// DiffID, which is verified when it is read; a compressed one is read here.
func (l *loader) savedLayer(name string, diffID v1.Hash, known map[string]v1.Descriptor) (_ v1.Descriptor, err error) {
	if desc, ok := known[name]; ok && (desc.Digest == diffID || desc.MediaType != types.OCIUncompressedLayer) {
		return desc, nil
	}
	rc, size, err := l.open(name)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("reading %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	var head bytes.Buffer
	if _, err := io.CopyN(&head, rc, 4); err != nil && !errors.Is(err, io.EOF) {
		return v1.Descriptor{}, fmt.Errorf("reading %s: %w", name, err)
	}
	desc := v1.Descriptor{MediaType: compressionOf(head.Bytes()), Digest: diffID, Size: size}
	if desc.MediaType != types.OCIUncompressedLayer {
		if desc.Digest, _, err = v1.SHA256(io.MultiReader(&head, rc)); err != nil {
			return v1.Descriptor{}, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	l.names[desc.Digest] = name
	known[name] = desc
	return desc, nil
}
