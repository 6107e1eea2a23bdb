package imagetest_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/stagectl/stagectl/builder/imagetest"
)

// foreign is a platform that is not the test's.
func foreign() string {
	if runtime.GOARCH == "arm64" {
		return "linux/amd64"
	}
	return "linux/arm64/v8"
}

func TestLoad(t *testing.T) {
	host, other := newImage("linux/"+runtime.GOARCH, v1.Config{User: "host"}), newImage(foreign(), v1.Config{User: "other"})
	both := writeLayout(t, host, other)
	tagged := writeArchive(t, map[string]v1.Image{"server:v1": host, "example.com/tool:v2": other})
	tests := []struct {
		name string
		load func(t testing.TB) *imagetest.Image
		user string
	}{
		{"archive", func(t testing.TB) *imagetest.Image {
			return imagetest.Load(t, writeArchive(t.(*recorder).TB.(*testing.T), map[string]v1.Image{"server:v1": host}))
		}, "host"},
		{"only another platform", func(t testing.TB) *imagetest.Image {
			return imagetest.Load(t, writeLayout(t.(*recorder).TB.(*testing.T), other))
		}, "other"},
		{"platform of the host", func(t testing.TB) *imagetest.Image { return imagetest.Load(t, both) }, "host"},
		{"platform", func(t testing.TB) *imagetest.Image { return imagetest.LoadPlatform(t, both, foreign()) }, "other"},
		{"tag", func(t testing.TB) *imagetest.Image { return imagetest.LoadTag(t, tagged, "server:v1") }, "host"},
		{"full name", func(t testing.TB) *imagetest.Image { return imagetest.LoadTag(t, tagged, "example.com/tool:v2") }, "other"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := record(t, func(t testing.TB) { tt.load(t).WantUser(tt.user) })
			if len(r.messages) > 0 {
				t.Error(r.messages)
			}
		})
	}
}

func TestLoadFails(t *testing.T) {
	host, other := newImage("linux/"+runtime.GOARCH, v1.Config{}), newImage(foreign(), v1.Config{})
	both := writeLayout(t, host, other)
	tagged := writeArchive(t, map[string]v1.Image{"server:v1": host, "tool:v2": other})
	damaged := filepath.Join(t.TempDir(), "damaged.tar")
	if err := os.WriteFile(damaged, []byte("no tar"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		load func(t testing.TB)
		want string
	}{
		{"missing", func(t testing.TB) { imagetest.Load(t, "none.tar") }, "opening none.tar: no such file"},
		{"damaged", func(t testing.TB) { imagetest.Load(t, damaged) }, "opening " + damaged + ": "},
		{"several images", func(t testing.TB) { imagetest.Load(t, tagged) }, "there are 2, name one of: "},
		{"unknown tag", func(t testing.TB) { imagetest.LoadTag(t, tagged, "x:v3") }, "finding image x:v3 in "},
		{
			"unknown platform", func(t testing.TB) { imagetest.LoadPlatform(t, both, "linux/s390x") },
			"reading " + both + ": finding the image for linux/s390x: not there, only: linux/",
		},
		{"malformed platform", func(t testing.TB) { imagetest.LoadPlatform(t, both, "a/b/c/d") }, "too many slashes"},
		{"no config", func(t testing.TB) { imagetest.New(t, broken{host, nil}) }, "reading image config: the disk is gone"},
		{"no layers", func(t testing.TB) { imagetest.New(t, broken{host, host}).FS() }, "listing layers: the disk is gone"},
		{"damaged layer", func(t testing.TB) {
			img, err := mutate.AppendLayers(host, brokenLayer{layer()})
			if err != nil {
				t.Fatal(err)
			}
			imagetest.New(t, img).Layers()
		}, ": the disk is gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := record(t, tt.load)
			if !r.fatal || len(r.messages) != 1 || !strings.Contains(r.messages[0], tt.want) {
				t.Errorf("reported %q, want one fatal message with %q", r.messages, tt.want)
			}
		})
	}
}

var errGone = errors.New("the disk is gone")

// broken is an image that cannot be read but for the config of another.
type broken struct {
	v1.Image
	config v1.Image
}

func (b broken) ConfigFile() (*v1.ConfigFile, error) {
	if b.config == nil {
		return nil, errGone
	}
	return b.config.ConfigFile()
}

func (b broken) Layers() ([]v1.Layer, error) { return nil, errGone }

type brokenLayer struct{ v1.Layer }

