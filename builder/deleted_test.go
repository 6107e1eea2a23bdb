package builder_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/plan"
)

// realPlan is that of a program which the real go command compiles.
func realPlan(t *testing.T) *plan.Plan {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"go.mod":  "module example.com/server\n\ngo 1.24\n",
		"main.go": "package main\n\nfunc main() { println(1) }\n",
	})
	return &plan.Plan{
		Dir: dir, Epoch: time.Unix(0, 0).UTC(), Compression: plan.Compression{Algorithm: "gzip"},
		Images: []plan.Image{{
			Name: "server", Tags: []string{"server:latest"}, Platforms: []v1.Platform{amd64},
			Stages: []plan.Stage{
				{Name: "build", Steps: []plan.Step{{Compile: &plan.Compile{
					Dir: dir, Package: "example.com/server", Binary: "server", Output: "/app/server",
				}}}},
				{Name: "server", Base: plan.Static, Steps: []plan.Step{
					{Copy: &plan.Copy{From: "build", Source: "/app/server", Dest: "/app/server"}},
				}},
			},
		}},
	}
}

// The cache may be deleted at any moment of a build. All that costs is time.
func TestCacheDeletedMeanwhile(t *testing.T) {
	p := realPlan(t)
	archive := func(t *testing.T, dir string, when func(event.Event) bool) []byte {
		t.Helper()
		c, err := cache.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		b := builder.Builder{Cache: c, Progress: func(e event.Event) {
			if when != nil && when(e) {
				once.Do(func() {
					for os.RemoveAll(dir) != nil && t.Context().Err() == nil {
						continue // somebody makes a file in it meanwhile
					}
				})
			}
		}}
		file := filepath.Join(t.TempDir(), "image.tar")
		if _, err := b.Build(t.Context(), p, &output.Archive{Path: file, Cache: c}); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	want := archive(t, t.TempDir(), nil)
	for _, phase := range []event.Phase{event.Compile, event.Layer, event.Write} {
		for _, state := range []event.State{event.Started, event.Done} {
			t.Run(string(phase)+" "+string(state), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "cache")
				for _, run := range []string{"cold", "warm", "after"} {
					when := func(e event.Event) bool { return run != "after" && e.Phase == phase && e.State == state }
					if !bytes.Equal(archive(t, dir, when), want) {
						t.Errorf("%s: the archive is another one", run)
					}
				}
			})
		}
	}
}
