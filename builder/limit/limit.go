// Package limit says how much is read of what others made: images, layouts and
// archives.
//
// Those who read such content are far apart: image, base, imagetest, the
// extraction of ADD and the builder itself. None of them may import another for
// the sake of a number, and a number in each would be raised in one and
// forgotten in the next, so that one reader took what another refuses. Hence a
// package below all others. It imports nothing of this module, opens nothing and
// only counts, so that knowing it ties nobody to anything.
//
// The numbers leave room: no image is known that comes near to any of them. What
// is beyond is refused, never cut off.
package limit

import (
	"fmt"
	"io"
)

// What describes an image, which is kept in memory.
const (
	// JSON is the size in bytes of one manifest, index or config. Registries
	// refuse larger manifests
	// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests).
	JSON = 4 << 20
	// AllJSON is the size of all of them in one file. A hundred images have a
	// megabyte or two; Manifests of JSON bytes each would be gigabytes.
	AllJSON = 32 << 20
	// Manifests is how many images one file, or one index, has. Each is looked
	// at, and in a registry that is a request. An image for every platform
	// there is has about fifty.
	Manifests = 1024
	// Layers is how many layers an image has. Linux stacks no more than 500 with
	// overlayfs, and Docker no more than 127.
	Layers = 512
)

// An index inside an index is refused by all readers: no tool makes one, and so
// there is no number for how deep they go.

// What a layer is unpacked to, or an archive that is added.
const (
	// Layer is the size in bytes of one layer, as it is transferred and unpacked.
	// Large images of machine learning have a tenth of it, and few registries
	// take as much.
	Layer = 256 << 30
	// Ratio is how many bytes each byte may unpack to. Programs and texts have
	// 2 to 20; gzip ends at 1032, zstd at nothing. It only counts beyond Free.
	Ratio = 256
	// Free is the size that anything may unpack to: files of zeros are real,
	// such as /var/log/lastlog with a high user ID, and this many are soon read.
	Free = 1 << 30
	// ZstdWindow is how many bytes a zstd frame may make its reader allocate
	// (RFC 8878, section 3.1.1.1.2). It is what `zstd --ultra -22` needs.
	ZstdWindow = 128 << 20
	// Entries is how many files and directories a layer makes, and all layers of
	// an image. The largest images have a tenth of it; each takes some memory.
	Entries = 4 << 20
	// Path is the length in bytes of a path, or of what a link leads to. No
	// longer one can be unpacked (PATH_MAX of Linux).
	Path = 4096
	// Steps is how many elements one path goes through, links included. By
	// itself a path has at most half of Path; with each of the 40 links that
	// Linux follows being as long, it would be 80 thousand.
	Steps = 2 * Path
	// Records is the size in bytes of the PAX records of one entry. Two paths
	// and a few extended attributes, of which Linux lets one have 64 KiB, are
	// well below; archive/tar itself ends at a megabyte.
	Records = 512 << 10
	// ID is the largest number of a user or a group, as in Linux.
	ID = 1<<32 - 2
)

// ArchiveFiles is how many files an archive of images has: a few for each layer
// of each image. Where each is, is kept in memory.
const ArchiveFiles = 64 << 10

// File is the size in bytes of a file of an image that is kept in memory as a
// whole, such as one with users, certificates or the modules of a program. The
// largest are a megabyte or two.
const File = 64 << 20

// Budget is how many bytes may yet come out of something. A nil Budget has no
// end: it is for what this program made itself.
type Budget struct{ most, left int64 }

// Unpack is what packed bytes may unpack to.
func Unpack(packed int64) *Budget {
	most := int64(Layer)
	if packed < Layer/Ratio {
		most = max(Free, packed*Ratio)
	}
	return &Budget{most, most}
}

// Has fails where there are no n bytes left.
func (b *Budget) Has(n int64) error {
	if b != nil && n > b.left {
		return fmt.Errorf("it unpacks to more than %d bytes, which is the limit for its size", b.most)
	}
	return nil
}

// Take takes n bytes away, and fails where there are not as many left.
func (b *Budget) Take(n int64) error {
	if b == nil {
		return nil
	}
	err := b.Has(n)
	b.left = max(0, b.left-n)
	return err
}

// Reader returns a reader of r that takes what it reads out of the budget.
func (b *Budget) Reader(r io.Reader) io.Reader {
	if b == nil {
		return r
	}
	return &reader{r, b}
}

type reader struct {
	r io.Reader
	b *Budget
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if over := r.b.Take(int64(n)); over != nil {
		return 0, over
	}
	return n, err
}
