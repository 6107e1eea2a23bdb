package imagetest_test

import (
	"fmt"
	"io/fs"
	"log"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/imagetest"
)

// printer stands in for the *testing.T of a test.
type printer struct{ testing.TB }

func (printer) Helper() {}

func (printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// Example checks an image that was made in memory. In a test, t is the
// *testing.T, and mostly the image comes from imagetest.Load(t, "image.tar").
func Example() {
	var t printer
	img := imagetest.New(t, newImage("linux/amd64", v1.Config{
		Entrypoint: []string{"/app/server"}, User: "65532", Env: []string{"PORT=8080"},
	}, layer(dir("app/", 0o755), file("app/server", 0o755, "\x7fELF"))))

	img.WantEntrypoint("/app/server")
	img.WantUser("65532")
	img.WantFile("/app/server", imagetest.File{Mode: 0o755, Owner: "0:0"})
	img.WantNoFile("/bin/sh")

	// These do not hold.
	img.WantEnv("PORT", "80")
	img.WantFile("/app/config.json", imagetest.File{Mode: 0o644})

	// Output:
	// environment variable PORT is "8080", want "80"
	// /app/config.json is not in the image; in /app is: server
}

// The list of an image's files is good for comparing with a golden file.
func ExampleFS_List() {
	img := newImage("linux/amd64", v1.Config{}, layer(
		dir("app/", 0o755), file("app/server", 0o755, "\x7fELF"), link("server", "/app/server"), dir("tmp/", 0o1777),
	))
	fsys, err := imagetest.NewFS(img)
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range fsys.List() {
		fmt.Println(line)
	}
	// Output:
	// drwxr-xr-x 0:0 /app
	// -rwxr-xr-x 0:0 4 /app/server
	// lrwxrwxrwx 0:0 /server -> /app/server
	// drwxrwxrwt 0:0 /tmp
}

// The files of an image are an fs.FS, and what that does not know of is in Sys.
func ExampleImage_FS() {
	var t printer
	img := imagetest.New(t, newImage("linux/amd64", v1.Config{}, layer(
		file("etc/passwd", 0o644, "root:x:0:0\n"), file("app/server", 0o4755, "\x7fELF"),
	)))
	err := fs.WalkDir(img.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if e := info.Sys().(*image.Entry); info.Mode()&fs.ModeSetuid != 0 {
			fmt.Println(path, "runs as user", e.UID)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: app/server runs as user 0
}
