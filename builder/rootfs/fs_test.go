package rootfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/limit"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
)

var (
	app = rootfs.Owner{UID: 1000, GID: 100}
	etc = []string{
		"-rw-r--r-- 0:0 /etc/hosts localhost",
		"drwxr-x--- 5:6 /srv/data",
		"-rwsr-xr-x 5:6 /srv/data/tool tool",
		"lrwxrwxrwx 0:0 /var/run -> /run",
		"drwxr-xr-x 0:0 /run",
		"prw-r--r-- 0:0 /run/pipe",
		"crw-rw-rw- 0:0 /dev/null",
	}
)

func TestLowerIsLazy(t *testing.T) {
	below := lower(etc...)
	f, upper := newFS(t, below)
	if below.Asked+len(below.Opened) > 0 {
		t.Error("making a stage reads the lower tree")
	}
	if _, err := f.Stat("/var/run/pipe"); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(upper); err != nil || len(entries) > 0 {
		t.Errorf("looking at the lower tree brings up %v, %v", entries, err)
	}
	if content, err := f.ReadFile("/etc/hosts"); err != nil || string(content) != "localhost" {
		t.Errorf("got %q, %v", content, err)
	}
	must(t, f.RemoveAll("/srv"))
	if diff := cmp.Diff([]string{"/etc/hosts"}, below.Opened); diff != "" {
		t.Errorf("contents that were read (-want +got):\n%s", diff)
	}
}

