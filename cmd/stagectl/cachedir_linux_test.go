package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mounted runs stagectl where a script has mounted what it wants on $CACHE,
// which nothing else sees.
func mounted(t *testing.T, dir, script string, args ...string) (stderr string, err error) {
	t.Helper()
	sh := []string{"-ec", script + "\n" + `exec stagectl "$@"`, "sh"}
	cmd := exec.CommandContext(t.Context(), "sh", append(sh, args...)...)
	cmd.Dir = filepath.Join(dir, "src")
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOTOOLCHAIN=local", "GOPROXY=off", "CACHE="+filepath.Join(dir, "cache"), "TMPDIR="+filepath.Join(dir, "tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: uid, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	var out bytes.Buffer
	cmd.Stderr = &out
	err = cmd.Run()
	return out.String(), err
}

// A cache that cannot be written, from the start or from some moment on, costs
// time and one line, and changes nothing in what is built.
func TestUnusableCache(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"cache", "tmp", "src/server", "out"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	writeFiles(t, dir, map[string]string{
		"src/go.mod":         "module example.com/m\n\ngo 1.21\n",
		"src/server/main.go": "package main\n\nfunc main() { println(1) }\n",
		"src/Dockerfile.go":  "FROM golang AS a\nWORKDIR /src\nCOPY . .\nRUN go build -o /server ./server\nFROM scratch\nCOPY --from=a /server /\n",
		"src/Dockerfile":     "FROM scratch AS a\nCOPY server /a/\nRUN [\"ln\", \"-s\", \"x\", \"/a/y\"]\nFROM scratch\nCOPY --from=a /a /b\n",
	})
	if out, err := mounted(t, dir, "mount -t tmpfs none $CACHE", "version"); err != nil {
		t.Skipf("nothing can be mounted here: %v: %s", err, out)
	}
	builds := map[string][]string{
		"flags":      {"build", "--base", "scratch", "--progress", "plain", "./server"},
		"dockerfile": {"build", "-f", "Dockerfile", "--progress", "plain", "."},
		"go":         {"build", "-f", "Dockerfile.go", "--offline", "--progress", "plain", "."},
	}
	full := func(size string) string { return "mount -t tmpfs -o size=" + size + " none $CACHE" }
	tests := []struct{ name, script, why string }{
		{"usable", "true", ""},
		{"read-only and empty", full("1m") + "\nmount -o remount,ro $CACHE", "read-only file system"},
		{"read-only and used", "mount --bind $CACHE $CACHE\nmount -o remount,bind,ro $CACHE", "read-only file system"},
		{"full", full("4k") + "\nhead -c 1m /dev/zero >$CACHE/x || true", "no space left on device"},
		{"without inodes", "mount -t tmpfs -o nr_inodes=3 none $CACHE", "no space left on device"},
		{"inodes for no more", "mount -t tmpfs -o nr_inodes=8 none $CACHE", "no space left on device"},
		{"full soon", full("4k"), "no space left on device"},
		{"full later", full("12k"), "no space left on device"},
		{"too small for a binary", full("600k"), "no space left on device"},
		{"a file", "mount -t tmpfs none $CACHE\ntouch $CACHE/blobs", "not a directory"},
	}
	for kind, args := range builds {
		var want []byte
		for _, tt := range tests {
			if kind == "dockerfile" && tt.name == "too small for a binary" {
				continue // it has none
			}
			t.Run(kind+"/"+tt.name, func(t *testing.T) {
				file := filepath.Join(dir, "out", "image.tar")
				if err := os.RemoveAll(file); err != nil {
					t.Fatal(err)
				}
				stderr, err := mounted(t, dir, tt.script, append(args, "--cache-dir", filepath.Join(dir, "cache"), "-o", file)...)
				if err != nil {
					t.Fatalf("%v: %s", err, stderr)
				}
				got, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = got
				}
				if !bytes.Equal(got, want) {
					t.Error("the archive is another one than with a cache")
				}
				warned := strings.Count(stderr, "warning: ")
				if tt.why == "" && warned > 0 || tt.why != "" && (warned != 1 || !strings.Contains(stderr, tt.why)) {
					t.Errorf("want one warning with %q in it:\n%s", tt.why, stderr)
				}
				wantFiles(t, filepath.Join(dir, "tmp"))
				wantFiles(t, filepath.Join(dir, "out"), "image.tar")
			})
		}
	}
}

// An output that does not fit on its disk leaves there what was there before.
func TestFullOutput(t *testing.T) {
	l := newLab(t)
	l.reset(t, "")
	if out, err := mounted(t, l.dir, "mount -t tmpfs none $CACHE", "version"); err != nil {
		t.Skipf("nothing can be mounted here: %v: %s", err, out)
	}
	writeFiles(t, l.dir, map[string]string{"src/files/large": noise(1 << 20)})
	for spec, old := range map[string]string{
		"image.tar":                        "echo old >image.tar",
		"type=oci,dest=layout,tar=false":   "true",
		"type=oci,dest=existing,tar=false": "mkdir existing",
	} {
		t.Run(spec, func(t *testing.T) {
			script := `src=$PWD; mount -t tmpfs -o size=256k none $CACHE; cd $CACHE; ` + old + `
find . | sort >$src/before
stagectl build -q --cache-dir $src/../real -f $src/Dockerfile -t x -o ` + spec + ` $src && exit 4
find . | sort >$src/after; cat image.tar >$src/content || true; exit 3`
			stderr, err := mounted(t, l.dir, script)
			if ee := (*exec.ExitError)(nil); !errors.As(err, &ee) || ee.ExitCode() != 3 || !strings.Contains(stderr, "no space left on device") {
				t.Fatalf("got %v: %s", err, stderr)
			}
			var files [3]string
			for i, name := range []string{"before", "after", "content"} {
				raw, err := os.ReadFile(filepath.Join(l.dir, "src", name))
				if err != nil {
					t.Fatal(err)
				}
				files[i] = string(raw)
			}
			if files[0] != files[1] || spec == "image.tar" && files[2] != "old\n" {
				t.Errorf("before there was\n%safterwards\n%s, with %q", files[0], files[1], files[2])
			}
		})
	}
}
