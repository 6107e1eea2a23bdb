//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// alpineRepo is the repository of the base image, as Docker Hub has it.
const alpineRepo = "library/alpine"

// alpinePlatforms are the platforms of the base image, in the index's order.
// The host's is not the first on purpose.
var alpinePlatforms = []v1.Platform{
	{OS: "linux", Architecture: "arm", Variant: "v6"},
	{OS: "linux", Architecture: "arm", Variant: "v7"},
	{OS: "linux", Architecture: "arm64", Variant: "v8"},
	{OS: "linux", Architecture: "amd64"},
}

// alpine is a base image that looks like Alpine Linux: a busybox, the usual
// files and links, and an index over several platforms.
type alpine struct {
	// Docker is the index of the tags latest and 3.20, with Docker's media
	// types, and OCI the one of the tag oci.
	Docker, OCI v1.ImageIndex
}

// alpineEnv is the base image's environment.
const alpineEnv = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// mediaTypes are those of the three parts of an image and of its index.
type mediaTypes struct{ index, manifest, config, layer types.MediaType }

var (
	dockerTypes = mediaTypes{
		types.DockerManifestList, types.DockerManifestSchema2, types.DockerConfigJSON, types.DockerLayer,
	}
	ociTypes = mediaTypes{
		types.OCIImageIndex, types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer,
	}
)

// pushAlpine makes the base image and pushes it to the mirror.
func pushAlpine(mirror string) (*alpine, error) {
	a := &alpine{}
	var err error
	if a.Docker, err = alpineIndex(dockerTypes); err != nil {
		return nil, err
	}
	if a.OCI, err = alpineIndex(ociTypes); err != nil {
		return nil, err
	}
	for tag, idx := range map[string]v1.ImageIndex{"latest": a.Docker, "3.20": a.Docker, "oci": a.OCI} {
		ref, err := name.ParseReference(mirror+"/"+alpineRepo+":"+tag, name.Insecure)
		if err != nil {
			return nil, err
		}
		if err := remote.WriteIndex(ref, idx); err != nil {
			return nil, fmt.Errorf("pushing %s: %w", ref, err)
		}
	}
	return a, nil
}

// alpineIndex makes the index with one image a platform.
func alpineIndex(mt mediaTypes) (v1.ImageIndex, error) {
	idx := mutate.IndexMediaType(empty.Index, mt.index)
	for _, p := range alpinePlatforms {
		img, err := alpineImage(p, mt)
		if err != nil {
			return nil, err
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{
			Add:        img,
			Descriptor: v1.Descriptor{MediaType: mt.manifest, Platform: &p},
		})
	}
	return idx, nil
}

// alpineImage makes the image of one platform. The programs in it are the
// host's for every platform; etc/apk/arch tells the layers apart.
func alpineImage(p v1.Platform, mt mediaTypes) (v1.Image, error) {
	data, err := alpineTar(p)
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(mt.layer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, mt.manifest), mt.config)
	img, err = mutate.Append(img, mutate.Addendum{
		Layer:     layer,
		MediaType: mt.layer,
		History:   v1.History{CreatedBy: "ADD alpine-minirootfs.tar.gz / # e2e", Created: v1.Time{Time: alpineTime}},
	})
	if err != nil {
		return nil, err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Variant = p.OS, p.Architecture, p.Variant
	cf.Created = v1.Time{Time: alpineTime}
	cf.Config.Env = []string{alpineEnv}
	cf.Config.Cmd = []string{"/bin/sh"}
	return mutate.ConfigFile(img, cf)
}

// alpineTime is when everything in the base image was made.
var alpineTime = time.Date(2024, 9, 6, 12, 0, 0, 0, time.UTC)

// alpineTar is the base image's only layer.
func alpineTar(p v1.Platform) ([]byte, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, e := range alpineEntries(p, program) {
		hdr := tar.Header{
			Typeflag: tar.TypeReg, Name: e.path, Mode: e.mode, Uid: e.owner, Gid: e.owner,
			Size: int64(len(e.data)), ModTime: alpineTime,
		}
		switch {
		case e.link != "":
			hdr.Typeflag, hdr.Linkname = tar.TypeSymlink, e.link
		case e.path[len(e.path)-1] == '/':
			hdr.Typeflag = tar.TypeDir
		}
		if err := tw.WriteHeader(&hdr); err != nil {
			return nil, err
		}
		if _, err := tw.Write(e.data); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), tw.Close()
}

// entry is a file, with data, a directory, with a slash at the end of path, or
// a symbolic link. Its user and group have the same number.
type entry struct {
	path, link string
	mode       int64
	owner      int
	data       []byte
}

// alpineEntries lists what is in the base image.
func alpineEntries(p v1.Platform, busybox []byte) []entry {
	var es []entry
	for _, dir := range []string{
		"bin/", "dev/", "etc/", "etc/apk/", "etc/ssl/", "etc/ssl/certs/", "home/", "lib/", "proc/", "run/", "sbin/",
		"sys/", "usr/", "usr/bin/", "usr/lib/", "usr/sbin/", "var/", "var/lib/",
	} {
		es = append(es, entry{path: dir, mode: 0o755})
	}
	es = append(es,
		entry{path: "root/", mode: 0o700},
		entry{path: "tmp/", mode: 0o1777},
		entry{path: "var/tmp/", mode: 0o1777},
		entry{path: "var/www/", mode: 0o750, owner: 33},
		entry{path: "var/run", link: "../run", mode: 0o777},
		entry{path: "bin/busybox", mode: 0o755, data: busybox},
	)
	for _, applet := range []string{"sh", "cat", "echo", "id", "ls", "readlink", "sleep", "stat", "wget"} {
		es = append(es, entry{path: "bin/" + applet, link: "/bin/busybox", mode: 0o777})
	}
	for _, file := range []struct{ path, text string }{
		{"etc/alpine-release", "3.20.3\n"},
		{"etc/apk/arch", p.Architecture + p.Variant + "\n"},
		{"etc/group", "root:x:0:root\nnobody:x:65534:\n"},
		{"etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\n"},
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"},
	} {
		es = append(es, entry{path: file.path, mode: 0o644, data: []byte(file.text)})
	}
	return es
}