func TestChanges(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, f *rootfs.FS)
		want []string
	}{
		{"nothing", func(t *testing.T, f *rootfs.FS) { _, _ = f.ReadDir("/etc") }, nil},
		{"new file", func(t *testing.T, f *rootfs.FS) {
			must(t, f.WriteFile("/etc/new", []byte("x"), 0o640, app))
		}, []string{"drwxr-xr-x 0:0 /etc", "-rw-r----- 1000:100 /etc/new x"}},
		{"file below a directory that is not root's", func(t *testing.T, f *rootfs.FS) {
			must(t, f.WriteFile("/srv/data/new", nil, 0o600, rootfs.Root))
		}, []string{"drwxr-xr-x 0:0 /srv", "drwxr-x--- 5:6 /srv/data", "-rw------- 0:0 /srv/data/new"}},
		{"file rewritten keeps owner and mode", func(t *testing.T, f *rootfs.FS) {
			must(t, f.WriteFile("/srv/data/tool", []byte("new"), 0o600, app))
		}, []string{"drwxr-xr-x 0:0 /srv", "drwxr-x--- 5:6 /srv/data", "-rwsr-xr-x 5:6 /srv/data/tool new"}},
		{"file appended to", func(t *testing.T, f *rootfs.FS) {
			w, err := f.OpenFile("/etc/hosts", os.O_WRONLY|os.O_APPEND, 0, rootfs.Root)
			must(t, err)
			_, err = w.Write([]byte("+"))
			must(t, errors.Join(err, w.Close()))
		}, []string{"drwxr-xr-x 0:0 /etc", "-rw-r--r-- 0:0 /etc/hosts localhost+"}},
		{"chown of an executable drops setuid", func(t *testing.T, f *rootfs.FS) {
			must(t, f.Chown("/srv/data/tool", app))
		}, []string{"drwxr-xr-x 0:0 /srv", "drwxr-x--- 5:6 /srv/data", "-rwxr-xr-x 1000:100 /srv/data/tool tool"}},
		{"chmod that changes nothing", func(t *testing.T, f *rootfs.FS) {
			must(t, f.Chmod("/etc/hosts", 0o644))
		}, nil},
		{"chmod with sticky", func(t *testing.T, f *rootfs.FS) {
			must(t, f.Chmod("/run", fs.ModeSticky|0o777))
		}, []string{"drwxrwxrwt 0:0 /run"}},
		{"chown of a link and through it", func(t *testing.T, f *rootfs.FS) {
			must(t, f.Lchown("/var/run", app))
			must(t, f.Chown("/var/run", rootfs.Owner{UID: 7}))
		}, []string{"drwxr-xr-x 7:0 /run", "drwxr-xr-x 0:0 /var", "lrwxrwxrwx 1000:100 /var/run -> /run"}},
		{"through a link of the lower tree", func(t *testing.T, f *rootfs.FS) {
			must(t, f.WriteFile("/var/run/pid", []byte("1"), 0o644, rootfs.Root))
		}, []string{"drwxr-xr-x 0:0 /run", "-rw-r--r-- 0:0 /run/pid 1"}},
		{"file removed", func(t *testing.T, f *rootfs.FS) {
			must(t, f.Remove("/etc/hosts"))
		}, []string{"drwxr-xr-x 0:0 /etc", "deleted /etc/hosts"}},
		{"directory removed", func(t *testing.T, f *rootfs.FS) {
			must(t, f.WriteFile("/srv/data/new", nil, 0o600, rootfs.Root))
			must(t, f.Remove("/srv/data/tool"))
			must(t, f.RemoveAll("/srv"))
		}, []string{"deleted /srv"}},
		{"directory removed and made again", func(t *testing.T, f *rootfs.FS) {
			must(t, f.RemoveAll("/srv"))
			made, err := f.MkdirAll("/srv/data", 0o700, app)
			must(t, err)
			if !slices.Equal(made, []string{"/srv", "/srv/data"}) {
				t.Errorf("made %v", made)
			}
		}, []string{"drwx------ 1000:100 /srv", "drwx------ 1000:100 /srv/data", "deleted /srv/data/tool"}},
		{"file in the place of a directory", func(t *testing.T, f *rootfs.FS) {
			must(t, f.RemoveAll("/srv"))
			must(t, f.WriteFile("/srv", []byte("x"), 0o644, rootfs.Root))
		}, []string{"-rw-r--r-- 0:0 /srv x"}},
		{"made and removed", func(t *testing.T, f *rootfs.FS) {
			must(t, f.WriteFile("/etc/new", nil, 0o600, rootfs.Root))
			must(t, f.Remove("/etc/new"))
		}, []string{"drwxr-xr-x 0:0 /etc"}},
		{"directory of the lower tree moved", func(t *testing.T, f *rootfs.FS) {
			must(t, f.Rename("/srv/data", "/etc/data"))
		}, []string{
			"drwxr-xr-x 0:0 /etc", "drwxr-x--- 5:6 /etc/data", "-rwsr-xr-x 5:6 /etc/data/tool tool",
			"drwxr-xr-x 0:0 /srv", "deleted /srv/data",
		}},
		{"special files", func(t *testing.T, f *rootfs.FS) {
			must(t, f.Rename("/run/pipe", "/run/moved"))
			must(t, f.Mknod("/dev/zero", rootfs.Info{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, DevMajor: 1, DevMinor: 5}))
		}, []string{
			"drwxr-xr-x 0:0 /dev", "crw-rw-rw- 0:0 /dev/zero", "drwxr-xr-x 0:0 /run", "prw-r--r-- 0:0 /run/moved", "deleted /run/pipe",
		}},
		{"hard link", func(t *testing.T, f *rootfs.FS) {
			must(t, f.Link("/etc/hosts", "/etc/link"))
			must(t, f.WriteFile("/etc/link", []byte("both"), 0, rootfs.Root))
			must(t, f.Chmod("/etc/hosts", 0o600))
		}, []string{"drwxr-xr-x 0:0 /etc", "-rw------- 0:0 /etc/hosts both", "-rw------- 0:0 /etc/link both"}},
		{"below setgid", func(t *testing.T, f *rootfs.FS) {
			must(t, f.Chmod("/run", fs.ModeSetgid|0o755))
			must(t, f.Chown("/run", app))
			must(t, f.WriteFile("/run/a", nil, 0o644, rootfs.Root))
			must(t, f.Symlink("a", "/run/l", rootfs.Root))
			_, err := f.MkdirAll("/run/b/c", 0o700, rootfs.Root)
			must(t, err)
		}, []string{"drwxr-sr-x 1000:100 /run", "-rw-r--r-- 0:100 /run/a", "drwx--S--- 0:100 /run/b", "drwx--S--- 0:100 /run/b/c", "lrwxrwxrwx 0:100 /run/l -> a"}},
		{"the root alone", func(t *testing.T, f *rootfs.FS) { must(t, f.Chmod("/", 0o700)) }, nil},
		{"a program's files", func(t *testing.T, f *rootfs.FS) {
			dir, err := f.HostPath("/srv/data/out")
			must(t, err)
			must(t, os.MkdirAll(dir+"/bin", 0o700))
			must(t, os.WriteFile(dir+"/bin/server", []byte("elf"), 0o711))
			must(t, os.WriteFile(dir+"/log", []byte("log"), 0o600))
			must(t, f.Own("/srv/data", app))
		}, []string{
			"drwxr-xr-x 0:0 /srv", "drwxr-x--- 5:6 /srv/data", "drwxr-xr-x 1000:100 /srv/data/out",
			"drwxr-xr-x 1000:100 /srv/data/out/bin", "-rwxr-xr-x 1000:100 /srv/data/out/bin/server elf", "-rw-r--r-- 1000:100 /srv/data/out/log log",
		}},
		{"a program removes", func(t *testing.T, f *rootfs.FS) {
			host, err := f.HostDir("/srv/data")
			must(t, err)
			must(t, os.Remove(host+"/tool"))
			if _, err := f.Lstat("/srv/data/tool"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what was removed is there: %v", err)
			}
		}, []string{"drwxr-xr-x 0:0 /srv", "drwxr-x--- 5:6 /srv/data", "deleted /srv/data/tool"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := newFS(t, lower(etc...))
			tt.do(t, f)
			wantChanges(t, f, nil, tt.want...)
			since, err := f.Snapshot()
			must(t, err)
			wantChanges(t, f, since)
		})
	}
}

