//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// sources are the ways in which skopeo can read the sample.
func sources(s *sample) map[string]string {
	return map[string]string{
		"docker-archive": "docker-archive:" + s.Archive,
		"both":           "oci-archive:" + s.Archive,
		"oci-archive":    "oci-archive:" + s.OCIArchive,
		"oci":            "oci:" + s.Layout,
	}
}

// TestSkopeoInspect proves that skopeo reads the archive as docker-archive:
// and as oci-archive:, and the layout as oci:, and finds the same image.
func TestSkopeoInspect(t *testing.T) {
	s := serverSample(t)
	for name, source := range sources(s) {
		t.Run(name, func(t *testing.T) {
			var img struct {
				Digest       string
				Os           string
				Architecture string
				Layers       []string
			}
			out := skopeo(t, "inspect", source)
			if err := json.Unmarshal([]byte(out), &img); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			equal(t, "platform", img.Os+"/"+img.Architecture, hostPlatform)
			equal(t, "number of layers", len(img.Layers), 2)
			// A docker archive has no manifest, so skopeo makes one.
			if name != "docker-archive" {
				equal(t, "digest", img.Digest, s.Digest)
			}
		})
	}
}

// TestSkopeoCopy proves that skopeo copies archive and layout to a registry
// and that the digests stay what stagectl said.
func TestSkopeoCopy(t *testing.T) {
	s := serverSample(t)
	auth := filepath.Join(dockerConfig(t, password), "config.json")
	for name, source := range sources(s) {
		t.Run(name, func(t *testing.T) {
			ref := services.Registry.Host + "/skopeo/" + name + ":v1"
			// A docker archive has no manifest, so skopeo makes one.
			preserve := fmt.Sprintf("--preserve-digests=%t", name != "docker-archive")
			skopeo(t, "copy", "-q", preserve, "--authfile", auth, source, "docker://"+ref)
			var manifest struct{ Config struct{ Digest string } }
			raw := skopeo(t, "inspect", "--raw", "--authfile", auth, "docker://"+ref)
			if err := json.Unmarshal([]byte(raw), &manifest); err != nil {
				t.Fatal(err)
			}
			equal(t, "config digest", manifest.Config.Digest, s.ConfigDigest)
			if name != "docker-archive" {
				equal(t, "digest", services.Registry.digest(t, ref), s.Digest)
			}
		})
	}
}

// TestUmociUnpack proves that umoci unpacks the layout, and that files have
// the modes, times and kinds that they should.
func TestUmociUnpack(t *testing.T) {
	s := serverSample(t)
	bundle := filepath.Join(t.TempDir(), "bundle")
	output(t, tool(t, "umoci", "unpack", "--image", s.Layout+":v1", bundle))
	for path, want := range map[string]string{
		"app":            "drwxr-xr-x",
		"app/server":     "-rwxr-xr-x",
		"bin/busybox":    "-rwxr-xr-x",
		"bin/sh":         "Lrwxrwxrwx",
		"root":           "drwx------",
		"tmp":            "dtrwxrwxrwx",
		"var/run":        "Lrwxrwxrwx",
		"etc/apk/arch":   "-rw-r--r--",
		"etc/os-release": "-rw-r--r--",
	} {
		info, err := os.Lstat(filepath.Join(bundle, "rootfs", path))
		if err != nil {
			t.Error(err)
			continue
		}
		equal(t, path, fmt.Sprint(info.Mode()), want)
	}
	info, err := os.Stat(filepath.Join(bundle, "rootfs/app/server"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "time of the binary", info.ModTime().Unix(), int64(0))
	config, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "runtime config", string(config), `"/app/server"`)
}
