package cache_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

type value struct {
	Name  string
	Sizes []int64
}

func TestRecord(t *testing.T) {
	keys := map[string]string{
		"plain": "key", "empty": "", "path": "../../../key", "long": strings.Repeat("k", 10_000), "blank": " \n\x00",
	}
	c := open(t, t.TempDir())
	var got value
	for name, key := range keys {
		if c.Record("kind", key, &got) {
			t.Errorf("%s: there is a record in an empty cache", name)
		}
		if err := c.SetRecord("kind", key, value{Name: name, Sizes: []int64{1 << 60}}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.Record("other", key, &got) {
			t.Errorf("%s: there is a record of another kind", name)
		}
	}
	for name, key := range keys {
		got = value{}
		if !c.Record("kind", key, &got) {
			t.Errorf("%s: there is no record", name)
		}
		if diff := cmp.Diff(value{Name: name, Sizes: []int64{1 << 60}}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if err := c.SetRecord("kind", "key", value{Name: "replaced"}); err != nil {
		t.Fatal(err)
	}
	got = value{}
	if !c.Record("kind", "key", &got) || got.Name != "replaced" {
		t.Errorf("the record is %+v, want the last one set", got)
	}
	if err := c.SetRecord("kind", "key", func() {}); err == nil || !strings.HasPrefix(err.Error(), "writing cache record: json: ") {
		t.Errorf("got error %v for what is no JSON", err)
	}
	if diff := cmp.Diff([]string(nil), files(t, c.Dir(), "tmp")); diff != "" {
		t.Errorf("temporary files (-want +got):\n%s", diff)
	}
}

// A record that cannot be read is none, and is no obstacle to the next.
func TestRecordDamaged(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, name string)
	}{
		{"one bit off", func(t *testing.T, name string) {
			raw := readFile(t, name)
			raw[len(raw)-4] ^= 1 // in the value
			writeFile(t, name, raw)
		}},
		{"one bit of the sum off", func(t *testing.T, name string) {
			raw := readFile(t, name)
			raw[0] ^= 1
			writeFile(t, name, raw)
		}},
		{"empty", func(t *testing.T, name string) { writeFile(t, name, nil) }},
		{"truncated", func(t *testing.T, name string) { writeFile(t, name, []byte(`{"key":"key","value":{"Na`)) }},
		{"null", func(t *testing.T, name string) { writeFile(t, name, []byte("null")) }},
		{"without a value", func(t *testing.T, name string) { writeFile(t, name, []byte(`{"key":"key"}`)) }},
		{"value of another type", func(t *testing.T, name string) { writeFile(t, name, []byte(`{"key":"key","value":[1]}`)) }},
		{"of another key", func(t *testing.T, name string) { writeFile(t, name, []byte(`{"key":"yek","value":{"Name":"x"}}`)) }},
		{"binary", func(t *testing.T, name string) { writeFile(t, name, []byte("\x00\xff")) }},
		{"a directory", func(t *testing.T, name string) {
			remove(t, name)
			writeFile(t, filepath.Join(name, "x"), nil)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, t.TempDir())
			if err := c.SetRecord("kind", "key", value{Name: "x"}); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(c.Dir(), "records", files(t, c.Dir(), "records")[0])
			tt.damage(t, name)
			var got value
			if c.Record("kind", "key", &got) {
				t.Errorf("the record is served: %+v", got)
			}
			if _, err := os.Lstat(name); err == nil {
				t.Error("the record is still there")
			}
			if err := c.SetRecord("kind", "key", value{Name: "y"}); err != nil {
				t.Fatal(err)
			}
			if !c.Record("kind", "key", &got) || got.Name != "y" {
				t.Errorf("the record is %+v afterwards", got)
			}
		})
	}
}
