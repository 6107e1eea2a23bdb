package layer_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"

	"github.com/stagectl/stagectl/builder/layer"
)

// goldenDiffID and the digests in goldens are those of files(). A change of
// any is a change of every image that was ever built: it goes with a new
// builder.FormatVersion.
const goldenDiffID = "f083d611470806e8443f0e55a96446c726843e0c9f8be5f3ad2eb64a71f85198"

var goldens = []struct {
	layer.Compression
	digest string
}{
	{layer.Compression{Algorithm: layer.Gzip}, "7964041bdf7ac7e3464c4f00c1b9f9a7c81774a2bba67354b269a5068fccdb0d"},
	{layer.Compression{Algorithm: layer.Gzip, Level: 1}, "8f4d2c562468e2b01bdd188fb7834e65a50eda093c540fa5b23f1b10f28e6a02"},
	{layer.Compression{Algorithm: layer.Gzip, Level: 6}, "7964041bdf7ac7e3464c4f00c1b9f9a7c81774a2bba67354b269a5068fccdb0d"},
	{layer.Compression{Algorithm: layer.Gzip, Level: 9}, "1a715ab1bb45140c645ff51a6d74dbbe048fea21f9650921ae8c03adf2764843"},
	{layer.Compression{Algorithm: layer.Zstd}, "602e265ba3e92ca0880cb88d777ac7b77ad1a58b06fe813933370a783cc94b34"},
	{layer.Compression{Algorithm: layer.Zstd, Level: 1}, "d06de741dbfadfd8ce2614384507cf0612b62e2201eee703b8c944ccf0cde396"},
	{layer.Compression{Algorithm: layer.Zstd, Level: 6}, "86ce9e59cbcee9c5397ac2fb8c54f7ed7d3da660695e46b7c642bea832811d35"},
	{layer.Compression{Algorithm: layer.Zstd, Level: 22}, "d654f8d11b43970b4ff5f9d4409521870bacac03c205490acbb8017e89252d40"},
	{layer.Compression{Algorithm: layer.None}, goldenDiffID},
}

func golden(hex string) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: hex} }

func TestGolden(t *testing.T) {
	for _, tt := range goldens {
		t.Run(fmt.Sprintf("%s:%d", tt.Algorithm, tt.Level), func(t *testing.T) {
			blob, info := write(t, files(), layer.Options{Compression: tt.Compression, Epoch: epoch, Jobs: 2})
			if info.DiffID != golden(goldenDiffID) {
				t.Errorf("the diffID is %s, want %s", info.DiffID, goldenDiffID)
			}
			if got := digest(blob); got != golden(tt.digest) {
				t.Errorf("the digest is %s, want %s", got, tt.digest)
			}
			if tt.Algorithm == layer.Zstd {
				wantWindow(t, blob)
			}
		})
	}
}

// wantWindow checks that the frame needs no larger window than every decoder
// is to have (RFC 8878, section 3.1.1.1.2).
func wantWindow(t *testing.T, blob []byte) {
	t.Helper()
	var h zstd.Header
	if err := h.Decode(blob); err != nil {
		t.Fatal(err)
	}
	if h.WindowSize == 0 || h.WindowSize > 8<<20 {
		t.Errorf("the window is %d bytes, want at most 8 MiB", h.WindowSize)
	}
}

