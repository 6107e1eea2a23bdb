package corpus

import (
	"bytes"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Bases are the images that the cases start from, besides golang: what matters
// of alpine, an image with triggers, and one whose configuration says all that
// an image can.
var Bases = []string{"alpine", "triggers", "configured"}

// entries are what matters of alpine's files.
var entries = []string{
	"drwxr-xr-x 0:0 /bin",
	"drwxr-xr-x 0:0 /dev",
	"drwxr-xr-x 0:0 /etc",
	"-rw-r--r-- 0:0 /etc/group root:x:0:root\nnobody:x:65534:\n",
	"-rw-r--r-- 0:0 /etc/passwd root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
	"drwxr-xr-x 0:0 /proc",
	"drwx------ 0:0 /root",
	"drwxr-xr-x 0:0 /run",
	"drwxr-xr-x 0:0 /srv",
	"-rw-r--r-- 0:0 /srv/old old\n",
	"drwxr-xr-x 0:0 /sys",
	"drwxrwxrwt 0:0 /tmp",
	"drwxr-xr-x 0:0 /var",
	"lrwxrwxrwx 0:0 /var/run -> /run",
}

// Base makes one of the bases. program is /bin/busybox for the architecture, and
// more are entries on top of that, as links to it.
func Base(called, arch string, program []byte, more []string) (v1.Image, error) {
	all := append([]string{"drwxr-xr-x 0:0 /bin", "-rwxr-xr-x 0:0 /bin/busybox " + string(program)}, entries[1:]...)
	l, err := layerOf(append(all, more...))
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: "ADD " + called}})
	if err != nil {
		return nil, err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf.OS, cf.Architecture = "linux", arch
	cf.Config = config(called)
	return mutate.ConfigFile(img, cf)
}

func layerOf(entries []string) (v1.Layer, error) {
	var content bytes.Buffer
	if err := writeTar(&content, entries); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	})
}

func config(called string) v1.Config {
	c := v1.Config{Env: []string{"PATH=/usr/bin:/bin"}, Cmd: []string{"/bin/sh"}}
	switch called {
	case "triggers":
		c.Env = append(c.Env, "BASE=triggers")
		c.OnBuild = []string{"COPY f /from-trigger", "RUN cat /from-trigger > /$BASE", "WORKDIR /w", "LABEL by=$BASE"}
	case "configured":
		c = v1.Config{
			Env: []string{"PATH=/usr/bin:/bin", "LEVEL=base"}, Entrypoint: []string{"/entry"}, Cmd: []string{"base", "cmd"},
			WorkingDir: "/srv", User: "nobody", Labels: map[string]string{"level": "base", "kept": "yes"},
			ExposedPorts: map[string]struct{}{"80/tcp": {}}, Volumes: map[string]struct{}{"/base": {}},
			StopSignal: "SIGUSR1", Shell: []string{"/bin/sh", "-ec"},
			Healthcheck: &v1.HealthConfig{Test: []string{"CMD", "/check"}, Interval: 7e9},
		}
	}
	return c
}
