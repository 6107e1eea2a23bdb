package transfer_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
	"github.com/stagectl/stagectl/builder/rootfs/transfer"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStage(t *testing.T, lines ...string) *rootfs.FS {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/upper", 0o755))
	must(t, os.WriteFile(dir+"/secret", []byte("secret"), 0o600))
	f, err := rootfs.New(rootfstest.NewTree(lines...), dir+"/upper")
	must(t, err)
	t.Cleanup(func() {
		f.Close()
		entries, err := os.ReadDir(dir)
		if content, readErr := os.ReadFile(dir + "/secret"); err != nil || readErr != nil || string(content) != "secret" || len(entries) != 2 {
			t.Errorf("what is beside the stage changed: %q, %v, %v", content, entries, readErr)
		}
	})
	return f
}

// source is what the cases copy from.
var source = []string{
	"-rw-r--r-- 0:0 /a.txt A",
	"-rwxr-x--- 3:4 /b.sh B",
	"-rw-r--r-- 0:0 /[x] X",
	"drwxr-x--- 5:6 /dir",
	"-rw-r--r-- 0:0 /dir/one.txt 1",
	"-rw-r--r-- 0:0 /dir/two.md 2",
	"drwx-----T 0:0 /dir/sub",
	"-rwsr-xr-x 7:8 /dir/sub/three.txt 3",
	"lrwxrwxrwx 9:9 /dir/sub/link -> ../one.txt",
	"lrwxrwxrwx 0:0 /dir/abs -> /a.txt",
	"prw-r--r-- 0:0 /dir/pipe",
	"-rw-r--r-- 0:0 /.git/config G",
	"lrwxrwxrwx 0:0 /to-dir -> dir/sub",
	"lrwxrwxrwx 0:0 /to-file -> a.txt",
	"lrwxrwxrwx 0:0 /out -> ../../../secret",
	"drwxr-xr-x 0:0 /empty",
}

// stage is what they copy to.
var stage = []string{
	"drwx------ 1:1 /app",
	"-rw------- 1:1 /app/one.txt old",
	"lrwxrwxrwx 0:0 /link -> /app",
	"lrwxrwxrwx 0:0 /app/away -> /etc/target",
	"-rw-r--r-- 0:0 /etc/passwd",
	"drwxr-xr-x 2:2 /data/sub",
	"lrwxrwxrwx 0:0 /up -> ../../../../secret",
	"drwxr-sr-x 5:6 /home",
}