// A layer has what changed since the one before it.
func TestChangesSince(t *testing.T) {
	f, upper := newFS(t, lower(etc...))
	wantError(t, f.WriteFile("/app/a", nil, 0o644, rootfs.Root), "no such file or directory")
	_, err := f.MkdirAll("/app", 0o755, rootfs.Root)
	must(t, err)
	must(t, f.WriteFile("/app/a", []byte("a"), 0o644, rootfs.Root))
	must(t, f.WriteFile("/app/b", []byte("b"), 0o644, rootfs.Root))
	first, err := f.Snapshot()
	must(t, err)
	must(t, f.Remove("/app/a"))
	must(t, f.Remove("/etc/hosts"))
	must(t, os.WriteFile(upper+"/app/b", []byte("program"), 0o644))
	wantChanges(t, f, first, "drwxr-xr-x 0:0 /app", "deleted /app/a", "-rw-r--r-- 0:0 /app/b program", "drwxr-xr-x 0:0 /etc", "deleted /etc/hosts")
	second, err := f.Snapshot()
	must(t, err)
	must(t, f.WriteFile("/etc/hosts", []byte("new"), 0o600, app))
	must(t, f.RemoveAll("/app"))
	wantChanges(t, f, second, "deleted /app", "drwxr-xr-x 0:0 /etc", "-rw------- 1000:100 /etc/hosts new")
	wantChanges(t, f, nil, "drwxr-xr-x 0:0 /etc", "-rw------- 1000:100 /etc/hosts new")
}

