package hostile

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bomb is a compressed layer that is small, and would be large or costly.
type Bomb struct {
	Name string
	// Blob is the layer as it is transferred.
	Blob string
	// Refused is what the error says.
	Refused string
}

const (
	tooMuch = "it unpacks to more than 1073741824 bytes, which is the limit for its size"
	zeros   = 16 << 20
	// pieces of zeros, which are more than a gigabyte.
	pieces = 1<<30/zeros + 2
)

// Bombs are the bombs. Each has a second's work or less for who does not notice.
func Bombs() []Bomb {
	return []Bomb{
		{"gzip ratio", gzipBomb(), tooMuch},
		{"gzip of many members", Gzip(zeroFile()) + strings.Repeat(Gzip(strings.Repeat("\x00", zeros)), pieces), tooMuch},
		{"zstd ratio", ZstdBomb(), tooMuch},
		{"zstd window", ZstdWindow(28), "window size exceeded"},
		{"zstd window of a gigabyte", ZstdWindow(30), "window size exceeded"},
		{"zstd content of eight exabytes", "\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x09\x00\x00x", "size exceeds configured limit"},
		{"many entries", Zstd(ManyPaths()), "there are more than 4194304 files and directories"},
	}
}

// ZstdBomb is a gigabyte of zeros in a few kilobytes.
func ZstdBomb() string {
	return Zstd(zeroFile()) + strings.Repeat(Zstd(strings.Repeat("\x00", zeros)), pieces)
}

// zeroFile is the header of a file that has more zeros than may be.
func zeroFile() string {
	return headerOf(tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Mode: 0o644, Size: pieces * zeros})
}

func headerOf(h tar.Header) string {
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&h); err != nil {
		panic(err)
	}
	return b.String()
}

// gzipBomb is one member. Behind zeros, the same compressed bytes are always
// more of them.
func gzipBomb() string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	write := func(content string) string {
		b.Reset()
		_, err := io.WriteString(w, content)
		if err == nil {
			err = w.Flush()
		}
		if err != nil {
			panic(err)
		}
		return b.String()
	}
	piece := strings.Repeat("\x00", zeros)
	return "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + write(zeroFile()) + write(piece) + strings.Repeat(write(piece), pieces-1)
}

// ManyPaths is a layer of files that share no directory with the one before, so
// that each makes thousands.
func ManyPaths() string {
	var b strings.Builder
	for i := range 2200 {
		letter := string('a' + rune(i%2))
		b.WriteString(headerOf(tar.Header{Name: strings.Repeat(letter+"/", 2000) + "f", Typeflag: tar.TypeReg, Mode: 0o644}))
	}
	return b.String()
}

// ZstdWindow is a frame that asks for a window of 2 to the power of log bytes, and
// has one raw block of a byte.
func ZstdWindow(log byte) string {
	return "\x28\xb5\x2f\xfd\x00" + string([]byte{(log - 10) << 3}) + "\x09\x00\x00x"
}

// Gzip compresses.
func Gzip(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s) // a buffer has no errors
	_ = w.Close()
	return b.String()
}

// Zstd compresses.
func Zstd(s string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return string(w.EncodeAll([]byte(s), nil))
}
