package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/pgzip"
)

// TestGzipIsPgzip holds the writer to the bytes that images had before it.
func TestGzipIsPgzip(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	content := make([]byte, 3*gzipBlock+gzipBlock/2)
	for i := range content {
		v := random.Uint64()
		if content[i] = byte(v & (v >> 8) & 7); i%gzipBlock < gzipTail {
			content[i] = byte(v) // cannot be compressed
		}
	}
	for _, size := range []int{0, 1, gzipTail, gzipTail + 1, gzipBlock - 1, gzipBlock, gzipBlock + 1, 2 * gzipBlock, len(content)} {
		for _, level := range []int{1, 2, 6, 9} {
			t.Run(fmt.Sprintf("%d bytes, level %d", size, level), func(t *testing.T) {
				t.Parallel()
				var want bytes.Buffer
				zw, err := pgzip.NewWriterLevel(&want, level)
				if err != nil {
					t.Fatal(err)
				}
				zw.ModTime = time.Unix(0, 0)
				if err := zw.SetConcurrency(gzipBlock, 2); err != nil {
					t.Fatal(err)
				}
				_, err = zw.Write(content[:size])
				if err := errors.Join(err, zw.Close()); err != nil {
					t.Fatal(err)
				}
				for _, jobs := range []int{1, 3} {
					var got bytes.Buffer
					z := newGzipWriter(&got, level, jobs, nil)
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
	content := make([]byte, 8*gzipBlock)
	for n := range 10 {
		z := newGzipWriter(&failAfter{n}, 1, 2, nil)
		_, err := io.Copy(z, bytes.NewReader(content))
		if err != nil && !errors.Is(err, errFull) {
			t.Errorf("after %d: %v", n, err)
		}
		if err := z.Close(); !errors.Is(err, errFull) {
			t.Errorf("closing after %d: %v", n, err)
		}
	}
}
