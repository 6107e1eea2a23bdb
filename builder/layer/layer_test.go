package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/layer"
)

// The entries say what was asked for, and nothing of the host.
func TestWriteEntries(t *testing.T) {
	blob, info := write(t, reversed(files()), layer.Options{Compression: layer.Compression{Algorithm: layer.None}, Epoch: epoch})
	if got := digest(blob); got != info.DiffID {
		t.Errorf("the diffID is %s, want %s", info.DiffID, got)
	}
	var got []string
	for _, e := range entries(t, blob) {
		got = append(got, fmt.Sprintf("%c %04o %d:%d %d %s %s", e.Typeflag, e.Mode, e.Uid, e.Gid, e.Size, e.Name, e.Linkname))
		want := tar.Header{
			Typeflag: e.Typeflag, Name: e.Name, Linkname: e.Linkname, Size: e.Size, Mode: e.Mode, Uid: e.Uid, Gid: e.Gid,
			ModTime: epoch, Format: e.Format, PAXRecords: e.PAXRecords,
		}
		if diff := cmp.Diff(want, *e.Header); diff != "" {
			t.Errorf("%s has more in its header (-want +got):\n%s", e.Name, diff)
		}
		for _, record := range slices.Sorted(maps.Keys(e.PAXRecords)) {
			if !slices.Contains([]string{"path", "linkpath", "uid", "gid", "size"}, record) {
				t.Errorf("%s has a PAX record %s", e.Name, record)
			}
		}
	}
	want := []string{
		"5 0755 0:0 0 app/ ",
		"0 0644 0:0 0 app/empty ",
		"2 0777 0:0 0 app/link server",
		"0 0755 0:0 9441505 app/server ",
		"0 0644 0:0 12 app/server.conf ",
		"2 0777 0:0 0 bin/app /app/" + strings.Repeat("../app/", 20) + "server",
		"0 0755 0:0 0 bin/su ", // 04000 means nothing to package fs
		"0 6755 0:0 2 bin/su-bits ",
		"0 0644 0:0 4 " + longName[1:] + " ",
		"0 0644 0:0 6 " + longerName[1:] + " ",
		"0 0644 0:0 5 etc/ünïcode-日本語 ",
		"0 0600 2147483647:4194304 5 opt/owned ",
		"5 2775 65532:65532 0 srv/shared/ ",
		"5 1777 0:0 0 tmp/ ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestWriteContent(t *testing.T) {
	tests := []struct {
		algorithm string
		mediaType types.MediaType
	}{
		{"", types.OCILayer}, {layer.Gzip, types.OCILayer}, {layer.Zstd, types.OCILayerZStd}, {layer.None, types.OCIUncompressedLayer},
	}
	for _, tt := range tests {
		t.Run("algorithm "+tt.algorithm, func(t *testing.T) {
			blob, info := write(t, files(), layer.Options{Compression: layer.Compression{Algorithm: tt.algorithm}, Epoch: epoch, Jobs: 2})
			if info.MediaType != tt.mediaType {
				t.Errorf("media type %s, want %s", info.MediaType, tt.mediaType)
			}
			algorithm := tt.algorithm
			if algorithm == "" {
				algorithm = layer.Gzip
			}
			content := decompress(t, algorithm, blob)
			if got := digest(content); got != info.DiffID {
				t.Errorf("the diffID is %s, want %s", info.DiffID, got)
			}
			for _, e := range entries(t, content) {
				if e.Name == "app/server" && !bytes.Equal(e.content, server()) {
					t.Error("the server has other content")
				}
			}
		})
	}
}

// A zero epoch is 1970, and parts of a second go.
func TestWriteEpoch(t *testing.T) {
	one := []layer.File{dir("/d", 0o755)}
	zero, _ := write(t, one, layer.Options{Compression: layer.Compression{Algorithm: layer.None}})
	if got := entries(t, zero)[0].ModTime.Unix(); got != 0 {
		t.Errorf("without an epoch the time is %d, want 0", got)
	}
	whole, _ := write(t, one, layer.Options{Compression: layer.Compression{Algorithm: layer.None}, Epoch: epoch})
	parts, _ := write(t, one, layer.Options{Compression: layer.Compression{Algorithm: layer.None}, Epoch: epoch.Add(999_999_999)})
	if !bytes.Equal(whole, parts) {
		t.Error("parts of a second show")
	}
}

func TestWriteNothing(t *testing.T) {
	for _, algorithm := range []string{layer.Gzip, layer.Zstd, layer.None} {
		blob, info := write(t, nil, layer.Options{Compression: layer.Compression{Algorithm: algorithm}})
		content := decompress(t, algorithm, blob)
		if len(content) != 1024 || len(entries(t, content)) != 0 || digest(content) != info.DiffID {
			t.Errorf("%s: %d bytes, want the two blocks that end a tar", algorithm, len(content))
		}
	}
}

// Write sorts a copy: the caller's files stay as they are.
func TestWriteKeepsFiles(t *testing.T) {
	given := reversed(files())
	var before, after []string
	for _, f := range given {
		before = append(before, f.Path)
	}
	write(t, given, layer.Options{Compression: layer.Compression{Algorithm: layer.None}})
	for _, f := range given {
		after = append(after, f.Path)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

var errBroken = errors.New("broken")

func TestWriteErrors(t *testing.T) {
	with := func(change func(*layer.File)) layer.File {
		f := file("/x", 0o644, []byte("12345"))
		change(&f)
		return f
	}
	tests := []struct {
		name  string
		files []layer.File
		want  string
		is    error
	}{
		{"file twice", []layer.File{file("/x", 0o644, nil), dir("/a", 0o755), file("/x", 0o755, nil)}, "writing layer entry /x: it is there twice", nil},
		{"file and directory", []layer.File{dir("/x", 0o755), file("/x", 0o755, nil)}, "writing layer entry /x: it is there twice", nil},
		{"relative", []layer.File{dir("x", 0o755)}, "writing layer entry x: it is not the clean, absolute path", nil},
		{"not clean", []layer.File{dir("/x/../y", 0o755)}, "writing layer entry /x/../y: it is not the clean, absolute path", nil},
		{"slash at the end", []layer.File{dir("/x/", 0o755)}, "writing layer entry /x/: it is not the clean, absolute path", nil},
		{"root", []layer.File{dir("/", 0o755)}, "writing layer entry /: it is not the clean, absolute path of a file", nil},
		{"no path", []layer.File{dir("", 0o755)}, "it is not the clean, absolute path", nil},
		{"NUL in the path", []layer.File{dir("/x\x00", 0o755)}, "writing layer entry /x\x00: archive/tar: ", nil},
		{"no content", []layer.File{with(func(f *layer.File) { f.Open = nil })}, "writing layer entry /x: it has no content", nil},
		{"device", []layer.File{with(func(f *layer.File) { f.Mode |= fs.ModeDevice })}, "it is neither a file nor a directory nor a link: Drw-r--r--", nil},
		{"pipe", []layer.File{with(func(f *layer.File) { f.Mode |= fs.ModeNamedPipe })}, "it is neither a file nor a directory nor a link: prw-r--r--", nil},
		{"link to nothing", []layer.File{link("/x", "")}, "writing layer entry /x: it is a link to nothing", nil},
		{"file has grown", []layer.File{with(func(f *layer.File) { f.Size = 4 })}, "writing layer entry /x: the file changed while it was read: it has more than 4 bytes", nil},
		{"file was empty", []layer.File{with(func(f *layer.File) { f.Size = 0 })}, "the file changed while it was read: it has more than 0 bytes", nil},
		{"file has shrunk", []layer.File{with(func(f *layer.File) { f.Size = 6 })}, "writing layer entry /x: the file changed while it was read: it has 5 bytes of 6", io.ErrUnexpectedEOF},
		{"file is empty", []layer.File{with(func(f *layer.File) { f.Open = opener(nil) })}, "it has 0 bytes of 5", io.ErrUnexpectedEOF},
		{"cannot be opened", []layer.File{with(func(f *layer.File) {
			f.Open = func() (io.ReadCloser, error) { return nil, errBroken }
		})}, "writing layer entry /x: broken", errBroken},
		{"cannot be read", []layer.File{with(func(f *layer.File) {
			f.Open = func() (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader("123"), iotest.ErrReader(errBroken))), nil
			}
		})}, "writing layer entry /x: broken", errBroken},
	}
	for _, tt := range tests {
		for _, algorithm := range []string{layer.Gzip, layer.Zstd, layer.None} {
			t.Run(tt.name+"/"+algorithm, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					info, err := layer.Write(t.Context(), io.Discard, tt.files, layer.Options{Compression: layer.Compression{Algorithm: algorithm}})
					wantError(t, err, tt.want)
					if tt.is != nil && !errors.Is(err, tt.is) {
						t.Errorf("got error %v, want one that is %v", err, tt.is)
					}
					if strings.Contains(fmt.Sprint(err), "\n") {
						t.Errorf("the error says more than one thing: %q", err)
					}
					if info.DiffID != (v1.Hash{}) {
						t.Errorf("%+v beside the error", info)
					}
				})
			})
		}
	}
}