// Names that a layer has for deletions are refused, whoever makes them.
func TestReservedNames(t *testing.T) {
	f, upper := newFS(t, nil)
	must(t, f.WriteFile("/a", nil, 0o644, rootfs.Root))
	for name, err := range map[string]error{
		"write":   f.WriteFile("/.wh.a", nil, 0o644, rootfs.Root),
		"mkdir":   f.Mkdir("/.wh.d", 0o755, rootfs.Root),
		"symlink": f.Symlink("a", "/.wh..wh..opq", rootfs.Root),
		"link":    f.Link("/a", "/.wh.b"),
		"rename":  f.Rename("/a", "/.wh.c"),
	} {
		if !errors.Is(err, rootfs.ErrReserved) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	_, err := f.MkdirAll("/x/.wh.d/y", 0o755, rootfs.Root)
	if !errors.Is(err, rootfs.ErrReserved) {
		t.Errorf("mkdir -p: got error %v", err)
	}
	must(t, os.WriteFile(upper+"/.wh.a", nil, 0o644))
	for _, err := range f.Changes(nil) {
		wantError(t, err, "finding what the stage changed: list /.wh.a: names that start with .wh. mark deletions in a layer")
	}
}

// Whatever a link says, no operation leaves the directory.
func TestContained(t *testing.T) {
	links := []string{"/secret", "../secret", "../../../../../../../../../../secret", "/../secret", "sub/../../secret", "/./../sub/./../secret"}
	for _, link := range links {
		for _, made := range []string{"by the stage", "by a program"} {
			t.Run(made+" "+link, func(t *testing.T) {
				f, upper := newFS(t, nil)
				must(t, f.Mkdir("/sub", 0o755, rootfs.Root))
				if made == "by the stage" {
					must(t, f.Symlink(link, "/link", rootfs.Root))
				} else {
					must(t, os.Symlink(link, upper+"/link"))
				}
				if got, err := f.Readlink("/link"); err != nil || got != link {
					t.Errorf("the link is to %q, %v", got, err)
				}
				if _, err := f.ReadFile("/link"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("reading: got error %v", err)
				}
				must(t, f.WriteFile("/link", []byte("inside"), 0o644, rootfs.Root))
				must(t, f.Chmod("/link", 0o600))
				must(t, f.Chown("/link", app))
				if content, err := f.ReadFile("/secret"); err != nil || string(content) != "inside" {
					t.Errorf("got %q, %v", content, err)
				}
				host, err := f.HostPath("/link")
				must(t, err)
				if host != filepath.Join(upper, "secret") {
					t.Errorf("the host's path is %s", host)
				}
				must(t, f.Remove("/link"))
				wantList(t, f, "-rw------- 1000:100 /secret inside", "drwxr-xr-x 0:0 /sub")
			})
		}
	}
}

// A link to a directory outside does not carry what is done below it out, and
// one that a program puts in the way of an operation does not either.
func TestContainedDirectories(t *testing.T) {
	f, upper := newFS(t, nil)
	outside := filepath.Dir(upper)
	must(t, os.Symlink("..", upper+"/up"))
	must(t, os.Symlink(outside, upper+"/abs"))
	must(t, f.WriteFile("/up/file", []byte("x"), 0o644, rootfs.Root))
	wantError(t, f.WriteFile("/abs/file", nil, 0o644, rootfs.Root), "no such file or directory")
	must(t, f.Mkdir("/up/dir", 0o755, rootfs.Root))
	must(t, f.Rename("/file", "/up/dir/file"))
	must(t, f.RemoveAll("/up/secret"))
	must(t, f.Link("/dir/file", "/up/link"))
	if _, err := f.MkdirAll("/up/../up/x/y", 0o755, rootfs.Root); err != nil {
		t.Error(err)
	}
	must(t, f.RemoveAll("/abs"))
	must(t, f.RemoveAll("/up"))
	wantList(t, f, "drwxr-xr-x 0:0 /dir", "-rw-r--r-- 0:0 /dir/file x", "-rw-r--r-- 0:0 /link x", "drwxr-xr-x 0:0 /x", "drwxr-xr-x 0:0 /x/y")
}

// What a program finds on disk at a link is what the stage has there, also after
// its directory was moved.
func TestLinksOnDisk(t *testing.T) {
	f, upper := newFS(t, lower("lrwxrwxrwx 0:0 /a/b/c/low -> /data/file"))
	for _, dir := range []string{"/data", "/a/b/c"} {
		_, err := f.MkdirAll(dir, 0o755, rootfs.Root)
		must(t, err)
	}
	must(t, f.WriteFile("/data/file", []byte("data"), 0o644, rootfs.Root))
	must(t, f.Symlink("/data/file", "/a/b/c/abs", rootfs.Root))
	must(t, f.Symlink("../../../../../data/file", "/a/b/c/rel", rootfs.Root))
	must(t, f.Symlink("/data", "/a/b/dir", rootfs.Root))
	must(t, f.Symlink("dir/../../b/../data/file", "/a/b/back", rootfs.Root))
	must(t, f.Symlink("loop", "/a/b/loop", rootfs.Root))
	_, err := f.HostDir("/a")
	must(t, err)
	check := func(dir string) {
		t.Helper()
		for _, name := range []string{"c/abs", "c/rel", "c/low", "dir/file"} {
			content, err := os.ReadFile(upper + dir + "/" + name)
			if err != nil || string(content) != "data" {
				t.Errorf("%s in %s: got %q, %v", name, dir, content, err)
			}
		}
		wantContained(t, upper)
	}
	check("/a/b")
	must(t, f.Rename("/a/b", "/moved"))
	check("/moved")
	if got, err := f.Readlink("/moved/c/rel"); err != nil || got != "../../../../../data/file" {
		t.Errorf("the link is to %q, %v", got, err)
	}
}

// As under chroot, a path does not leave the directory of a view.
func TestSub(t *testing.T) {
	f, _ := newFS(t, lower(etc...))
	must(t, f.Symlink("/etc", "/srv/link", rootfs.Root))
	must(t, f.Symlink("../../../etc/hosts", "/srv/up", rootfs.Root))
	sub, err := f.Sub("/srv")
	must(t, err)
	for _, p := range []string{"/link/hosts", "/up", "/../etc/hosts"} {
		if _, err := sub.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got error %v", p, err)
		}
	}
	must(t, sub.Mkdir("/../etc", 0o700, rootfs.Root))
	must(t, sub.WriteFile("/link/hosts", []byte("below"), 0o600, rootfs.Root))
	must(t, sub.Remove("up"))
	wantError(t, sub.RemoveAll("/.."), "remove /..: device or resource busy")
	wantChanges(t, sub, nil, "drwxr-xr-x 0:0 /srv", "drwx------ 0:0 /srv/etc", "-rw------- 0:0 /srv/etc/hosts below", "lrwxrwxrwx 0:0 /srv/link -> /etc")
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name string
		do   func(f *rootfs.FS) error
		want string
	}{
		{"missing", func(f *rootfs.FS) error { _, err := f.Lstat("/x"); return err }, "lstat /x: no such file or directory"},
		{"file as a directory", func(f *rootfs.FS) error { _, err := f.Stat("/etc/hosts/x"); return err }, "stat /etc/hosts/x: not a directory"},
		{"file with a slash", func(f *rootfs.FS) error { _, err := f.Stat("/etc/hosts/"); return err }, "stat /etc/hosts/: not a directory"},
		{"empty path", func(f *rootfs.FS) error { return f.Mkdir("", 0o755, rootfs.Root) }, "mkdir : no such file or directory"},
		{"list of a file", func(f *rootfs.FS) error { _, err := f.ReadDir("/etc/hosts"); return err }, "readdir /etc/hosts: not a directory"},
		{"no link", func(f *rootfs.FS) error { _, err := f.Readlink("/etc"); return err }, "readlink /etc: invalid argument"},
		{"directory as a file", func(f *rootfs.FS) error { return f.WriteFile("/etc", nil, 0, rootfs.Root) }, "open /etc: is a directory"},
		{"pipe", func(f *rootfs.FS) error { _, err := f.ReadFile("/run/pipe"); return err }, "open /run/pipe: "},
		{"link there", func(f *rootfs.FS) error { return f.Symlink("x", "/etc", rootfs.Root) }, "symlink /etc: file exists"},
		{"link to nothing", func(f *rootfs.FS) error { return f.Symlink("", "/x", rootfs.Root) }, "symlink /x: no such file or directory"},
		{"root made", func(f *rootfs.FS) error { return f.Mkdir("/", 0o755, rootfs.Root) }, "mkdir /: file exists"},
		{"root removed", func(f *rootfs.FS) error { return f.RemoveAll("/srv/..") }, "remove /srv/..: device or resource busy"},
		{"full directory removed", func(f *rootfs.FS) error { return f.Remove("/etc") }, "remove /etc: directory not empty"},
		{"directory below a file", func(f *rootfs.FS) error { _, err := f.MkdirAll("/etc/hosts/x", 0o755, rootfs.Root); return err }, "mkdir /etc/hosts/x: not a directory"},
		{"file made as a device", func(f *rootfs.FS) error { return f.Mknod("/x", rootfs.Info{Mode: 0o644}) }, "mknod /x: invalid argument"},
		{"exclusive", func(f *rootfs.FS) error {
			_, err := f.OpenFile("/etc/hosts", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0, rootfs.Root)
			return err
		}, "open /etc/hosts: file exists"},
		{"write to what is open for reading", func(f *rootfs.FS) error {
			r, err := f.OpenFile("/etc/hosts", os.O_RDONLY, 0, rootfs.Root)
			if err == nil {
				_, err = r.Write([]byte("x"))
			}
			return err
		}, "bad file descriptor"},
		{"host path below a file", func(f *rootfs.FS) error { _, err := f.HostPath("/etc/hosts/x"); return err }, "open /etc/hosts/x: not a directory"},
		{"host directory that is a file", func(f *rootfs.FS) error { _, err := f.HostDir("/etc/hosts"); return err }, "open /etc/hosts: not a directory"},
		{"sub of a file", func(f *rootfs.FS) error { _, err := f.Sub("/etc/hosts"); return err }, "chroot /etc/hosts: not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := newFS(t, lower(etc...))
			wantError(t, tt.do(f), tt.want)
			wantChanges(t, f, nil)
		})
	}
}

