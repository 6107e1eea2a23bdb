package cache_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzRecord has any content in the place of a record: as it is, or with the sum
// in front that it should have. What is read is either what was written, or
// something that says by its own sum and key that it was.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"key":"key","value":{"Name":"x"}}`), true)
	f.Add([]byte(`{"key":"other","value":{"Name":"x"}}`), true)
	f.Add([]byte(`{"key":"key","value":null}`), true)
	f.Add([]byte(`{"KEY":"key","key":"key","value":[]}`), true)
	f.Add([]byte(`{"key":"key"}`), true)
	f.Add([]byte("null"), true)
	f.Add([]byte("\n"), false)
	f.Add([]byte("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"), false)
	c := open(f, f.TempDir())
	want := value{Name: "x", Sizes: []int64{1, 2}}
	write := func(t testing.TB) string {
		if err := c.SetRecord("kind", "key", want); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(c.Dir(), "records", files(t, c.Dir(), "records")[0])
	}
	right, err := os.ReadFile(write(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte, signed bool) {
		if signed {
			sum := sha256.Sum256(content)
			content = append([]byte(hex.EncodeToString(sum[:])+"\n"), content...)
		}
		writeFile(t, write(t), content)
		var got value
		_, raw, _ := bytes.Cut(content, []byte("\n"))
		var rec struct{ Key string }
		ours := bytes.Equal(content, right) || signed && json.Unmarshal(raw, &rec) == nil && rec.Key == "key"
		if c.Record("kind", "key", &got) && !ours {
			t.Errorf("%q is read as %+v", content, got)
		}
		// Whatever it was, it does not stand in the way.
		write(t)
		got = value{}
		if !c.Record("kind", "key", &got) || !cmp.Equal(got, want) {
			t.Errorf("after %q, what is written is read as %+v", content, got)
		}
	})
}

// FuzzRecordDamage changes one byte of a record, or cuts it there: that is always
// noticed.
func FuzzRecordDamage(f *testing.F) {
	f.Add(uint(0), byte(1), false)
	f.Add(uint(64), byte('\n'^'\r'), false)
	f.Add(uint(70), byte(0x20), false)
	f.Add(uint(100), byte(0x80), false)
	f.Add(uint(90), byte(0), true)
	c := open(f, f.TempDir())
	f.Fuzz(func(t *testing.T, at uint, change byte, cut bool) {
		if err := c.SetRecord("kind", "key", value{Name: "x", Sizes: []int64{1, 2}}); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(c.Dir(), "records", files(t, c.Dir(), "records")[0])
		raw := readFile(t, name)
		at %= uint(len(raw))
		damaged := bytes.Clone(raw)
		if damaged[at] ^= change; cut {
			damaged = damaged[:at]
		}
		if bytes.Equal(damaged, raw) {
			return
		}
		writeFile(t, name, damaged)
		var got value
		if c.Record("kind", "key", &got) {
			t.Errorf("the record is read as %+v with byte %d changed by %d, cut off there: %v", got, at, change, cut)
		}
	})
}
