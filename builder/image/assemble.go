package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations of the OCI image specification that name an image's base
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
const (
	AnnotationBaseName   = "org.opencontainers.image.base.name"
	AnnotationBaseDigest = "org.opencontainers.image.base.digest"
)

// historyComment marks the entries of the history that are ours.
const historyComment = "stagectl"

// Layer is a layer to put on a base. Without one, it is only part of the history.
type Layer struct {
	Layer v1.Layer
	// CreatedBy is what the history says of it.
	CreatedBy string
}

// Spec is what an image has beyond its base.
type Spec struct {
	Platform v1.Platform
	// Epoch is the time of creation, in the config and the history.
	Epoch time.Time
	// Layers go on top of the base's, in order.
	Layers []Layer
	// Configure changes the base's configuration, which it may keep. It is
	// handed a copy.
	Configure func(*v1.Config)
	// Author of the image, where it has one.
	Author string
	// StartInterval of the health check that Configure sets: v1.HealthConfig has
	// no field for it.
	StartInterval time.Duration
	// Annotations of the manifest; the base's are not inherited.
	Annotations map[string]string
}

// Assemble puts s on base, which stays as it is. Base layers keep their bytes;
// their media types, and those of the config and the manifest, become OCI's.
// Of the base's config the image has what describes its files and how they are
// run, and nothing of who made it, where and when.
func Assemble(base v1.Image, s Spec) (v1.Image, error) {
	img, err := toOCI(base)
	if err != nil {
		return nil, err
	}
	cf, err := s.inherit(base)
	if err != nil {
		return nil, err
	}
	health := cf.Config.Healthcheck
	if s.Configure != nil {
		s.Configure(&cf.Config)
	}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		return nil, fmt.Errorf("setting config: %w", err)
	}
	adds := make([]mutate.Addendum, len(s.Layers))
	for i, l := range s.Layers {
		adds[i] = mutate.Addendum{Layer: l.Layer, History: s.history(l.CreatedBy)}
		adds[i].History.EmptyLayer = l.Layer == nil
	}
	if img, err = mutate.Append(img, adds...); err != nil {
		return nil, fmt.Errorf("appending layers: %w", err)
	}
	if len(s.Annotations) > 0 {
		img = mutate.Annotations(img, s.Annotations).(v1.Image)
	}
	if cf.Config.Healthcheck != health {
		if s.StartInterval == 0 || cf.Config.Healthcheck == nil {
			return img, nil
		}
		return withStartInterval(img, s.StartInterval)
	}
	return keepStartInterval(img, base)
}

// history is an entry for one layer.
func (s Spec) history(createdBy string) v1.History {
	return v1.History{Created: v1.Time{Time: s.Epoch.UTC()}, CreatedBy: createdBy, Comment: historyComment}
}

// inherit returns the config that the image starts with. It names the fields
// that are the base's; all others, such as the container that the base was
// committed from and the Docker that did it, are left behind.
func (s Spec) inherit(base v1.Image) (*v1.ConfigFile, error) {
	was, err := base.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading base config: %w", err)
	}
	was = was.DeepCopy()
	cf := &v1.ConfigFile{
		Architecture: s.Platform.Architecture,
		OS:           s.Platform.OS,
		Variant:      s.Platform.Variant,
		OSVersion:    was.OSVersion,
		OSFeatures:   was.OSFeatures,
		Author:       s.Author,
		Created:      v1.Time{Time: s.Epoch.UTC()},
		History:      s.align(was.History, len(was.RootFS.DiffIDs)),
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: append([]v1.Hash{}, was.RootFS.DiffIDs...)},
		Config:       was.Config,
	}
	cf.Config.Hostname, cf.Config.Domainname, cf.Config.Image = "", "", ""
	// Triggers are for the image built on the base, not for what is built on
	// that (https://docs.docker.com/reference/dockerfile/#onbuild).
	cf.Config.OnBuild = nil
	return cf, nil
}

// align returns history with one entry for each of the layers, besides those
// for no layer. Readers count from the start, so without that the entries of
// what is put on top would be taken for those of the base's layers.
func (s Spec) align(history []v1.History, layers int) []v1.History {
	for i := range history {
		if history[i].EmptyLayer {
			continue
		}
		if layers == 0 {
			history[i].EmptyLayer = true
			continue
		}
		layers--
	}
	for range layers {
		history = append(history, s.history("layer of the base"))
	}
	return history
}

// ociMediaTypes maps Docker's layer types to OCI's. The bytes are the same.
var ociMediaTypes = map[types.MediaType]types.MediaType{
	types.DockerLayer:                                   types.OCILayer,
	types.DockerUncompressedLayer:                       types.OCIUncompressedLayer,
	types.DockerForeignLayer:                            types.OCIRestrictedLayer,
	"application/vnd.docker.image.rootfs.diff.tar.zstd": types.OCILayerZStd,
}

