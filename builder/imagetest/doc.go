// Package imagetest checks container images in tests: what files they have,
// with which modes and owners, and what their configuration says. It reads
// docker archives, OCI layouts and any v1.Image, and needs no daemon.
//
//	func TestImage(t *testing.T) {
//		img := imagetest.Load(t, "image.tar")
//		img.WantEntrypoint("/app/server")
//		img.WantUser("65532")
//		img.WantFile("/app/server", imagetest.File{Mode: 0o755, Owner: "0:0"})
//		img.WantNoFile("/bin/sh")
//	}
//
// Anything else is a matter of the standard library, as the files of an image
// are an fs.FS:
//
//	err := fs.WalkDir(img.FS(), ".", func(path string, d fs.DirEntry, err error) error {
//		…
//	})
//
// An image with several platforms is checked one platform at a time, see
// LoadPlatform. For what Load and its siblings do not choose, use image.Open
// and give what it returns to New.
package imagetest