// A file whose content cannot be had is not taken for the file.
func TestFailedCopyUp(t *testing.T) {
	below := lower(etc...)
	f, upper := newFS(t, unreadable{below})
	wantError(t, f.Chmod("/etc/hosts", 0o600), "chmod /etc/hosts: reading layer 3: connection reset")
	if _, err := os.Lstat(upper + "/etc/hosts"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file was left: %v", err)
	}
	if got, err := f.Stat("/etc/hosts"); err != nil || got != below.Infos["/etc/hosts"] {
		t.Errorf("got %v, %v", got, err)
	}
}

type unreadable struct{ *rootfstest.Tree }

func (unreadable) Open(string) (io.ReadCloser, error) {
	return io.NopCloser(iotest.ErrReader(errors.New("reading layer 3: connection reset"))), nil
}

func TestConcurrency(t *testing.T) {
	f, _ := newFS(t, lower(etc...))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 20 {
				p := fmt.Sprintf("/d%d/e%d/f", i%3, n)
				if _, err := f.MkdirAll(p, 0o755, rootfs.Root); err != nil {
					t.Error(err)
				}
				if err := f.WriteFile(fmt.Sprintf("%s/%d", p, i), []byte(p), 0o644, rootfs.Root); err != nil {
					t.Error(err)
				}
			}
			if _, err := f.Snapshot(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(list(t, f)) - len(list(t, lower(etc...))); n != 3+60+60+8*20 {
		t.Errorf("there are %d files more", n)
	}
}

func TestResolve(t *testing.T) {
	below := lower("lrwxrwxrwx 0:0 /bin -> usr/bin", "drwxr-xr-x 0:0 /usr/bin", "lrwxrwxrwx 0:0 /loop -> loop", "lrwxrwxrwx 0:0 /out -> ../../new/../other/x")
	f, _ := newFS(t, below)
	tests := []struct{ name, path, want string }{
		{"link", "/bin/sh", "/usr/bin/sh"},
		{"nothing there", "/no/such/path", "/no/such/path"},
		{"link to nothing", "/out/y", "/other/x/y"},
		{"up", "/../bin/../lib", "/usr/lib"},
		{"root", "/", "/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := f.Resolve(tt.path)
			ofTree, _, treeErr := rootfs.Resolve(below, tt.path)
			if err != nil || treeErr != nil || got != tt.want || ofTree != tt.want {
				t.Errorf("got %s, %v and %s, %v, want %s", got, err, ofTree, treeErr, tt.want)
			}
		})
	}
	_, err := f.Resolve("/loop")
	wantError(t, err, "resolve /loop: too many levels of symbolic links")
}