// closing tells whether a file was closed.
type closing struct {
	io.Reader
	closed *bool
}

func (c closing) Close() error {
	*c.closed = true
	return nil
}

func TestWriteClosesFiles(t *testing.T) {
	for name, size := range map[string]int64{"well": 5, "failed": 4} {
		t.Run(name, func(t *testing.T) {
			closed := false
			f := layer.File{Path: "/x", Mode: 0o644, Size: size, Open: func() (io.ReadCloser, error) {
				return closing{strings.NewReader("12345"), &closed}, nil
			}}
			_, err := layer.Write(t.Context(), io.Discard, []layer.File{f}, layer.Options{})
			if (err == nil) != (name == "well") || !closed {
				t.Errorf("error %v, closed %t", err, closed)
			}
		})
	}
}

// A build that is cancelled says why, and reads no further.
func TestWriteCancelled(t *testing.T) {
	for _, algorithm := range []string{layer.Gzip, layer.Zstd, layer.None} {
		t.Run(algorithm, func(t *testing.T) {
			o := layer.Options{Compression: layer.Compression{Algorithm: algorithm}, Jobs: 2}
			ctx, cancel := context.WithCancelCause(t.Context())
			var read int
			f := file("/x", 0o644, server())
			f.Open = func() (io.ReadCloser, error) {
				return io.NopCloser(readerFunc(func(p []byte) (int, error) {
					if read++; read == 3 {
						cancel(errBroken)
					}
					return len(p), nil
				})), nil
			}
			_, err := layer.Write(ctx, io.Discard, []layer.File{f}, o)
			wantError(t, err, "writing layer entry /x: broken")
			if !errors.Is(err, errBroken) || read != 3 {
				t.Errorf("got error %v after %d reads, want the cause after 3", err, read)
			}
			if _, err = layer.Write(ctx, io.Discard, []layer.File{dir("/d", 0o755)}, o); !errors.Is(err, errBroken) {
				t.Errorf("got error %v from what was cancelled before, want the cause", err)
			}
		})
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// failing takes a number of bytes.
type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		n := f.left
		f.left = 0
		return n, errBroken
	}
	f.left -= len(p)
	return len(p), nil
}