// toOCI returns img with the media types of its manifest and its layers mapped
// to OCI's, and without its annotations. Config and layers stay as they are,
// byte for byte.
func toOCI(img v1.Image) (v1.Image, error) {
	was, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("reading base manifest: %w", err)
	}
	m := &v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        v1.Descriptor{MediaType: types.OCIConfigJSON, Size: was.Config.Size, Digest: was.Config.Digest},
		Layers:        append([]v1.Descriptor{}, was.Layers...),
	}
	for i, l := range m.Layers {
		if mapped, ok := ociMediaTypes[l.MediaType]; ok {
			m.Layers[i].MediaType = mapped
		}
	}
	return &remanifested{Image: img, manifest: m}, nil
}

// remanifested is an image under another manifest with the same content. The
// images that mutate puts on it ask for its layers one by one.
type remanifested struct {
	v1.Image
	manifest *v1.Manifest
}

func (i *remanifested) MediaType() (types.MediaType, error) { return i.manifest.MediaType, nil }
func (i *remanifested) Manifest() (*v1.Manifest, error)     { return i.manifest.DeepCopy(), nil }
func (i *remanifested) RawManifest() ([]byte, error)        { return json.Marshal(i.manifest) }
func (i *remanifested) Digest() (v1.Hash, error)            { return partial.Digest(i) }
func (i *remanifested) Size() (int64, error)                { return partial.Size(i) }

func (i *remanifested) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	return retype(i.Image.LayerByDigest(h))
}

func (i *remanifested) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	return retype(i.Image.LayerByDiffID(h))
}

// retype returns l under OCI's media type.
func retype(l v1.Layer, err error) (v1.Layer, error) {
	if err != nil {
		return nil, err
	}
	mt, err := l.MediaType()
	if err != nil {
		return nil, err
	}
	if mapped, ok := ociMediaTypes[mt]; ok {
		return &retyped{l, mapped}, nil
	}
	return l, nil
}

// retyped is a layer under another media type.
type retyped struct {
	v1.Layer
	mediaType types.MediaType
}

func (l *retyped) MediaType() (types.MediaType, error) { return l.mediaType, nil }

// Descriptor keeps the URLs of a layer that is not distributed with the image.
func (l *retyped) Descriptor() (*v1.Descriptor, error) {
	desc, err := partial.Descriptor(l.Layer)
	if err != nil {
		return nil, err
	}
	desc = desc.DeepCopy()
	desc.MediaType = l.mediaType
	return desc, nil
}

// Unwrap returns the base's own layer, which may know where it was found.
func (l *retyped) Unwrap() v1.Layer { return l.Layer }

// health is the part of a config that v1.HealthConfig has no field for.
type health struct {
	Config struct {
		Healthcheck struct {
			StartInterval time.Duration
		}
	} `json:"config"`
}

// keepStartInterval returns img with the StartInterval of the base's health
// check: ggcr's config type has no such field and drops it.
func keepStartInterval(img, base v1.Image) (v1.Image, error) {
	raw, err := base.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading base config: %w", err)
	}
	var h health
	if err := json.Unmarshal(raw, &h); err != nil {
		return nil, fmt.Errorf("reading base config: %w", err)
	}
	if h.Config.Healthcheck.StartInterval == 0 {
		return img, nil
	}
	return withStartInterval(img, h.Config.Healthcheck.StartInterval)
}

// withStartInterval adds the field to the config, which has a health check.
func withStartInterval(img v1.Image, interval time.Duration) (v1.Image, error) {
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading config: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // float64 would round what it cannot hold
	var cf map[string]any
	if err := d.Decode(&cf); err != nil {
		return nil, fmt.Errorf("reading config: %w", err)
	}
	cf["config"].(map[string]any)["Healthcheck"].(map[string]any)["StartInterval"] = interval
	if raw, err = json.Marshal(cf); err != nil {
		return nil, fmt.Errorf("setting config: %w", err)
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	if m.Config.Digest, m.Config.Size, err = v1.SHA256(bytes.NewReader(raw)); err != nil {
		return nil, fmt.Errorf("setting config: %w", err)
	}
	return &reconfigured{remanifested{Image: img, manifest: m}, raw}, nil
}

// reconfigured is an image with another config blob, which differs in what
// v1.ConfigFile does not have.
type reconfigured struct {
	remanifested
	raw []byte
}

func (i *reconfigured) RawConfigFile() ([]byte, error) { return bytes.Clone(i.raw), nil }
func (i *reconfigured) ConfigName() (v1.Hash, error)   { return i.manifest.Config.Digest, nil }

func (i *reconfigured) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if h == i.manifest.Config.Digest {
		return partial.ConfigLayer(i)
	}
	return i.remanifested.LayerByDigest(h)
}
