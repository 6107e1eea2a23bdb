package layer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/pgzip"

	"github.com/stagectl/stagectl/builder/layer"
)

// TestGzipIsPgzip holds the writer to the bytes that images had before it.
func TestGzipIsPgzip(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	content := make([]byte, 3*layer.GzipBlock+layer.GzipBlock/2)
	for i := range content {
		v := random.Uint64()
		if content[i] = byte(v & (v >> 8) & 7); i%layer.GzipBlock < layer.GzipTail {
			content[i] = byte(v) // cannot be compressed
		}
	}
	for _, size := range []int{0, 1, layer.GzipTail, layer.GzipTail + 1, layer.GzipBlock - 1, layer.GzipBlock, layer.GzipBlock + 1, 2 * layer.GzipBlock, len(content)} {
		if raceEnabled && size > layer.GzipBlock+1 {
			continue
		}
		levels := []int{layer.GzipLevel}
		if size == layer.GzipBlock+1 && !raceEnabled {
			levels = []int{1, 2, 6, 9}
		}
		for _, level := range levels {
			t.Run(fmt.Sprintf("%d bytes, level %d", size, level), func(t *testing.T) {
				t.Parallel()
				var want bytes.Buffer
				zw, err := pgzip.NewWriterLevel(&want, level)
				if err != nil {
					t.Fatal(err)
				}
				zw.ModTime = time.Unix(0, 0)
				if err := zw.SetConcurrency(layer.GzipBlock, 2); err != nil {
					t.Fatal(err)
				}
				_, err = zw.Write(content[:size])
				if err := errors.Join(err, zw.Close()); err != nil {
					t.Fatal(err)
				}
				for _, jobs := range []int{1, 3} {
					var got bytes.Buffer
					z := layer.NewGzipWriter(&got, level, jobs, nil)
					for rest := content[:size]; len(rest) > 0; {
						n := min(len(rest), 100_000*jobs)
						if _, err := z.Write(rest[:n]); err != nil {
							t.Fatal(err)
						}
						rest = rest[n:]
					}
					if err := z.Close(); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got.Bytes(), want.Bytes()) {
						t.Errorf("%d jobs: %d bytes, want the %d of pgzip", jobs, got.Len(), want.Len())
					}
				}
			})
		}
	}
}

// failAfter is a writer that takes n writes.
type failAfter struct{ n int }

var errFull = errors.New("full")

func (f *failAfter) Write(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// A writer that fails ends all, wherever it does, and leaves nobody waiting.
func TestGzipFails(t *testing.T) {
	content := make([]byte, 8*layer.GzipBlock)
	for n := range 10 {
		z := layer.NewGzipWriter(&failAfter{n}, 1, 2, nil)
		_, err := io.Copy(z, bytes.NewReader(content))
		if err != nil && !errors.Is(err, errFull) {
			t.Errorf("after %d: %v", n, err)
		}
		if err := z.Close(); !errors.Is(err, errFull) {
			t.Errorf("closing after %d: %v", n, err)
		}
	}
}
