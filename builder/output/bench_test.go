package output_test

import (
	"context"
	"io"
	"path/filepath"
	"testing"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
)

// What is left to do when a layer of this size has been made.
func BenchmarkWrite(b *testing.B) {
	const size = 64 << 20
	results := single(b, newLayer(b, "server", size))
	for _, bb := range []struct {
		name string
		out  interface {
			Write(context.Context, []image.Result) ([]output.Written, error)
		}
	}{
		{"archive to a writer", &output.Archive{Writer: io.Discard, Docker: true}},
		{"archive to a file", &output.Archive{Path: filepath.Join(b.TempDir(), "image.tar"), Docker: true}},
		{"layout that has the blob", &output.Layout{Dir: filepath.Join(b.TempDir(), "layout")}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bb.out.Write(b.Context(), results); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