func (brokenLayer) Uncompressed() (io.ReadCloser, error) { return nil, errGone }

// TestLoadFilesAreClosed: the file is open until the test that loaded it ends.
func TestLoadFilesAreClosed(t *testing.T) {
	path := writeLayout(t, newImage("linux/amd64", v1.Config{}, layer(file("a", 0o644, "a"))))
	var fsys fs.FS
	t.Run("subtest", func(t *testing.T) { fsys = imagetest.Load(t, path).FS() })
	if _, err := fs.ReadFile(fsys, "a"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("reading after the test: %v, want fs.ErrClosed", err)
	}
}

func TestWants(t *testing.T) {
	img := server()
	tests := []struct {
		name string
		want func(i *imagetest.Image)
		// messages that it reports, none if all is well
		messages []string
	}{
		{"entrypoint", func(i *imagetest.Image) { i.WantEntrypoint("/app/server") }, nil},
		{"other entrypoint", func(i *imagetest.Image) { i.WantEntrypoint("/app/server", "-v") },
			[]string{`entrypoint is ["/app/server"], want ["/app/server" "-v"]`}},
		{"cmd", func(i *imagetest.Image) { i.WantCmd("-v") }, nil},
		{"no cmd", func(i *imagetest.Image) { i.WantCmd() }, []string{`cmd is ["-v"], want []`}},
		{"user", func(i *imagetest.Image) { i.WantUser("65532") }, nil},
		{"other user", func(i *imagetest.Image) { i.WantUser("root") }, []string{`user is "65532", want "root"`}},
		{"working directory", func(i *imagetest.Image) { i.WantWorkingDir("/app") }, nil},
		{"other working directory", func(i *imagetest.Image) { i.WantWorkingDir("/") }, []string{`working directory is "/app", want "/"`}},
		{"platform", func(i *imagetest.Image) { i.WantPlatform("linux/" + runtime.GOARCH) }, nil},
		{"other platform", func(i *imagetest.Image) { i.WantPlatform("linux/x") },
			[]string{`platform is "linux/` + runtime.GOARCH + `", want "linux/x"`}},
		{"env", func(i *imagetest.Image) { i.WantEnv("PATH", "/bin"); i.WantEnv("PORT", "8080"); i.WantEnv("EMPTY", "") }, nil},
		{"other env", func(i *imagetest.Image) { i.WantEnv("PORT", "80") }, []string{`environment variable PORT is "8080", want "80"`}},
		{"no env", func(i *imagetest.Image) { i.WantEnv("HOME", "/") },
			[]string{`environment variable HOME is not set, want "/"; set are: EMPTY PATH PORT`}},
		{"label", func(i *imagetest.Image) { i.WantLabel("a", "1"); i.WantLabel("b", "") }, nil},
		{"other label", func(i *imagetest.Image) { i.WantLabel("a", "2") }, []string{`label a is "1", want "2"`}},
		{"no label", func(i *imagetest.Image) { i.WantLabel("c", "") }, []string{`label c is not set, want ""; set are: a b`}},
		{"ports", func(i *imagetest.Image) { i.WantPorts("8080", "53/udp") }, nil},
		{"other ports", func(i *imagetest.Image) { i.WantPorts("8080") }, []string{`ports is ["53/udp" "8080/tcp"], want ["8080/tcp"]`}},

		{"file", func(i *imagetest.Image) {
			i.WantFile("/app/server", imagetest.File{Mode: 0o755, Owner: "65532:7", Content: "the server"})
		}, nil},
		{"file that is only there", func(i *imagetest.Image) { i.WantFile("etc/passwd", imagetest.File{}) }, nil},
		{"directory", func(i *imagetest.Image) {
			i.WantFile("/tmp/", imagetest.File{Mode: fs.ModeDir | fs.ModeSticky | 0o777})
		}, nil},
		{"root", func(i *imagetest.Image) { i.WantFile("/", imagetest.File{Mode: fs.ModeDir | 0o755}) }, nil},
		{"setuid", func(i *imagetest.Image) { i.WantFile("/bin/su", imagetest.File{Mode: fs.ModeSetuid | 0o755}) }, nil},
		{"link", func(i *imagetest.Image) { i.WantFile("/var/run", imagetest.File{Link: "/run"}) }, nil},
		{"through a link", func(i *imagetest.Image) { i.WantFile("/var/run/pid", imagetest.File{Mode: 0o600, Content: "123"}) }, nil},
		{"end of a link", func(i *imagetest.Image) { i.WantFile("/bin", imagetest.File{Mode: fs.ModeDir | 0o755}) }, nil},
		{"other file", func(i *imagetest.Image) {
			i.WantFile("/etc/passwd", imagetest.File{Mode: 0o755, Owner: "1:1", Link: "x", Content: "y"})
		}, []string{
			"/etc/passwd has mode -rw-r--r--, want -rwxr-xr-x",
			"/etc/passwd belongs to 0:0, want 1:1",
			"/etc/passwd is -rw-r--r-- 0:0 11 /etc/passwd, want a link to x",
			`/etc/passwd contains "root:x:0:0\n", want "y"`,
		}},
		{"other link", func(i *imagetest.Image) { i.WantFile("/bin", imagetest.File{Link: "/bin"}) },
			[]string{"/bin is lrwxrwxrwx 0:0 /bin -> usr/bin, want a link to /bin"}},
		{"long content", func(i *imagetest.Image) {
			i.WantFile("/etc/passwd", imagetest.File{Content: strings.Repeat("x", 2000)})
		},
			[]string{"/etc/passwd has 11 bytes that are not the 2000 wanted"}},
		{"content of a directory", func(i *imagetest.Image) { i.WantFile("/etc", imagetest.File{Content: "x"}) },
			[]string{"/etc cannot be read: read etc: is a directory"}},
		{"no file", func(i *imagetest.Image) { i.WantFile("/app/config", imagetest.File{}) },
			[]string{"/app/config is not in the image; in /app is: server"}},
		{"no file and no directory", func(i *imagetest.Image) { i.WantFile("/run/a/b", imagetest.File{}) },
			[]string{"/run/a/b is not in the image; in /run is: pid"}},
		{"removed file", func(i *imagetest.Image) { i.WantFile("/etc/motd", imagetest.File{}) },
			[]string{"/etc/motd is not in the image; in /etc is: passwd"}},
		{"name that is not text", func(i *imagetest.Image) { i.WantFile("/\xff", imagetest.File{}); i.WantNoFile("/\xff") },
			[]string{"/\xff cannot be reached: stat \xff: invalid argument", "/\xff cannot be looked for: lstat \xff: invalid argument"}},
		{"absent", func(i *imagetest.Image) {
			i.WantNoFile("/etc/motd")
			i.WantNoFile("/cache/a")
			i.WantNoFile("/bin/bash")
		}, nil},
		{"present", func(i *imagetest.Image) { i.WantNoFile("/bin/sh") },
			[]string{"/bin/sh should not be in the image, and is there: -rwxr-xr-x 0:0 2 /usr/bin/sh"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := record(t, func(t testing.TB) { tt.want(imagetest.New(t, img)) })
			if diff := cmp.Diff(tt.messages, r.messages); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWantFileInLargeDirectory(t *testing.T) {
	var entries []entry
	for c := 'a'; c <= 'z'; c++ {
		entries = append(entries, file(string(c), 0o644, ""))
	}
	r := record(t, func(t testing.TB) {
		imagetest.New(t, newImage("linux/amd64", v1.Config{}, layer(entries...))).WantFile("/none", imagetest.File{})
		imagetest.New(t, newImage("linux/amd64", v1.Config{})).WantFile("/none/x", imagetest.File{})
	})
	want := []string{
		"/none is not in the image; in / is: a b c d e f g h i j k l m n o p q r s t and 6 more",
		"/none/x is not in the image; in / is: nothing",
	}
	if diff := cmp.Diff(want, r.messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

// TestWith reports to the test that was given last.
func TestWith(t *testing.T) {
	outer := record(t, func(t testing.TB) {
		img := imagetest.New(t, server())
		inner := &recorder{TB: t}
		img.With(inner).WantUser("nobody")
		if len(inner.messages) != 1 {
			t.Errorf("the inner test got %q", inner.messages)
		}
	})
	if len(outer.messages) > 0 {
		t.Errorf("the outer test got %q", outer.messages)
	}
}

// TestConfigIsACopy: what a test does with it changes nothing.
func TestConfigIsACopy(t *testing.T) {
	img := imagetest.New(t, server())
	img.Config().Config.User = "root"
	img.WantUser("65532")
	if cf, err := img.Image().ConfigFile(); err != nil || cf.Config.User != "65532" {
		t.Errorf("the image's user is %q, %v", cf.Config.User, err)
	}
}
