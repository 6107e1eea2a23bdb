package limit_test

import (
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stagectl/stagectl/builder/limit"
)

func TestUnpack(t *testing.T) {
	const gib = 1 << 30
	for packed, most := range map[int64]int64{
		0: gib, -1: gib, 1000: gib, // zeros are real
		4 << 20: gib, 4<<20 + 1: gib + 256,
		50 << 20:  50 * gib / 4, // an image with CUDA
		10 * gib:  256 * gib,
		300 * gib: 256 * gib, math.MaxInt64: 256 * gib,
	} {
		b := limit.Unpack(packed)
		if err := b.Take(most); err != nil {
			t.Errorf("%d bytes do not unpack to %d: %v", packed, most, err)
		}
		if err := b.Take(1); err == nil {
			t.Errorf("%d bytes unpack to more than %d", packed, most)
		}
	}
}

func TestReader(t *testing.T) {
	b := limit.Unpack(0)
	if err := b.Take(limit.Free - 10); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b.Reader(strings.NewReader("0123456789"))); string(got) != "0123456789" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	// What was read before counts, and an error stays.
	for range 2 {
		got, err := io.ReadAll(b.Reader(strings.NewReader("x")))
		if want := "it unpacks to more than 1073741824 bytes, which is the limit for its size"; len(got) > 0 || err == nil || err.Error() != want {
			t.Errorf("read %q, %v, want error %s", got, err, want)
		}
	}
}

func TestNoLimit(t *testing.T) {
	var b *limit.Budget
	if err := b.Take(math.MaxInt64); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(b.Reader(strings.NewReader("x"))); string(got) != "x" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}