// fewFiles are still several blocks.
func fewFiles() []layer.File {
	return []layer.File{dir("/app", 0o755), file("/app/server", 0o755, server()[:2<<20+1])}
}

// A disk that is full at any byte is an error, said once. The bubble waits for
// every goroutine of the compression, and fails on those that wait forever.
func TestWriterFails(t *testing.T) {
	few := fewFiles()
	for _, algorithm := range []string{layer.Gzip, layer.Zstd, layer.None} {
		blob, _ := write(t, few, layer.Options{Compression: layer.Compression{Algorithm: algorithm}, Jobs: 2})
		last := len(blob) - 1
		for _, at := range []int{0, 9, 10, 500, last / 2, last - 2000, last - 8, last - 7, last - 4, last} {
			content := few
			if at <= 500 {
				content = files() // the error is there long before the end
			}
			for _, jobs := range []int{1, 8} {
				t.Run(fmt.Sprintf("%s/byte %d/jobs %d", algorithm, at, jobs), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						o := layer.Options{Compression: layer.Compression{Algorithm: algorithm}, Jobs: jobs}
						_, err := layer.Write(t.Context(), &failing{left: at}, content, o)
						if !errors.Is(err, errBroken) || strings.Count(err.Error(), "broken") != 1 || !strings.HasPrefix(err.Error(), "writing layer") {
							t.Errorf("got error %v, want the writer's, once", err)
						}
					})
				})
			}
		}
	}
}