func TestCopy(t *testing.T) {
	appDir, etcDir, dataDir := "drwx------ 1:1 /app", "drwxr-xr-x 0:0 /etc", "drwxr-xr-x 0:0 /data"
	contents := func(dir string) []string {
		return []string{
			"lrwxrwxrwx 0:0 " + dir + "/abs -> /a.txt", "-rw-r--r-- 0:0 " + dir + "/one.txt 1", "prw-r--r-- 0:0 " + dir + "/pipe",
			"drwx-----T 0:0 " + dir + "/sub", "lrwxrwxrwx 9:9 " + dir + "/sub/link -> ../one.txt",
			"-rwsr-xr-x 7:8 " + dir + "/sub/three.txt 3", "-rw-r--r-- 0:0 " + dir + "/two.md 2",
		}
	}
	list := func(first string, more ...[]string) []string {
		lines := []string{first}
		for _, m := range more {
			lines = append(lines, m...)
		}
		return lines
	}
	tests := []struct {
		name    string
		spec    transfer.Spec
		want    []string
		wantErr string
	}{
		{name: "file to a name", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/new"}, want: []string{"-rw-r--r-- 0:0 /new A"}},
		{name: "file keeps owner and mode", spec: transfer.Spec{Sources: []string{"b.sh"}, Dest: "/x/y/b"}, want: []string{"drwxr-xr-x 0:0 /x", "drwxr-xr-x 0:0 /x/y", "-rwxr-x--- 3:4 /x/y/b B"}},
		{name: "file into a directory that is there", spec: transfer.Spec{Sources: []string{"/a.txt"}, Dest: "/app"}, want: []string{appDir, "-rw-r--r-- 0:0 /app/a.txt A"}},
		{name: "file with a slash", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/new/"}, want: []string{"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/a.txt A"}},
		{name: "file with a dot", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/new/."}, want: []string{"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/a.txt A"}},
		{name: "file over a file", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/app/one.txt"}, want: []string{appDir, "-rw-r--r-- 0:0 /app/one.txt A"}},
		{name: "file through a link to a directory", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/link/"}, want: []string{appDir, "-rw-r--r-- 0:0 /app/a.txt A"}},
		{name: "file to where a link leads", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/app/away"}, want: []string{etcDir, "-rw-r--r-- 0:0 /etc/target A"}},
		{name: "file to where a link out leads", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/up"}, want: []string{"-rw-r--r-- 0:0 /secret A"}},
		{name: "file in the place of a link", spec: transfer.Spec{Sources: []string{"a.txt", "dir/sub/link"}, Dest: "/app/"}, want: []string{
			appDir, "-rw-r--r-- 0:0 /app/a.txt A", "-rw-r--r-- 0:0 /app/link 1",
		}},
		{name: "several files", spec: transfer.Spec{Sources: []string{"a.txt", "b.sh"}, Dest: "/new/"}, want: []string{
			"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/a.txt A", "-rwxr-x--- 3:4 /new/b.sh B",
		}},
		{name: "directory to a new one", spec: transfer.Spec{Sources: []string{"dir"}, Dest: "/new"}, want: list("drwxr-xr-x 0:0 /new", contents("/new"))},
		{name: "directory with slashes", spec: transfer.Spec{Sources: []string{"./dir/"}, Dest: "/new/"}, want: list("drwxr-xr-x 0:0 /new", contents("/new"))},
		{name: "directory into one that is there", spec: transfer.Spec{Sources: []string{"dir"}, Dest: "/link"}, want: list(appDir, contents("/app"))},
		{name: "directories below take owner and mode", spec: transfer.Spec{Sources: []string{"dir"}, Dest: "/data"}, want: list(dataDir, contents("/data"))},
		{name: "directory through a link", spec: transfer.Spec{Sources: []string{"to-dir"}, Dest: "/new"}, want: []string{
			"drwxr-xr-x 0:0 /new", "lrwxrwxrwx 9:9 /new/link -> ../one.txt", "-rwsr-xr-x 7:8 /new/three.txt 3",
		}},
		{name: "file through a link has the link's name", spec: transfer.Spec{Sources: []string{"to-file"}, Dest: "/new/"}, want: []string{"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/to-file A"}},
		{name: "empty directory", spec: transfer.Spec{Sources: []string{"empty"}, Dest: "/new/x"}, want: []string{"drwxr-xr-x 0:0 /new", "drwxr-xr-x 0:0 /new/x"}},
		{name: ".git is kept", spec: transfer.Spec{Sources: []string{".git"}, Dest: "/new"}, want: []string{"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/config G"}},
		{name: ".. stays inside", spec: transfer.Spec{Sources: []string{"../../a.txt"}, Dest: "/new"}, want: []string{"-rw-r--r-- 0:0 /new A"}},

		{name: "wildcard", spec: transfer.Spec{Sources: []string{"*.txt"}, Dest: "/new/"}, want: []string{"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/a.txt A"}},
		{name: "wildcard in the middle", spec: transfer.Spec{Sources: []string{"d*/s?b/*.txt"}, Dest: "/new/"}, want: []string{"drwxr-xr-x 0:0 /new", "-rwsr-xr-x 7:8 /new/three.txt 3"}},
		{name: "wildcard after a link", spec: transfer.Spec{Sources: []string{"to-dir/t*"}, Dest: "/new/"}, want: []string{"drwxr-xr-x 0:0 /new", "-rwsr-xr-x 7:8 /new/three.txt 3"}},
		{name: "wildcard of directories takes their contents", spec: transfer.Spec{Sources: []string{"dir/su*"}, Dest: "/new/"}, want: []string{
			"drwxr-xr-x 0:0 /new", "lrwxrwxrwx 9:9 /new/link -> ../one.txt", "-rwsr-xr-x 7:8 /new/three.txt 3",
		}},
		{name: "wildcard that matches links follows them", spec: transfer.Spec{Sources: []string{"to-f*"}, Dest: "/new/"}, want: []string{"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/to-file A"}},
		{name: "wildcard that matches nothing", spec: transfer.Spec{Sources: []string{"no*"}, Dest: "/new/"}},
		{name: "wildcard of brackets", spec: transfer.Spec{Sources: []string{"[[]x]"}, Dest: "/new"}, want: []string{"-rw-r--r-- 0:0 /new X"}},
		{name: "one that is missing and a wildcard", spec: transfer.Spec{Sources: []string{"*.txt", "missing"}, Dest: "/new/"}, want: []string{"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/a.txt A"}, wantErr: "finding /missing: file does not exist"},
		{name: "malformed wildcard", spec: transfer.Spec{Sources: []string{"a["}, Dest: "/new/"}, wantErr: `malformed source "/a[": syntax error in pattern`},

		{name: "chown", spec: transfer.Spec{Sources: []string{"dir/sub", "a.txt"}, Dest: "/x/y/", Owner: "5"}, want: []string{
			"drwxr-xr-x 5:5 /x", "drwxr-xr-x 5:5 /x/y", "-rw-r--r-- 5:5 /x/y/a.txt A", "lrwxrwxrwx 5:5 /x/y/link -> ../one.txt", "-rwsr-xr-x 5:5 /x/y/three.txt 3",
		}},
		{name: "below setgid", spec: transfer.Spec{Sources: []string{"dir"}, Dest: "/home/x/y", Exclude: []string{"abs", "pipe", "*.md"}}, want: []string{
			"drwxr-sr-x 5:6 /home", "drwxr-sr-x 0:6 /home/x", "drwxr-sr-x 0:6 /home/x/y", "-rw-r--r-- 0:0 /home/x/y/one.txt 1",
			"drwx-----T 0:0 /home/x/y/sub", "lrwxrwxrwx 9:9 /home/x/y/sub/link -> ../one.txt", "-rwsr-xr-x 7:8 /home/x/y/sub/three.txt 3",
		}},
		{name: "below setgid with an owner", spec: transfer.Spec{Sources: []string{"dir/sub/three.txt"}, Dest: "/home/x/", Owner: "9"}, want: []string{
			"drwxr-sr-x 5:6 /home", "drwxr-sr-x 9:9 /home/x", "-rwsr-xr-x 9:9 /home/x/three.txt 3",
		}},
		{name: "chown by an unknown name", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/x", Owner: "me"}, wantErr: `finding owner "me": unknown user me: /etc/passwd does not have it`},
		{name: "octal mode is for directories, too", spec: transfer.Spec{Sources: []string{"dir/sub", "a.txt"}, Dest: "/x/y/", Mode: "4750"}, want: []string{
			"drwxr-x--- 0:0 /x", "drwxr-x--- 0:0 /x/y", "-rwsr-x--- 0:0 /x/y/a.txt A", "lrwxrwxrwx 9:9 /x/y/link -> ../one.txt", "-rwsr-x--- 7:8 /x/y/three.txt 3",
		}},
		{name: "symbolic mode is for what is copied", spec: transfer.Spec{Sources: []string{"dir"}, Dest: "/x/y", Mode: "go=,u+X", Exclude: []string{"*", "!sub/three.txt"}}, want: []string{
			"drwxr-xr-x 0:0 /x", "drwxr-xr-x 0:0 /x/y", "drwx-----T 0:0 /x/y/sub", "-rws------ 7:8 /x/y/sub/three.txt 3",
		}},
		{name: "malformed mode", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/x", Mode: "u+q"}, wantErr: `malformed mode "u+q"`},

		{name: "exclude is relative to the source", spec: transfer.Spec{Sources: []string{"dir"}, Dest: "/new", Exclude: []string{"*.md", "sub", "abs", "pipe"}}, want: []string{"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/one.txt 1"}},
		{name: "exclude below", spec: transfer.Spec{Sources: []string{"dir"}, Dest: "/new", Exclude: []string{"**/*.txt", "abs", "pipe"}}, want: []string{
			"drwxr-xr-x 0:0 /new", "drwx-----T 0:0 /new/sub", "lrwxrwxrwx 9:9 /new/sub/link -> ../one.txt", "-rw-r--r-- 0:0 /new/two.md 2",
		}},
		{name: "exclude all", spec: transfer.Spec{Sources: []string{"d*"}, Dest: "/new", Exclude: []string{"*"}}, want: []string{"drwxr-xr-x 0:0 /new"}},
		{name: "exclude does not mean the source itself", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/new", Exclude: []string{"*.txt"}}, want: []string{"-rw-r--r-- 0:0 /new A"}},
		{name: "malformed exclude", spec: transfer.Spec{Sources: []string{"dir"}, Dest: "/new", Exclude: []string{"["}}, wantErr: "reading the patterns of what to leave out: "},

		{name: "parents", spec: transfer.Spec{Sources: []string{"dir/sub/three.txt", "a.txt"}, Dest: "/new/", Parents: true}, want: []string{
			"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/a.txt A", "drwxr-x--- 5:6 /new/dir", "drwx-----T 0:0 /new/dir/sub", "-rwsr-xr-x 7:8 /new/dir/sub/three.txt 3",
		}},
		{name: "parents with a pivot", spec: transfer.Spec{Sources: []string{"dir/./sub/three.txt"}, Dest: "/new/", Parents: true}, want: []string{
			"drwxr-xr-x 0:0 /new", "drwx-----T 0:0 /new/sub", "-rwsr-xr-x 7:8 /new/sub/three.txt 3",
		}},
		{name: "parents with a wildcard across directories", spec: transfer.Spec{Sources: []string{"./dir/**/*.txt"}, Dest: "/new", Parents: true}, want: []string{
			"drwxr-xr-x 0:0 /new", "drwxr-x--- 5:6 /new/dir", "-rw-r--r-- 0:0 /new/dir/one.txt 1", "drwx-----T 0:0 /new/dir/sub", "-rwsr-xr-x 7:8 /new/dir/sub/three.txt 3",
		}},
		{name: "parents with a wildcard in front of the pivot", spec: transfer.Spec{Sources: []string{"d*/./sub/t*"}, Dest: "/new", Parents: true}, want: []string{
			"drwxr-xr-x 0:0 /new", "drwx-----T 0:0 /new/sub", "-rwsr-xr-x 7:8 /new/sub/three.txt 3",
		}},
		{name: "parents of a directory", spec: transfer.Spec{Sources: []string{"dir/sub"}, Dest: "/new", Parents: true}, want: []string{
			"drwxr-xr-x 0:0 /new", "drwxr-x--- 5:6 /new/dir", "drwx-----T 0:0 /new/dir/sub", "lrwxrwxrwx 9:9 /new/dir/sub/link -> ../one.txt", "-rwsr-xr-x 7:8 /new/dir/sub/three.txt 3",
		}},
		{name: "parents that are there keep their owner", spec: transfer.Spec{Sources: []string{"dir/./sub/three.txt"}, Dest: "/data", Parents: true}, want: []string{
			dataDir, "drwx-----T 2:2 /data/sub", "-rwsr-xr-x 7:8 /data/sub/three.txt 3",
		}},
		{name: "parents of what is missing", spec: transfer.Spec{Sources: []string{"dir/./no/three.txt"}, Dest: "/new/", Parents: true}, wantErr: "finding /dir/no/three.txt: file does not exist"},
		{name: "parents of a wildcard that matches nothing", spec: transfer.Spec{Sources: []string{"dir/no*"}, Dest: "/new/", Parents: true}, want: []string{"drwxr-xr-x 0:0 /new"}},

		{name: "link follows no link", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/link/x", Link: true}, want: []string{"drwxr-xr-x 0:0 /link", "-rw-r--r-- 0:0 /link/x A"}},
		{name: "link makes directories its own", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/app/", Link: true}, want: []string{"drwxr-xr-x 0:0 /app", "-rw-r--r-- 0:0 /app/a.txt A"}},
		{name: "link replaces a directory by a file", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/app", Link: true}, want: []string{"-rw-r--r-- 0:0 /app A"}},
		{name: "link of two files", spec: transfer.Spec{Sources: []string{"a.txt", "b.sh"}, Dest: "/app/d/", Link: true, Owner: "3:4"}, want: []string{
			"drwxr-xr-x 3:4 /app", "drwxr-xr-x 3:4 /app/d", "-rw-r--r-- 3:4 /app/d/a.txt A", "-rwxr-x--- 3:4 /app/d/b.sh B",
		}},
		{name: "link of a directory over a file", spec: transfer.Spec{Sources: []string{"dir/sub"}, Dest: "/app/one.txt", Link: true}, want: []string{
			"drwxr-xr-x 0:0 /app", "drwxr-xr-x 0:0 /app/one.txt", "lrwxrwxrwx 9:9 /app/one.txt/link -> ../one.txt", "-rwsr-xr-x 7:8 /app/one.txt/three.txt 3",
		}},
		{name: "link with a name", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/x", Link: true, Owner: "me:5"}, wantErr: "owner me:5: names cannot be looked up with --link, give numbers"},
		{name: "link with root", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/x", Link: true, Owner: "root:5"}, want: []string{"-rw-r--r-- 0:5 /x A"}},
		{name: "link with a mode is none", spec: transfer.Spec{Sources: []string{"a.txt"}, Dest: "/link/x", Link: true, Mode: "600"}, want: []string{appDir, "-rw------- 0:0 /app/x A"}},

		{name: "missing", spec: transfer.Spec{Sources: []string{"missing"}, Dest: "/new"}, wantErr: "finding /missing: file does not exist"},
		{name: "link out", spec: transfer.Spec{Sources: []string{"out"}, Dest: "/new"}, wantErr: "finding /out: file does not exist"},
		{name: "file onto a directory", spec: transfer.Spec{Sources: []string{"dir/sub/link"}, Dest: "/data/", Exclude: nil}, want: []string{dataDir, "-rw-r--r-- 0:0 /data/link 1"}},
		{name: "file where a directory is", spec: transfer.Spec{Files: []transfer.File{inline("sub", "x")}, Dest: "/data/"}, wantErr: "copying a file to /data/sub: is a directory"},
		{name: "directory onto a file", spec: transfer.Spec{Sources: []string{"dir"}, Dest: "/etc/passwd"}, wantErr: "copying a directory to /etc/passwd: not a directory"},
		{name: "below a file", spec: transfer.Spec{Sources: []string{"dir"}, Dest: "/etc/passwd/x"}, wantErr: "not a directory"},

		{name: "here-documents", spec: transfer.Spec{Files: []transfer.File{inline("one", "1\n"), inline("two", "2\n")}, Dest: "/new/", Owner: "1:2"}, want: []string{
			"drwxr-xr-x 1:2 /new", "-rw-r--r-- 1:2 /new/one 1\n", "-rw-r--r-- 1:2 /new/two 2\n",
		}},
		{name: "here-document to a name", spec: transfer.Spec{Files: []transfer.File{inline("EOF", "1")}, Dest: "/new", Mode: "+x"}, want: []string{"-rwxr-xr-x 0:0 /new 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dst := newStage(t, stage...)
			err := transfer.Copy(t.Context(), dst, rootfstest.NewTree(source...), tt.spec)
			if tt.wantErr == "" {
				must(t, err)
			} else if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got error %v, want one with %q", err, tt.wantErr)
			}
			wantChanges(t, dst, tt.want...)
		})
	}
}

func inline(name, content string) transfer.File {
	return transfer.File{Name: name, Mode: 0o644, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

func wantChanges(t *testing.T, f *rootfs.FS, want ...string) {
	t.Helper()
	got, err := rootfstest.Changes(f, nil)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// What has several names in the source is one file in the stage.
func TestHardLinks(t *testing.T) {
	src := newStage(t)
	must(t, src.Mkdir("/d", 0o755, rootfs.Root))
	must(t, src.WriteFile("/d/a", []byte("x"), 0o644, rootfs.Root))
	must(t, src.Link("/d/a", "/d/b"))
	dst := newStage(t)
	must(t, transfer.Copy(t.Context(), dst, src, transfer.Spec{Sources: []string{"/d"}, Dest: "/e", Owner: "1"}))
	must(t, dst.WriteFile("/e/a", []byte("both"), 0, rootfs.Root))
	wantChanges(t, dst, "drwxr-xr-x 1:1 /e", "-rw-r--r-- 1:1 /e/a both", "-rw-r--r-- 1:1 /e/b both")
	wantChanges(t, src, "drwxr-xr-x 0:0 /d", "-rw-r--r-- 0:0 /d/a x", "-rw-r--r-- 0:0 /d/b x")
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	for name, spec := range map[string]transfer.Spec{
		"files":   {Sources: []string{"dir"}, Dest: "/new"},
		"archive": {Files: []transfer.File{inline("x", archive(t, tar.Header{Name: "a"}))}, Dest: "/new", UnpackFiles: true},
	} {
		if err := transfer.Copy(ctx, newStage(t), rootfstest.NewTree(source...), spec); !errors.Is(err, stopped) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

func TestMissingIsNotExist(t *testing.T) {
	err := transfer.Copy(t.Context(), newStage(t), rootfstest.NewTree(source...), transfer.Spec{Sources: []string{"missing"}, Dest: "/x"})
	var pe *fs.PathError
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &pe) || pe.Path != "/missing" {
		t.Errorf("got error %v", err)
	}
}
