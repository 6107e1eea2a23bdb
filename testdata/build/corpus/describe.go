package corpus

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
)

// configFields are what of a configuration is compared.
var configFields = []string{
	"Entrypoint", "Cmd", "Env", "User", "WorkingDir", "ExposedPorts", "Labels", "Volumes", "StopSignal", "Healthcheck", "OnBuild", "Shell",
}

// Describe says of an image what is compared: of each path its type, mode,
// owner and link target; as "PATH content" what is in it; as "config FIELD" its
// configuration. It does not use what stagectl reads images with.
func Describe(img v1.Image) (map[string]string, error) {
	facts := map[string]string{}
	if err := describeFiles(img, facts); err != nil {
		return nil, err
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	var file struct{ Config map[string]json.RawMessage }
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	for _, field := range configFields {
		var value any
		if raw, ok := file.Config[field]; ok {
			if err := json.Unmarshal(raw, &value); err != nil {
				return nil, err
			}
		}
		if !unset(value) {
			text, err := json.Marshal(value) // with sorted keys
			if err != nil {
				return nil, err
			}
			facts["config "+field] = string(text)
		}
	}
	return facts, nil
}

// unset tells what is the same as nothing in a configuration.
func unset(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func describeFiles(img v1.Image, facts map[string]string) (err error) {
	rc := mutate.Extract(img)
	defer func() { err = errors.Join(err, rc.Close()) }()
	tr := tar.NewReader(rc)
	links := map[string]string{}
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		p := path.Join("/", h.Name)
		if p == "/" {
			continue
		}
		if h.Typeflag == tar.TypeLink {
			links[p] = path.Join("/", h.Linkname)
			continue
		}
		info := rootfs.Info{Path: p, Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, Link: h.Linkname}
		line := rootfstest.Line(info, "")
		if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
			line += fmt.Sprintf(" %d:%d", h.Devmajor, h.Devminor)
		}
		facts[p] = line
		if h.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(tr)
			if err != nil {
				return err
			}
			facts[p+" content"] = string(content)
		}
	}
	for p, target := range links {
		facts[p] = strings.Replace(facts[target], " "+target, " "+p, 1)
		facts[p+" content"] = facts[target+" content"]
	}
	return nil
}
