//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// nobody is a user without any right.
const nobody = 65534

// TestUnprivileged proves that a user with nothing but Go, an empty home and a
// clone that belongs to somebody else builds a working image.
func TestUnprivileged(t *testing.T) {
	home := ownedDir(t, nobody)
	file := filepath.Join(home, "image.tar")
	o := opts{
		Attr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}},
		Env: []string{
			"HOME=" + home, "TMPDIR=" + os.TempDir(), "XDG_CACHE_HOME=", "SSL_CERT_DIR=",
			"GOCACHE=", "GOMODCACHE=",
		},
	}
	out := mustStagectl(t, o, "build", "-t", "e2e/nobody:v1", "-o", file, "./server")
	equal(t, "standard output", out, file)
	dockerLoad(t, file)
	_, body := runAndFetch(t, "--hostname", "nobody-box", "e2e/nobody:v1")
	contains(t, "answer", body, "nobody-box")
	info, err := os.Stat(filepath.Join(home, ".cache", "stagectl"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "owner of the cache", info.Sys().(*syscall.Stat_t).Uid, uint32(nobody))
}

// ownedDir is an empty directory that belongs to a user and that the user can
// reach; those of testing are root's alone.
func ownedDir(t testing.TB, uid int) string {
	t.Helper()
	dir := filepath.Join(env.Dir, t.Name())
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestNoNetwork proves that a build on the built-in base needs no network, not
// even the loopback device.
func TestNoNetwork(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.tar")
	o := opts{Attr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}}
	mustStagectl(t, o, "build", "-t", "e2e/offline:v1", "-o", file, "./server")
	dockerLoad(t, file)
	_, body := runAndFetch(t, "--hostname", "offline-box", "e2e/offline:v1")
	contains(t, "answer", body, "offline-box")
}

// TestOfflineBase proves that what a build has cached of a base is enough for
// the next one with --offline, without any network.
func TestOfflineBase(t *testing.T) {
	cache := t.TempDir()
	digest, err := services.Alpine.Docker.Digest()
	if err != nil {
		t.Fatal(err)
	}
	build := append(useMirror(), "--cache-dir", cache, "--base", "alpine@"+digest.String(), "-t", "e2e/cached:v1", "./server")
	file := filepath.Join(t.TempDir(), "image.tar")
	mustStagectl(t, opts{}, append([]string{"build", "-o", file}, build...)...)
	o := opts{Attr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}}
	offline := filepath.Join(t.TempDir(), "image.tar")
	mustStagectl(t, o, append([]string{"build", "--offline", "-o", offline}, build...)...)
	equal(t, "index", manifest(t, openArchive(t, offline)), manifest(t, openArchive(t, file)))
	dockerLoad(t, offline)
	_, body := runAndFetch(t, "--hostname", "cached-box", "e2e/cached:v1")
	contains(t, "answer", body, "cached-box")
}

// TestSameDigest proves that who builds, where, and with which network and
// host name is not in the image.
func TestSameDigest(t *testing.T) {
	var digests []string
	for _, attr := range []*syscall.SysProcAttr{nil, {Cloneflags: syscall.CLONE_NEWNET}} {
		file := filepath.Join(t.TempDir(), "metadata.json")
		o := opts{Dir: clone(t), Attr: attr}
		mustStagectl(t, o, "build", "--copy", "server:/src", "--metadata-file", file, "./server")
		digests = append(digests, readMetadata(t, file).Digest)
	}
	equal(t, "digest", digests[1], digests[0])
}
