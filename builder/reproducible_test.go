package builder_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

// The same sources make the same archive, byte for byte, whatever the host.
func TestReproducible(t *testing.T) {
	files := map[string]string{
		"go.mod":         "module example.com/server\n\ngo 1.21\n",
		"main.go":        "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n",
		"conf/a.conf":    "a",
		"conf/sub/b.txt": "b",
	}
	warm := t.TempDir()
	tests := []struct {
		name  string
		cache string
		setup func(t *testing.T, dir string)
	}{
		{"cold cache", warm, func(*testing.T, string) {}},
		{"warm cache, another directory", warm, func(*testing.T, string) {}},
		{"no cache", t.TempDir(), func(*testing.T, string) {}},
		{"one CPU", t.TempDir(), func(t *testing.T, _ string) {
			before := runtime.GOMAXPROCS(1)
			t.Cleanup(func() { runtime.GOMAXPROCS(before) })
		}},
		{"eight CPUs", t.TempDir(), func(t *testing.T, _ string) {
			before := runtime.GOMAXPROCS(8)
			t.Cleanup(func() { runtime.GOMAXPROCS(before) })
		}},
		{"another time zone and locale", t.TempDir(), func(t *testing.T, _ string) {
			before := time.Local
			time.Local = time.FixedZone("far", 14*3600)
			t.Cleanup(func() { time.Local = before })
			t.Setenv("TZ", "Pacific/Kiritimati")
			t.Setenv("LC_ALL", "tr_TR.UTF-8")
		}},
		{"other modes and times of the files", t.TempDir(), func(t *testing.T, dir string) {
			for name := range files {
				name = filepath.Join(dir, filepath.FromSlash(name))
				if err := os.Chmod(name, 0o664); err != nil {
					t.Fatal(err)
				}
				when := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
				if err := os.Chtimes(name, when, when); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(filepath.Join(dir, "conf", "sub"), 0o777); err != nil {
				t.Fatal(err)
			}
		}},
	}
	var want []byte
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, files)
			tt.setup(t, dir)
			c, err := cache.Open(tt.cache)
			if err != nil {
				t.Fatal(err)
			}
			b := &builder.Builder{
				Cache:    c,
				Compiler: &compile.Compiler{Outputs: c.Links()},
				Bases:    &base.Resolver{Registry: &registry.Client{Offline: true}, Cache: c, Dir: dir},
			}
			p := serverPlan(dir, plan.Static, copyStep(t, "conf:/etc/conf"))
			p.Images[0].Platforms = []v1.Platform{amd64, arm64}
			got := archiveOf(t, b, p)
			if want == nil {
				want = got
			}
			if !bytes.Equal(got, want) {
				t.Error("the archive differs from the first one")
			}
		})
	}
}
