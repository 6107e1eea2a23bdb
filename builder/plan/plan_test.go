package plan_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// fullPlan has a value in every field.
func fullPlan() *plan.Plan {
	config := everything()
	return &plan.Plan{
		Dir:         "/src",
		Epoch:       time.Unix(1700000000, 0).UTC(),
		Compression: plan.Compression{Algorithm: "zstd", Level: 9},
		Images: []plan.Image{{
			Name:             "server",
			Tags:             []string{"server:latest"},
			Platforms:        []v1.Platform{platform("amd64", ""), platform("arm", "v7")},
			Annotations:      map[string]string{"a": "1"},
			IndexAnnotations: map[string]string{"i": "2"},
			AllowDynamic:     true,
			Stages: []plan.Stage{
				{Name: "build", Steps: []plan.Step{
					{Compile: &plan.Compile{
						Dir: "/src", Package: "example.com/server", Binary: "server", Output: "/app/server",
						Settings: plan.GoSettings{LDFlags: "-X main.v=1", Tags: "netgo", Debug: true},
					}},
					{Compile: &plan.Compile{Dir: "/src", Files: []string{"a.go", "b.go"}, Binary: "a", Output: "/app/a"}},
				}},
				{Name: "server", Base: "alpine", Steps: []plan.Step{
					{Copy: &plan.Copy{From: "build", Source: "/app/server", Dest: "/app/server"}},
					{Copy: &plan.Copy{Source: "assets", Dest: "/assets/", Mode: ptr(0o644 | fs.ModeSetgid), UID: 1, GID: 2}},
					{Config: &config},
					{Config: &plan.Config{Entrypoint: []string{}, Cmd: []string{}}},
				}},
			},
		}},
	}
}

// The JSON of a plan is what `stagectl plan` prints, and scripts read.
func TestPlanJSON(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(fullPlan(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	var back plan.Plan
	if err := json.Unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullPlan(), &back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

// Entrypoint and Cmd that are not given say another thing than empty ones.
func TestConfigJSONOfNothing(t *testing.T) {
	raw, err := json.Marshal(plan.Step{Config: &plan.Config{}})
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != `{"config":{}}` {
		t.Errorf("got %s", raw)
	}
}

func TestFinal(t *testing.T) {
	if got := fullPlan().Images[0].Final(platform("amd64", "")).Name; got != "server" {
		t.Errorf("the final stage is %s, want the last", got)
	}
}

// What a Dockerfile makes of an image differs from platform to platform.
func TestVariants(t *testing.T) {
	amd64, arm := platform("amd64", ""), platform("arm", "v7")
	img := plan.Image{Platforms: []v1.Platform{amd64, arm}, Variants: []plan.Variant{
		{Platform: amd64, Stages: []plan.Stage{{Name: "a"}}},
		{Platform: arm, Stages: []plan.Stage{{Name: "b"}, {Name: "c"}}},
	}}
	if got := img.Final(amd64).Name; got != "a" {
		t.Errorf("amd64 ends with %s", got)
	}
	if got := img.Final(arm).Name; got != "c" {
		t.Errorf("arm ends with %s", got)
	}
	if got := img.StagesFor(platform("arm64", "")); got != nil {
		t.Errorf("arm64 has stages %v", got)
	}
	raw, err := json.Marshal(img)
	if err != nil {
		t.Fatal(err)
	}
	var back plan.Image
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(img.Variants, back.Variants); diff != "" {
		t.Errorf("through JSON (-want +got):\n%s", diff)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	if _, ok := fields["stages"]; ok {
		t.Errorf("stages beside variants: %s", raw)
	}
}
