package plan_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

func at(line int, text string) *plan.Position {
	return &plan.Position{File: "Dockerfile", Line: line, EndLine: line, Text: text}
}

// dockerfileStages have a value in every field of the steps that only a
// Dockerfile has.
func dockerfileStages() []plan.Stage {
	amd64 := platform("amd64", "")
	return []plan.Stage{
		{Name: "build", Base: "golang", Platform: &amd64, Position: at(1, "FROM golang AS build"), Steps: []plan.Step{
			{MakeDir: &plan.MakeDir{Path: "/src", User: "app"}, Position: at(2, "WORKDIR /src")},
			{Run: &plan.Run{
				Script: "go build", Lines: []plan.Line{{Offset: 0, Line: 3}, {Offset: 3, Line: 4}}, Shell: []string{"/bin/ash", "-c"},
				Env: []string{"A=1"}, Dir: "/src", User: "app", Network: "none", Security: "insecure", Devices: []string{"gpu"},
				Files: []plan.Inline{{Name: "EOF", Data: "#!/bin/sh\n"}},
				Mounts: []plan.Mount{
					{Type: plan.MountBind, Target: "/m", Source: "/s", FromKind: plan.FromContext, ReadOnly: true},
					{Type: plan.MountCache, Target: "/c", From: "alpine", FromKind: plan.FromImage, ID: "c", Sharing: "locked", Mode: "0700", UID: 1, GID: 2},
					{Type: plan.MountTmpfs, Target: "/t", Size: 1 << 20},
					{Type: plan.MountSecret, ID: "s", Env: "S", Required: true},
					{Type: plan.MountSSH, Target: "/run/buildkit/ssh_agent.0", ID: "default"},
				},
			}},
			{Run: &plan.Run{Exec: []string{"go", "version"}, Dir: "/"}},
		}},
		{Name: "1", Base: "build", Steps: []plan.Step{
			{Files: &plan.Files{
				From: "build", FromKind: plan.FromStage, Sources: []string{"/a*"}, Inline: []plan.Inline{{Name: "f", Data: "x\n"}},
				Dest: "/b/", Owner: "a:b", Mode: "u+x,go=", Link: true, Parents: true, Exclude: []string{"*.md"},
			}},
			{Files: &plan.Files{
				FromKind: plan.FromContext, Sources: []string{"https://example.com/x.tar"}, Dest: "/", Add: true,
				Checksum: "sha256:0", KeepGitDir: true, Unpack: ptr(false),
			}},
			{Config: &plan.Config{
				Healthcheck: &v1.HealthConfig{Test: []string{"NONE"}}, StartInterval: time.Second, Shell: []string{"/bin/ash"},
				OnBuild: []string{"RUN x"}, ArgsEscaped: true, Author: "me",
			}},
			{Config: &plan.Config{OnBuild: []string{}}},
		}},
	}
}