// Neither the machine nor the way in which content arrives is in the bytes.
func TestSameBytes(t *testing.T) {
	tests := []struct {
		name        string
		procs, jobs int
		reader      func(io.Reader) io.Reader
		order       func([]layer.File) []layer.File
	}{
		{"one of everything", 1, 1, nil, nil},
		{"jobs that are not named", 1, 0, nil, nil},
		{"more jobs than processors", 1, 8, nil, nil},
		{"more processors than jobs", 8, 1, nil, nil},
		{"many of both", 8, 8, nil, nil},
		{"files the other way round", 2, 2, nil, reversed},
		{"odd pieces", 8, 2, oddReader, nil},
		{"half of what is asked for", 2, 8, iotest.HalfReader, nil},
		{"end of the file with the last bytes", 2, 2, iotest.DataErrReader, reversed},
	}
	for _, c := range goldens {
		if c.Level == 9 || c.Level == 22 || (raceEnabled && c.Level > 0) {
			continue // slow, and not other goroutines
		}
		for _, tt := range tests {
			if raceEnabled && tt.procs < 8 {
				continue
			}
			t.Run(fmt.Sprintf("%s:%d/%s", c.Algorithm, c.Level, tt.name), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(tt.procs))
				all := files()
				for i, f := range all {
					if f.Open != nil && tt.reader != nil {
						all[i].Open = func() (io.ReadCloser, error) {
							rc, err := f.Open()
							return io.NopCloser(tt.reader(rc)), err
						}
					}
				}
				if tt.order != nil {
					all = tt.order(all)
				}
				blob, info := write(t, all, layer.Options{Compression: c.Compression, Epoch: epoch, Jobs: tt.jobs})
				if got := digest(blob); got != golden(c.digest) || info.DiffID != golden(goldenDiffID) {
					t.Errorf("digest %s of %s, want %s of %s", got, info.DiffID, c.digest, goldenDiffID)
				}
			})
		}
	}
}

// oddReader returns pieces of ever other sizes.
func oddReader(r io.Reader) io.Reader {
	sizes, n := []int{1, 4095, 70_001, 3, 131_072, 999}, 0
	return readerFunc(func(p []byte) (int, error) {
		n++
		return r.Read(p[:min(len(p), sizes[n%len(sizes)])])
	})
}

// Several layers at once do not share anything.
func TestSameBytesInParallel(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for _, c := range goldens {
				if c.Level != 0 {
					continue
				}
				blob, _ := write(t, files(), layer.Options{Compression: c.Compression, Epoch: epoch, Jobs: i + 1})
				if got := digest(blob); got != golden(c.digest) {
					t.Errorf("%s: digest %s, want %s", c.Algorithm, got, c.digest)
				}
			}
		})
	}
}

// The header has no time and no system (RFC 1952, section 2.3.1), whatever the
// epoch is.
func TestGzipHeader(t *testing.T) {
	blob, _ := write(t, files()[:1], layer.Options{Compression: layer.Compression{Algorithm: layer.Gzip}, Epoch: epoch})
	want := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}
	if !bytes.Equal(blob[:10], want) {
		t.Errorf("header % x, want % x", blob[:10], want)
	}
}

func TestCompressionValid(t *testing.T) {
	tests := []struct {
		name string
		layer.Compression
		want string
	}{
		{"zero", layer.Compression{}, ""},
		{"gzip", layer.Compression{Algorithm: layer.Gzip}, ""},
		{"highest gzip", layer.Compression{Algorithm: layer.Gzip, Level: 9}, ""},
		{"zstd", layer.Compression{Algorithm: layer.Zstd}, ""},
		{"highest zstd", layer.Compression{Algorithm: layer.Zstd, Level: 22}, ""},
		{"none", layer.Compression{Algorithm: layer.None}, ""},
		{"unknown", layer.Compression{Algorithm: "lz4"}, `unknown compression "lz4": it is gzip, zstd or none`},
		{"upper case", layer.Compression{Algorithm: "GZIP"}, `unknown compression "GZIP"`},
		{"gzip too high", layer.Compression{Algorithm: layer.Gzip, Level: 10}, "gzip level 10 is not between 1 and 9"},
		{"default too high", layer.Compression{Level: 10}, "gzip level 10 is not between 1 and 9"},
		{"zstd too high", layer.Compression{Algorithm: layer.Zstd, Level: 23}, "zstd level 23 is not between 1 and 22"},
		{"negative", layer.Compression{Algorithm: layer.Gzip, Level: -1}, "gzip level -1 is not between 1 and 9"},
		{"none with a level", layer.Compression{Algorithm: layer.None, Level: 1}, "compression none has no level"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			valid := tt.Valid()
			_, err := layer.Write(t.Context(), io.Discard, nil, layer.Options{Compression: tt.Compression})
			if tt.want == "" {
				if valid != nil || err != nil {
					t.Errorf("got errors %v and %v, want none", valid, err)
				}
				return
			}
			wantError(t, valid, tt.want)
			wantError(t, err, "writing layer: "+tt.want)
		})
	}
}
