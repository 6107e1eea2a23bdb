package layer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"

	"github.com/stagectl/stagectl/builder/layer"
)

var epoch = time.Unix(1700000000, 0)

// program returns content that compresses about as a program does: stretches
// of noise, text that repeats, and zeros.
func program(size int) []byte {
	content := make([]byte, 0, size+8<<10)
	var seed [8]byte
	for n := uint64(0); len(content) < size; n++ {
		binary.BigEndian.PutUint64(seed[:], n)
		sum := sha256.Sum256(seed[:])
		switch sum[0] % 4 {
		case 0:
			for range int(sum[1]) * 4 {
				next := sha256.Sum256(sum[:])
				content = append(content, next[:]...)
				sum = next
			}
		case 1, 2:
			word := hex.EncodeToString(sum[:4])
			content = append(content, strings.Repeat("func "+word+"()\n", int(sum[2]))...)
		default:
			content = append(content, make([]byte, int(sum[2])*8)...)
		}
	}
	return content[:size]
}

// serverSize is more than several blocks of any compression.
const serverSize = 9<<20 + 4321

var server = sync.OnceValue(func() []byte { return program(serverSize) })

func file(name string, mode fs.FileMode, content []byte) layer.File {
	return layer.File{Path: name, Mode: mode, Size: int64(len(content)), Open: opener(content)}
}

func opener(content []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}

func dir(name string, perm fs.FileMode) layer.File {
	return layer.File{Path: name, Mode: fs.ModeDir | perm}
}

func link(name, target string) layer.File {
	return layer.File{Path: name, Mode: fs.ModeSymlink | 0o777, Link: target}
}

var (
	longName   = "/" + strings.Repeat("d", 60) + "/" + strings.Repeat("f", 60)
	longerName = strings.Repeat("/"+strings.Repeat("e", 50), 6)
)

// files has one of each kind of entry. The golden digests are of these.
func files() []layer.File {
	owned := file("/opt/owned", 0o600, []byte("owned"))
	owned.UID, owned.GID = 1<<31-1, 1<<22
	shared := dir("/srv/shared", 0o775|fs.ModeSetgid)
	shared.UID, shared.GID = 65532, 65532
	return []layer.File{
		dir("/app", 0o755),
		file("/app/server", 0o755, server()),
		file("/app/server.conf", 0o644, []byte("port = 8080\n")),
		file("/app/empty", 0o644, nil),
		link("/app/link", "server"),
		link("/bin/app", "/app/"+strings.Repeat("../app/", 20)+"server"),
		file("/bin/su", 0o4755, nil),
		file("/bin/su-bits", 0o755|fs.ModeSetuid|fs.ModeSetgid, []byte("su")),
		file(longName, 0o644, []byte("long")),
		file(longerName, 0o644, []byte("longer")),
		file("/etc/ünïcode-日本語", 0o644, []byte("names")),
		owned,
		shared,
		dir("/tmp", 0o777|fs.ModeSticky),
	}
}

func write(t testing.TB, files []layer.File, o layer.Options) ([]byte, layer.Info) {
	t.Helper()
	var blob bytes.Buffer
	info, err := layer.Write(t.Context(), &blob, files, o)
	if err != nil {
		t.Fatal(err)
	}
	return blob.Bytes(), info
}

func digest(content []byte) v1.Hash {
	sum := sha256.Sum256(content)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// decompress uses the standard library's gzip, which did not compress it.
func decompress(t *testing.T, algorithm string, blob []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(blob)
	switch algorithm {
	case layer.Gzip:
		zr, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = zr
	case layer.Zstd:
		zr, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer zr.Close()
		r = zr
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

type entry struct {
	*tar.Header
	content []byte
}

func entries(t *testing.T, content []byte) []entry {
	t.Helper()
	var all []entry
	tr := tar.NewReader(bytes.NewReader(content))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{h, content})
	}
}

func reversed(files []layer.File) []layer.File {
	slices.Reverse(files)
	return files
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}