func TestDockerfileStagesJSON(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "dockerfile.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(dockerfileStages(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	var back []plan.Stage
	if err := json.Unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dockerfileStages(), back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestRunLineAt(t *testing.T) {
	run := plan.Run{Script: "a && b\nc", Lines: []plan.Line{{Offset: 0, Line: 3}, {Offset: 5, Line: 5}, {Offset: 7, Line: 6}}}
	for offset, want := range map[int]int{0: 3, 4: 3, 5: 5, 6: 5, 7: 6, 100: 6, -1: 0} {
		if got := run.LineAt(offset); got != want {
			t.Errorf("offset %d is in line %d, want %d", offset, got, want)
		}
	}
	if got := (&plan.Run{Script: "a"}).LineAt(0); got != 0 {
		t.Errorf("line %d of a script without any", got)
	}
}

func TestPositionString(t *testing.T) {
	if got := at(7, "COPY a b").String(); got != "Dockerfile:7" {
		t.Errorf("got %s", got)
	}
}

func TestValidateDockerfileStages(t *testing.T) {
	p := validPlan(t)
	p.Images[0].Stages = dockerfileStages()
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateDockerfileErrors(t *testing.T) {
	var zero v1.Platform
	type stages = []plan.Stage
	run := func(s stages) *plan.Run { return s[0].Steps[1].Run }
	mount := func(s stages, i int) *plan.Mount { return &run(s).Mounts[i] }
	files := func(s stages) *plan.Files { return s[1].Steps[0].Files }
	add := func(s stages) *plan.Files { return s[1].Steps[1].Files }
	config := func(s stages) *plan.Config { return s[1].Steps[2].Config }
	tests := []struct {
		name  string
		spoil func(s stages)
		want  string
	}{
		{"stage without a base", func(s stages) { s[0].Base = "" }, "stage build: Dockerfile:2: a stage without a base only compiles"},
		{"empty platform", func(s stages) { s[0].Platform = &zero }, "stage build: malformed platform"},
		{"platform that is not normal", func(s stages) { s[0].Platform.Variant = "v1" }, "stage build: platform linux/amd64/v1 is written linux/amd64"},
		{"two things", func(s stages) { s[0].Steps[0].Run = &plan.Run{} }, "Dockerfile:2: step does several things"},
		{"copy of the flags", func(s stages) { s[0].Steps[0] = plan.Step{Copy: &plan.Copy{}} }, "only the last stage copies"},

		{"relative directory to make", func(s stages) { s[0].Steps[0].MakeDir.Path = "src" }, `making a directory: malformed directory "src"`},
		{"user that is no text", func(s stages) { s[0].Steps[0].MakeDir.User = "\xff" }, `malformed user "\xff": it is not UTF-8`},

		{"script and words", func(s stages) { run(s).Exec = []string{"a"} }, "running a command: it has both a script and words"},
		{"no words", func(s stages) { s[0].Steps[2].Run.Exec = []string{} }, "it has no words"},
		{"shell of no words", func(s stages) { run(s).Shell = []string{} }, "the shell has no words"},
		{"script that is no text", func(s stages) { run(s).Script = "\x00" }, "malformed script"},
		{"word that is no text", func(s stages) { s[0].Steps[2].Run.Exec[0] = "\x00" }, "malformed command"},
		{"no working directory", func(s stages) { run(s).Dir = "" }, "malformed working directory"},
		{"variable without a value", func(s stages) { run(s).Env[0] = "A" }, "malformed env"},
		{"unknown network", func(s stages) { run(s).Network = "bridge" }, `unknown network "bridge"`},
		{"unknown security", func(s stages) { run(s).Security = "sandbox" }, `unknown security "sandbox"`},
		{"file elsewhere", func(s stages) { run(s).Files[0].Name = "../x" }, `"../x" is not the name of a file`},
		{"lines in disorder", func(s stages) { run(s).Lines[0].Offset = 9 }, "the lines of the script are not in order"},

		{"unknown mount", func(s stages) { mount(s, 0).Type = "x" }, `mounting /m: unknown type "x"`},
		{"bind of nothing", func(s stages) { mount(s, 0).FromKind = "" }, "mounting /m: it has no source"},
		{"bind with an owner", func(s stages) { mount(s, 0).UID = 1 }, "a bind has no mode and owner"},
		{"bind of no stage", func(s stages) { mount(s, 0).FromKind = plan.FromStage }, "there is no earlier stage"},
		{"cache without an ID", func(s stages) { mount(s, 1).ID = "" }, "mounting /c: it has no ID"},
		{"cache with an unknown sharing", func(s stages) { mount(s, 1).Sharing = "x" }, `unknown sharing "x"`},
		{"cache with a mode", func(s stages) { mount(s, 1).Mode = "8" }, `mode "8" is neither octal`},
		{"cache with a negative owner", func(s stages) { mount(s, 1).GID = -1 }, "a negative number"},
		{"mount over everything", func(s stages) { mount(s, 2).Target = "/" }, "nothing of the stage would be left"},
		{"mount at a relative path", func(s stages) { mount(s, 2).Target = "t" }, `malformed target "t"`},
		{"tmpfs with a source", func(s stages) { mount(s, 2).Source = "/x" }, "a tmpfs has no source"},
		{"tmpfs that is a variable", func(s stages) { mount(s, 2).Env = "X" }, "a tmpfs is no variable"},
		{"secret that is nowhere", func(s stages) { mount(s, 3).Env = "" }, `malformed target ""`},

		{"no source", func(s stages) { files(s).Sources, files(s).Inline = nil, nil }, "copying to /b/: no source"},
		{"empty source", func(s stages) { files(s).Sources[0] = "" }, "no source"},
		{"relative destination", func(s stages) { files(s).Dest = "b" }, `malformed destination "b"`},
		{"destination above", func(s stages) { files(s).Dest = "/../b" }, "it has .. in it"},
		{"from no stage", func(s stages) { files(s).From = "nope" }, "there is no earlier stage nope"},
		{"from its own stage", func(s stages) { files(s).From = "1" }, "there is no earlier stage 1"},
		{"from no image", func(s stages) { files(s).From, files(s).FromKind = "", plan.FromImage }, "no image to copy from"},
		{"from no kind", func(s stages) { files(s).FromKind = "" }, `unknown kind of source ""`},
		{"mode that is too large", func(s stages) { files(s).Mode = "10000" }, `mode "10000" is neither octal`},
		{"mode that is neither", func(s stages) { files(s).Mode = "u+y" }, `mode "u+y" is neither`},
		{"owner that is no text", func(s stages) { files(s).Owner = "\xff" }, "malformed owner"},
		{"two files of a name", func(s stages) { files(s).Inline = append(files(s).Inline, files(s).Inline[0]) }, "two files are called f"},
		{"file without a name", func(s stages) { files(s).Inline[0].Name = "" }, `"" is not the name of a file`},
		{"checksum of a copy", func(s stages) { files(s).Checksum = "x" }, "only ADD has --checksum"},
		{"add from a stage", func(s stages) { add(s).From, add(s).FromKind = "build", plan.FromStage }, "only COPY has --from"},

		{"shell of the config without words", func(s stages) { config(s).Shell = []string{} }, "the shell has no words"},
		{"trigger that is no text", func(s stages) { config(s).OnBuild[0] = "\xff" }, "malformed trigger"},
		{"author that is no text", func(s stages) { config(s).Author = "\xff" }, "malformed author"},
		{"negative interval", func(s stages) { config(s).StartInterval = -1 }, "start interval -1ns is negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := validPlan(t)
			p.Images[0].Stages = dockerfileStages()
			tt.spoil(p.Images[0].Stages)
			wantError(t, p.Validate(), tt.want)
		})
	}
}
