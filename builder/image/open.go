package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations of a descriptor in index.json that name the image.
const (
	// annotationRefName is a tag or a whole reference
	// (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
	annotationRefName = "org.opencontainers.image.ref.name"
	// annotationImageName is the whole reference, as containerd and Docker write it.
	annotationImageName = "io.containerd.image.name"
	// annotationReferenceType marks what BuildKit adds to an index beside
	// the images, such as attestations.
	annotationReferenceType = "vnd.docker.reference.type"
)

// File is an archive or an OCI layout that was opened for reading. What its
// images return is read from the file when asked for, and verified.
type File struct {
	// Path is what was opened.
	Path string
	// Images are in the order of the file, at least one.
	Images []Opened

	blobs *blobs
}

// Opened is one image in a File, for all the platforms it has.
type Opened struct {
	// Names the file has for the image: "docker.io/library/server:v1", or the
	// tag alone. There may be none.
	Names []string
	// Images holds one image a platform, in the order of the file.
	Images []Platform
	// Index over Images, nil where the file has a manifest only.
	Index v1.ImageIndex
	// Incomplete are the platforms that Index lists and the file lacks, as in
	// what `docker save` writes after a pull for one platform.
	Incomplete []Incomplete

	refs   []string
	digest v1.Hash
}

// Incomplete is a platform of an index whose content is not all in the file.
type Incomplete struct {
	Platform v1.Platform
	// Cause names what is missing. It is an fs.ErrNotExist.
	Cause error
}

// Open opens a file that holds images: a directory that is an OCI layout
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md), a
// tar of one, or what `docker save` writes. It reads every manifest and
// config, and checks that the layers are there in full, but reads those only
// when they are asked for.
func Open(path string) (_ *File, err error) {
	src, err := openSource(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, withoutPath(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, src.Close())
		}
	}()
	l := newLoader(&blobs{source: src, path: path})
	images, err := l.load()
	if err == nil && len(images) == 0 {
		err = errors.New("it holds no image")
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return &File{Path: path, Images: images, blobs: l.blobs}, nil
}