// Each link may be as long as a path and lead through others: the steps are
// counted, not only the links.
func TestLongLinks(t *testing.T) {
	link := "d" + strings.Repeat("/../d", 500)
	lines := []string{"drwxr-xr-x 0:0 /d", "lrwxrwxrwx 0:0 /l0 -> " + link}
	for i := range 20 {
		lines = append(lines, fmt.Sprintf("lrwxrwxrwx 0:0 /l%d -> l%d/../%s", i+1, i, link))
	}
	f, _ := newFS(t, lower(lines...))
	if p, err := f.Resolve("/l5/x"); p != "/d/x" || err != nil {
		t.Errorf("through 6 links: %s, %v", p, err)
	}
	if p, err := f.Resolve("/l20/x"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("through 21 links of 1000 elements: %s, %v, want ELOOP", p, err)
	}
}

// What is kept in memory as a whole may be no larger than any such file is.
func TestReadFileTooLarge(t *testing.T) {
	tree := lower("-rw-r--r-- 0:0 /most x", "-rw-r--r-- 0:0 /more x")
	tree.Contents["/most"] = strings.Repeat("x", limit.File)
	tree.Contents["/more"] = tree.Contents["/most"] + "x"
	f, _ := newFS(t, tree)
	if raw, err := f.ReadFile("/most"); len(raw) != limit.File || err != nil {
		t.Errorf("read %d bytes, %v", len(raw), err)
	}
	var pe *fs.PathError
	if raw, err := f.ReadFile("/more"); raw != nil || !errors.Is(err, syscall.EFBIG) || !errors.As(err, &pe) || pe.Path != "/more" {
		t.Errorf("read %d bytes, %v, want EFBIG", len(raw), err)
	}
}
