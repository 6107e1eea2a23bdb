package builder_test

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	ggcrregistry "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

// Damaged layers are noticed while they are written or pushed, at the latest,
// made anew, and never given out.
func TestDamagedLayers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"f": strings.Repeat("some text ", 1000), "g": "x"})
	p := serverPlan(dir, plan.Static, copyStep(t, "f:/etc/f"), copyStep(t, "g:/etc/g"))
	p.Images[0].Tags = []string{"server:latest"}
	fresh, _ := newBuilder(t, dir)
	want := archiveOf(t, fresh, p)

	tests := map[string]struct {
		output func(t *testing.T) (out builder.Output, got func() []byte)
		// twice says that the damage is found in the middle of writing.
		twice bool
	}{
		"archive": {func(t *testing.T) (builder.Output, func() []byte) {
			file := filepath.Join(t.TempDir(), "image.tar")
			return &output.Archive{Path: file, Docker: true}, func() []byte {
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				return raw
			}
		}, true},
		"stream": {func(*testing.T) (builder.Output, func() []byte) {
			var out bytes.Buffer
			return &output.Archive{Writer: &out, Docker: true}, out.Bytes
		}, true},
		"layout": {func(t *testing.T) (builder.Output, func() []byte) {
			return &output.Layout{Dir: filepath.Join(t.TempDir(), "layout")}, nil
		}, true},
		"registry": {func(t *testing.T) (builder.Output, func() []byte) {
			s := httptest.NewServer(ggcrregistry.New(ggcrregistry.Logger(discard)))
			t.Cleanup(s.Close)
			p.Images[0].Tags = []string{strings.TrimPrefix(s.URL, "http://") + "/server:latest"}
			return &output.Registry{Client: &registry.Client{}}, nil
		}, true},
		"none": {func(*testing.T) (builder.Output, func() []byte) { return nil, nil }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p.Images[0].Tags = []string{"server:latest"}
			b, _ := newBuilder(t, dir)
			build(t, b, p)
			damage(t, filepath.Join(b.Cache.Dir(), "blobs", "sha256"))
			var mu sync.Mutex
			var layers []string
			b.Progress = func(e event.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Phase == event.Layer && e.State == event.Done {
					layers = append(layers, e.Subject+" "+e.Text)
				}
			}
			out, got := tt.output(t)
			var outputs []builder.Output
			if out != nil {
				outputs = []builder.Output{out}
			}
			build(t, b, p, outputs...)
			made := []string{"/etc/f ", "/etc/g ", "/app/server "}
			if tt.twice {
				made = slices.Concat([]string{"/etc/f cached", "/etc/g cached", "/app/server cached"}, made)
			}
			if diff := cmp.Diff(made, layers); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
			if got != nil && !bytes.Equal(got(), want) {
				t.Error("the archive is another one")
			}
		})
	}
}

// A blob that was cut short is not relied on at all: what describes the image
// would be wrong.
func TestTruncatedLayers(t *testing.T) {
	dir := t.TempDir()
	p := serverPlan(dir, plan.Static)
	b, _ := newBuilder(t, dir)
	want := archiveOf(t, b, p)
	blobs := filepath.Join(b.Cache.Dir(), "blobs", "sha256")
	entries, err := os.ReadDir(blobs)
	if err != nil || len(entries) == 0 {
		t.Fatal("nothing to cut", err)
	}
	for _, e := range entries {
		if err := os.Truncate(filepath.Join(blobs, e.Name()), 10); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archiveOf(t, b, p), want) {
		t.Error("the archive is another one")
	}
}

// A changed binary takes what has not changed of it from the layer before. Where
// that is damaged or gone it does not, and makes no difference but in time.
func TestBlocks(t *testing.T) {
	dir := t.TempDir()
	content := func(change string) string {
		name := fakeBinary(t, 100_000)
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		copy(raw[2_000_000:], change)
		if err := os.WriteFile(name, raw, 0o700); err != nil {
			t.Fatal(err)
		}
		return name
	}
	p := serverPlan(dir, plan.Static)
	fresh, fake := newBuilder(t, dir)
	fake.binary = content("changed")
	want := archiveOf(t, fresh, p)
	for name, change := range map[string]func(t *testing.T, cache string){
		"as it was": func(*testing.T, string) {},
		"damaged":   func(t *testing.T, cache string) { damage(t, filepath.Join(cache, "blobs", "sha256")) },
		"gone": func(t *testing.T, cache string) {
			if err := os.RemoveAll(filepath.Join(cache, "blobs")); err != nil {
				t.Fatal(err)
			}
		},
		"of another layer": func(t *testing.T, cache string) {
			// A record says which blob its blocks are in.
			records := filepath.Join(cache, "records", "blocks")
			entries, err := os.ReadDir(records)
			if err != nil || len(entries) == 0 {
				t.Fatal("no blocks are remembered", err)
			}
			damage(t, records)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, fake := newBuilder(t, dir)
			fake.binary = content("")
			if bytes.Equal(archiveOf(t, b, p), want) {
				t.Fatal("the change makes no difference")
			}
			change(t, b.Cache.Dir())
			fake.binary = content("changed")
			if !bytes.Equal(archiveOf(t, b, p), want) {
				t.Error("the archive is another one")
			}
		})
	}
}

var discard = log.New(io.Discard, "", 0)
