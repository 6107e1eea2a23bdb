package layer_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stagectl/stagectl/builder/layer"
)

// Blocks that have not changed are taken from an earlier layer, and the bytes
// are those that compressing would make.
func TestReuse(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	content := make([]byte, 6<<20)
	for i := range content {
		content[i] = byte(random.Uint64() & 15)
	}
	write := func(content []byte, reuse func(layer.Key, *bytes.Buffer) bool) ([]byte, layer.Info) {
		t.Helper()
		var out bytes.Buffer
		info, err := layer.Write(t.Context(), &out, []layer.File{{
			Path: "/app/x", Mode: 0o755, Size: int64(len(content)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		}}, layer.Options{Epoch: time.Unix(0, 0), Jobs: 2, Reuse: reuse})
		if err != nil {
			t.Fatal(err)
		}
		return out.Bytes(), info
	}
	earlier, info := write(content, nil)
	if len(info.Blocks) != 7 { // the tar is a little longer than its content
		t.Fatalf("got %d blocks", len(info.Blocks))
	}
	changed := bytes.Clone(content)
	changed[2<<20+100] ^= 1        // in the third block, not near its end
	changed[5<<20-100-512] ^= 1    // in the fifth, which the sixth may refer to
	want, _ := write(changed, nil) // compressed as a whole
	var mu sync.Mutex
	found, missed := 0, 0
	got, _ := write(changed, func(key layer.Key, out *bytes.Buffer) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, b := range info.Blocks {
			if b.Key == key {
				found++
				out.Write(earlier[b.Offset : b.Offset+b.Size])
				return true
			}
		}
		missed++
		return false
	})
	if found != 4 || missed != 3 {
		t.Errorf("%d blocks were reused, %d were not", found, missed)
	}
	if !bytes.Equal(got, want) {
		t.Error("the layer is another one than without reuse")
	}
	if bytes.Equal(got, earlier) {
		t.Error("the change made no difference")
	}
}