// withoutPath drops the path of an error, for messages that already have it.
func withoutPath(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// Close closes the file. Its images cannot be read any more.
func (f *File) Close() error { return f.blobs.Close() }

// Find returns the image that name stands for: one of its Names in full or in
// short, its tag where the file has no more, or its digest. An empty name
// stands for the only image.
func (f *File) Find(name string) (*Opened, error) {
	if name == "" && len(f.Images) == 1 {
		return &f.Images[0], nil
	}
	if name == "" {
		return nil, fmt.Errorf("finding the image in %s: there are %d, name one of: %s",
			f.Path, len(f.Images), f.names())
	}
	for i := range f.Images {
		if f.Images[i].Named(name) {
			return &f.Images[i], nil
		}
	}
	return nil, fmt.Errorf("finding image %s in %s: not there, only: %s", name, f.Path, f.names())
}

func (f *File) names() string {
	var all []string
	for _, o := range f.Images {
		if len(o.Names) == 0 {
			all = append(all, o.digest.String())
		}
		all = append(all, o.Names...)
	}
	return strings.Join(all, ", ")
}

// Digest is the digest of the index, or of the only manifest.
func (o Opened) Digest() v1.Hash { return o.digest }

// Named tells whether ref stands for the image, as File.Find describes.
func (o Opened) Named(ref string) bool {
	if ref == o.digest.String() || slices.Contains(o.refs, ref) || slices.Contains(o.Names, ref) {
		return true
	}
	want, err := name.NewTag(ref)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(o.Names, func(n string) bool {
		have, err := name.NewTag(n)
		return err == nil && have.Name() == want.Name()
	})
}

// For returns the image for a platform. Variants that mean the same, such as
// linux/arm64 and linux/arm64/v8, are the same platform.
func (o Opened) For(want v1.Platform) (v1.Image, error) {
	for _, p := range o.Images {
		if samePlatform(p.Platform, want) {
			return p.Image, nil
		}
	}
	for _, p := range o.Incomplete {
		if samePlatform(p.Platform, want) {
			return nil, fmt.Errorf("finding the image for %s: it is listed, but not all there: %w", want, p.Cause)
		}
	}
	have := make([]string, len(o.Images))
	for i, p := range o.Images {
		have[i] = p.Platform.String()
	}
	return nil, fmt.Errorf("finding the image for %s: not there, only: %s", want, strings.Join(have, ", "))
}

// defaultVariants are the variants that a platform without one stands for, as
// in containerd (https://github.com/containerd/platforms).
var defaultVariants = map[string]string{"amd64": "v1", "arm": "v7", "arm64": "v8"}

func samePlatform(have, want v1.Platform) bool {
	for _, p := range []*v1.Platform{&have, &want} {
		if p.Variant == "" {
			p.Variant = defaultVariants[p.Architecture]
		}
	}
	return have.OS == want.OS && have.Architecture == want.Architecture && have.Variant == want.Variant &&
		(want.OSVersion == "" || have.OSVersion == want.OSVersion)
}

// load finds out what kind of file it is and reads all manifests.
func (l *loader) load() ([]Opened, error) {
	if err := l.checkLayoutVersion(); err != nil {
		return nil, err
	}
	raw, err := l.readJSON("index.json")
	if err == nil {
		return l.loadIndex(raw)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if raw, err = l.readJSON("manifest.json"); err == nil {
		return l.loadSaved(raw)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return nil, errors.New("neither an OCI layout nor a docker archive: no index.json and no manifest.json in it")
}

func (l *loader) checkLayoutVersion() error {
	raw, err := l.readJSON("oci-layout")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var layout struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(raw, &layout); err != nil {
		return fmt.Errorf("reading oci-layout: %w", err)
	}
	if layout.Version != "1.0.0" {
		return fmt.Errorf("reading oci-layout: layout version %q, only 1.0.0 is known", layout.Version)
	}
	return nil
}

// loadIndex reads what index.json lists.
func (l *loader) loadIndex(raw []byte) ([]Opened, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading index.json: %w", err)
	}
	im, err := parseIndex(raw, types.OCIImageIndex)
	if err != nil {
		return nil, fmt.Errorf("reading index.json: %w", err)
	}
	top := &blobIndex{
		loader: l, raw: raw, manifest: im,
		desc: v1.Descriptor{MediaType: types.OCIImageIndex, Digest: digest, Size: size},
	}
	var images []Opened
	for _, desc := range im.Manifests {
		o, err := l.opened(desc)
		if err != nil {
			return nil, err
		}
		if len(o.Images)+len(o.Incomplete) > 0 {
			images = addOpened(images, o)
		}
	}
	return asOneImage(images, top), nil
}

// addOpened appends o, or only its names if the image is already there, as it
// is for each tag of an image in what `docker save` writes.
func addOpened(images []Opened, o Opened) []Opened {
	i := slices.IndexFunc(images, func(have Opened) bool { return have.digest == o.digest })
	if i < 0 {
		return append(images, o)
	}
	images[i].Names = append(images[i].Names, o.Names...)
	images[i].refs = append(images[i].refs, o.refs...)
	return images
}

// opened reads what a descriptor of index.json stands for: one image, or one
// for each platform. Anything else, such as a signature, gives none.
func (l *loader) opened(desc v1.Descriptor) (Opened, error) {
	o := Opened{digest: desc.Digest}
	o.Names, o.refs = namesOf(desc)
	var err error
	switch {
	case desc.MediaType.IsImage():
		o.Images, err = l.openImage(desc)
	case desc.MediaType.IsIndex():
		err = l.openIndex(desc, &o)
	}
	return o, err
}

func (l *loader) openImage(desc v1.Descriptor) ([]Platform, error) {
	img, err := l.image(desc)
	if err != nil {
		return nil, err
	}
	p, ok, err := img.runsOn(desc)
	if err != nil || !ok {
		return nil, err
	}
	return []Platform{{Platform: p, Image: img}}, nil
}

func (l *loader) openIndex(desc v1.Descriptor, o *Opened) error {
	idx, err := l.index(desc)
	if err != nil {
		return err
	}
	o.Index = idx
	for _, child := range idx.manifest.Manifests {
		if child.MediaType.IsIndex() {
			return fmt.Errorf("reading index %s: %s in it is an index again", desc.Digest, child.Digest)
		}
		if !child.MediaType.IsImage() {
			continue
		}
		images, err := l.openImage(child)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			o.addIncomplete(child, err)
		case err != nil:
			return fmt.Errorf("reading index %s: %w", desc.Digest, err)
		}
		o.Images = append(o.Images, images...)
	}
	if len(o.Images) == 0 && len(o.Incomplete) > 0 {
		return fmt.Errorf("reading index %s: %w", desc.Digest, o.Incomplete[0].Cause)
	}
	return nil
}

func (o *Opened) addIncomplete(desc v1.Descriptor, cause error) {
	if desc.Platform != nil && !isAttestation(desc) {
		o.Incomplete = append(o.Incomplete, Incomplete{Platform: *desc.Platform, Cause: cause})
	}
}

// asOneImage recognises an index.json that is itself the index of one image,
// as go-containerregistry's layout.Write makes it: several manifests with the
// same name or none, each for its own platform.
func asOneImage(images []Opened, top *blobIndex) []Opened {
	if len(images) < 2 {
		return images
	}
	one := Opened{Names: images[0].Names, refs: images[0].refs, Index: top, digest: top.desc.Digest}
	seen := map[string]bool{}
	for _, o := range images {
		if o.Index != nil || !slices.Equal(o.Names, one.Names) || seen[o.Images[0].Platform.String()] {
			return images
		}
		seen[o.Images[0].Platform.String()] = true
		one.Images = append(one.Images, o.Images...)
	}
	return []Opened{one}
}

// namesOf returns the names for people, and everything the image answers to.
func namesOf(desc v1.Descriptor) (names, refs []string) {
	full, ref := desc.Annotations[annotationImageName], desc.Annotations[annotationRefName]
	if ref != "" {
		names, refs = []string{ref}, []string{ref}
	}
	if full != "" {
		names = []string{full}
	}
	return names, refs
}

// isAttestation recognises what BuildKit puts into an index beside the images.
func isAttestation(desc v1.Descriptor) bool {
	return desc.Annotations[annotationReferenceType] != "" ||
		desc.Platform != nil && desc.Platform.OS == "unknown"
}
