package script

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/stagectl/stagectl/builder/rootfs"
)

var packageCommands = map[string]command{
	"apk":                    {run: runApk, check: checkApk},
	"apt-get":                {run: runApt, check: checkApt},
	"apt":                    {run: runApt, check: checkApt},
	"update-ca-certificates": {run: runUpdateCertificates, flags: flagSpec{short: "fv", long: map[string]string{"fresh": "f", "verbose": "v"}}},
}

func runApk(c *call) int {
	f, err := apkFlags.parse(words(c.args))
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	if f.has('A') {
		c.printf("%s\n", apkArch(c.host.Platform.Architecture, c.host.Platform.Variant))
		return 0
	}
	return c.packages(f)
}

func apkArch(arch, variant string) string {
	switch {
	case arch == "arm" && variant == "v6":
		return "armhf"
	case arch == "arm":
		return "armv7"
	case arch == "386":
		return "x86"
	}
	if name, ok := machineNames[arch]; ok {
		return name
	}
	return arch
}

func runApt(c *call) int {
	f, err := aptFlags.parse(words(c.args))
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	return c.packages(f)
}

// packages brings the files of packages that the host has. No database of
// packages says that they are there, since they are not: only their files are.
func (c *call) packages(f *flags) int {
	args := f.args()
	if len(args) == 0 || args[0] != "add" && args[0] != "install" {
		return 0
	}
	for _, kind := range installed(args[1:]) {
		var err error
		switch kind {
		case certificates:
			err = c.certificates()
		case zones:
			err = c.zones()
		}
		if err != nil {
			return c.fail(err)
		}
	}
	return 0
}

const (
	certFile = "/etc/ssl/certs/ca-certificates.crt"
	// alpineCert is a link to it on Alpine.
	alpineCert = "/etc/ssl/cert.pem"
	localCerts = "/usr/local/share/ca-certificates"
	zoneDir    = "/usr/share/zoneinfo"
)

// certificates brings the CA roots, unless the image has some.
func (c *call) certificates() error {
	if info, err := c.stage.Stat(certFile); err == nil && info.Size > 0 {
		return nil
	}
	roots, err := c.host.Certificates()
	if err != nil {
		return err
	}
	if _, err := c.stage.MkdirAll(path.Dir(certFile), 0o755, rootfs.Root); err != nil {
		return err
	}
	if err := c.stage.WriteFile(certFile, roots, 0o644, rootfs.Root); err != nil {
		return err
	}
	if _, err := c.stage.Lstat(alpineCert); c.busybox() && errors.Is(err, fs.ErrNotExist) {
		return c.stage.Symlink("certs/ca-certificates.crt", alpineCert, rootfs.Root)
	}
	return nil
}

// zones brings the time zones, unless the image has them.
func (c *call) zones() error {
	if info, err := c.stage.Stat(path.Join(zoneDir, "UTC")); err == nil && info.Size > 0 {
		return nil
	}
	zones, err := c.host.Zoneinfo()
	if err != nil {
		return err
	}
	return fs.WalkDir(zones, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		p := path.Join(zoneDir, name)
		if d.IsDir() {
			_, err := c.stage.MkdirAll(p, 0o755, rootfs.Root)
			return err
		}
		content, err := fs.ReadFile(zones, name)
		if err != nil {
			return err
		}
		return c.stage.WriteFile(p, content, 0o644, rootfs.Root)
	})
}

// runUpdateCertificates adds what is in /usr/local/share/ca-certificates to the
// roots, and links it.
func runUpdateCertificates(c *call) int {
	if err := c.updateCertificates(); err != nil {
		return c.fail(err)
	}
	return 0
}

func (c *call) updateCertificates() error {
	bundle, err := c.stage.ReadFile(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err = c.certificates(); err == nil {
			bundle, err = c.stage.ReadFile(certFile)
		}
	}
	if err != nil {
		return err
	}
	before := len(bundle)
	if err := c.localCertificates(localCerts, &bundle); err != nil {
		return err
	}
	if len(bundle) == before {
		return nil
	}
	return c.stage.WriteFile(certFile, bundle, 0o644, rootfs.Root)
}

func (c *call) localCertificates(dir string, bundle *[]byte) error {
	list, err := c.stage.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, info := range list {
		if info.IsDir() {
			if err := c.localCertificates(info.Path, bundle); err != nil {
				return err
			}
			continue
		}
		if !strings.HasSuffix(info.Path, ".crt") {
			continue
		}
		if err := c.localCertificate(info.Path, bundle); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) localCertificate(p string, bundle *[]byte) error {
	content, err := c.stage.ReadFile(p)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return c.warn("%s has no certificate: it is skipped", p)
	}
	if !bytes.Contains(*bundle, bytes.TrimSpace(content)) {
		*bundle = append(append(*bundle, bytes.TrimRight(content, "\n")...), '\n')
	}
	name := strings.NewReplacer(" ", "_", "(", "=", ")", "=", ",", "_").Replace(strings.TrimSuffix(path.Base(p), ".crt"))
	link := path.Join(path.Dir(certFile), name+".pem")
	if c.busybox() {
		link = path.Join(path.Dir(certFile), "ca-cert-"+name+".pem")
	}
	if _, err := c.stage.Lstat(link); err == nil {
		return nil
	}
	return c.stage.Symlink(p, link, rootfs.Root)
}

func (c *call) warn(format string, args ...any) error {
	c.errorf(0, format, args...)
	return nil
}

// busybox tells whether the image's programs are busybox's, as on Alpine.
func (c *call) busybox() bool {
	return c.exists("/bin/busybox") || c.exists("/etc/alpine-release")
}
