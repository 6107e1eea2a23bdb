package builder_test

import (
	"archive/tar"
	"bytes"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
)

// smallBase writes the layout of an image with the paths that matter of alpine.
func smallBase(dir, name string) error {
	var content bytes.Buffer
	tw := tar.NewWriter(&content)
	for _, line := range []string{
		"drwxr-xr-x 0:0 /bin",
		"-rwxr-xr-x 0:0 /bin/busybox x",
		"drwxr-xr-x 0:0 /etc",
		"-rw-r--r-- 0:0 /etc/group root:x:0:root\nnobody:x:65534:\n",
		"-rw-r--r-- 0:0 /etc/passwd root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
		"drwx------ 0:0 /root",
		"drwxr-xr-x 0:0 /run",
		"drwxr-xr-x 0:0 /srv",
		"-rw-r--r-- 0:0 /srv/old old\n",
		"drwxrwxrwt 0:0 /tmp",
		"drwxr-xr-x 0:0 /var",
		"lrwxrwxrwx 0:0 /var/run -> /run",
	} {
		info, text := rootfstest.Parse(line)
		h, err := tar.FileInfoHeader(info.FileInfo(), info.Link)
		if err != nil {
			return err
		}
		h.Name, h.Uid, h.Gid = info.Path[1:], info.UID, info.GID
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.WriteString(tw, text); err != nil {
			return err
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	})
	if err != nil {
		return err
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: "ADD " + name}})
	if err != nil {
		return err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return err
	}
	cf.OS, cf.Architecture = "linux", "amd64"
	cf.Config = v1.Config{Env: []string{"PATH=/usr/bin:/bin"}, Cmd: []string{"/bin/sh"}}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		return err
	}
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return p.AppendImage(img)
}