// A v1.Layer is what was written, and making one reads nothing.
func TestNew(t *testing.T) {
	for _, algorithm := range []string{layer.Gzip, layer.Zstd, layer.None} {
		t.Run(algorithm, func(t *testing.T) {
			content, info := write(t, fewFiles(), layer.Options{Compression: layer.Compression{Algorithm: algorithm}, Jobs: 2})
			opened := 0
			l, err := layer.New(layer.Blob{Info: info, Digest: digest(content), Size: int64(len(content)), Open: func() io.ReadCloser {
				opened++
				return io.NopCloser(bytes.NewReader(content))
			}})
			if err != nil {
				t.Fatal(err)
			}
			wantHash(t, "digest", l.Digest, digest(content))
			wantHash(t, "diffID", l.DiffID, info.DiffID)
			if size, err := l.Size(); size != int64(len(content)) || err != nil {
				t.Errorf("size %d, %v, want %d", size, err, len(content))
			}
			if mt, err := l.MediaType(); mt != info.MediaType || err != nil {
				t.Errorf("media type %s, %v, want %s", mt, err, info.MediaType)
			}
			if opened != 0 {
				t.Errorf("the blob was opened %d times for what is known", opened)
			}
			rc, err := l.Compressed()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(rc)
			if err := errors.Join(err, rc.Close()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, content) || opened != 1 {
				t.Errorf("%d bytes in %d readings, want the blob as it is", len(got), opened)
			}
			rc, err = l.Uncompressed()
			if err != nil {
				t.Fatal(err)
			}
			if got, _, err := v1.SHA256(rc); got != info.DiffID || err != nil {
				t.Errorf("uncompressed it is %s, %v, want %s", got, err, info.DiffID)
			}
			if err := rc.Close(); err != nil {
				t.Error(err)
			}
			if algorithm != layer.Gzip {
				return // validate knows no other
			}
			if err := validate.Layer(l); err != nil {
				t.Error(err)
			}
		})
	}
}

func wantHash(t *testing.T, what string, get func() (v1.Hash, error), want v1.Hash) {
	t.Helper()
	if got, err := get(); got != want || err != nil {
		t.Errorf("%s %s, %v, want %s", what, got, err, want)
	}
}

// A layer of any size takes the same memory.
func TestWriteMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
	const size, limit = 200 << 20, 40 << 20
	pattern := program(1 << 20)
	for _, algorithm := range []string{layer.Gzip, layer.Zstd, layer.None} {
		t.Run(algorithm, func(t *testing.T) {
			var most, read uint64
			f := layer.File{Path: "/x", Mode: 0o644, Size: size, Open: func() (io.ReadCloser, error) {
				return io.NopCloser(io.LimitReader(readerFunc(func(p []byte) (int, error) {
					n := copy(p, pattern[read%uint64(len(pattern)):])
					if read += uint64(n); read%(32<<20) == 0 {
						most = max(most, liveHeap())
					}
					return n, nil
				}), size)), nil
			}}
			before := liveHeap()
			_, err := layer.Write(t.Context(), io.Discard, []layer.File{f}, layer.Options{Compression: layer.Compression{Algorithm: algorithm}, Jobs: 2})
			if err != nil {
				t.Fatal(err)
			}
			if most == 0 {
				t.Fatal("nothing was measured")
			}
			t.Logf("%d MiB at most", (most-before)>>20)
			if most > before+limit {
				t.Errorf("the heap grew by %d MiB for %d MiB of content, want at most %d", (most-before)>>20, size>>20, limit>>20)
			}
		})
	}
}

// liveHeap collects twice, since what is in a sync.Pool outlives the first time.
func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkWrite(b *testing.B) {
	content := program(64 << 20)
	for _, c := range []layer.Compression{{Algorithm: layer.Gzip}, {Algorithm: layer.Gzip, Level: 1}, {Algorithm: layer.Zstd}, {Algorithm: layer.None}} {
		b.Run(fmt.Sprintf("%s:%d", c.Algorithm, c.Level), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(content)))
			o := layer.Options{Compression: c, Epoch: epoch, Jobs: runtime.GOMAXPROCS(0)}
			for b.Loop() {
				if _, err := layer.Write(b.Context(), io.Discard, []layer.File{file("/app/server", 0o755, content)}, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
