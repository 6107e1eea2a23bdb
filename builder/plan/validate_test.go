package plan_test

import (
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// validPlan has one of everything, in a directory that is absolute here.
func validPlan(t *testing.T) *plan.Plan {
	t.Helper()
	dir, err := filepath.Abs("/src")
	if err != nil {
		t.Fatal(err)
	}
	config := everything()
	return &plan.Plan{
		Dir: dir,
		Images: []plan.Image{
			{
				Name:      "server",
				Tags:      []string{"server:latest", "registry.example.com/team/server:v1"},
				Platforms: []v1.Platform{platform("amd64", ""), platform("arm", "v7")},
				Stages: []plan.Stage{
					{Name: "build", Steps: []plan.Step{
						{Compile: &plan.Compile{Dir: dir, Package: "example.com/server", Binary: "server", Output: "/app/server"}},
						{Compile: &plan.Compile{Dir: dir, Files: []string{"a.go", "b.go"}, Binary: "a", Output: "/app/a"}},
					}},
					{Name: "server", Base: plan.Static, Steps: []plan.Step{
						{Copy: &plan.Copy{From: "build", Source: "/app/server", Dest: "/app/server"}},
						{Copy: &plan.Copy{Source: "assets", Dest: "/", Mode: ptr(0o755 | fs.ModeSticky), UID: 1}},
						{Config: &config},
					}},
				},
			},
			{
				Name: "tool", Tags: []string{"tool"}, Platforms: []v1.Platform{platform("amd64", "")},
				Stages: []plan.Stage{{Name: "tool", Base: plan.Scratch}},
			},
		},
	}
}

func TestValidate(t *testing.T) {
	p := validPlan(t)
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	vary(&p.Images[0])
	p.Contexts = map[string]plan.Context{plan.BuildContext: {Dir: p.Dir}}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
}

// vary has the stages of img once for each platform.
func vary(img *plan.Image) {
	for _, p := range img.Platforms {
		img.Variants = append(img.Variants, plan.Variant{Platform: p, Stages: img.Stages})
	}
	img.Stages = nil
}

func TestValidatePlanErrors(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(p *plan.Plan, first, second *plan.Image)
		want  string
	}{
		{"no images", func(p *plan.Plan, _, _ *plan.Image) { p.Images = nil }, "plan has no images"},
		{"image without a name", func(_ *plan.Plan, first, _ *plan.Image) { first.Name = "" }, "plan has an image without a name"},
		{"one name twice", func(_ *plan.Plan, _, second *plan.Image) { second.Name = "server" }, "two images are called server"},
		{"no tag", func(_ *plan.Plan, first, _ *plan.Image) { first.Tags = nil }, "image server: no tag"},
		{"malformed tag", func(_ *plan.Plan, first, _ *plan.Image) { first.Tags[0] = "Server" }, `image server: malformed tag "Server": `},
		{"one tag on two images", func(_ *plan.Plan, _, second *plan.Image) { second.Tags[0] = "server:latest" }, "images server and tool are both named server:latest"},
		{"one tag in two ways", func(_ *plan.Plan, _, second *plan.Image) { second.Tags[0] = "docker.io/library/server" }, "images server and tool are both named docker.io/library/server"},
		{"one tag twice", func(_ *plan.Plan, first, _ *plan.Image) { first.Tags[1] = "server" }, "image server: tag server is given twice"},
		{"no platform", func(_ *plan.Plan, first, _ *plan.Image) { first.Platforms = nil }, "image server: no platform"},
		{"unknown platform", func(_ *plan.Plan, first, _ *plan.Image) { first.Platforms[0].OS = "windows" }, `image server: unknown platform "windows/amd64"`},
		{"empty platform", func(_ *plan.Plan, first, _ *plan.Image) { first.Platforms[0] = v1.Platform{} }, "image server: malformed platform"},
		{"platform that is not normal", func(_ *plan.Plan, first, _ *plan.Image) { first.Platforms[1].Variant = "" }, "image server: platform linux/arm is written linux/arm/v7"},
		{"one platform twice", func(_ *plan.Plan, first, _ *plan.Image) { first.Platforms[1] = platform("amd64", "") }, "image server: platform linux/amd64 is named twice"},
		{"no stage", func(_ *plan.Plan, first, _ *plan.Image) { first.Stages = nil }, "image server: no stage"},
		{"stage without a name", func(_ *plan.Plan, first, _ *plan.Image) { first.Stages[0].Name = "" }, "image server: stage without a name"},
		{"one stage twice", func(_ *plan.Plan, first, _ *plan.Image) { first.Stages[1].Name = "build" }, "image server: two stages are called build"},
		{"context elsewhere", func(p *plan.Plan, _, _ *plan.Image) { p.Contexts = map[string]plan.Context{"c": {Dir: "x"}} }, `build context c: directory "x" is not absolute`},
		{"stages and variants", func(_ *plan.Plan, first, _ *plan.Image) {
			first.Variants = []plan.Variant{{Platform: first.Platforms[0], Stages: first.Stages}}
		}, "image server: it has both stages and variants"},
		{"variant without stages", func(_ *plan.Plan, first, _ *plan.Image) { vary(first); first.Variants[1].Stages = nil }, "image server: platform linux/arm/v7: no stage"},
		{"variant that is not valid", func(_ *plan.Plan, first, _ *plan.Image) {
			vary(first)
			first.Variants[1].Stages = []plan.Stage{{Name: "x"}}
		}, "image server: platform linux/arm/v7: stage x: the last stage has no base"},
		{"platform without a variant", func(_ *plan.Plan, first, _ *plan.Image) { vary(first); first.Variants = first.Variants[:1] }, "image server: 1 platforms have no variant"},
		{"variants out of order", func(_ *plan.Plan, first, _ *plan.Image) { vary(first); slices.Reverse(first.Variants) }, "image server: the variant for linux/arm/v7 is not that of the platform in its place"},
		{"last stage without a base", func(_ *plan.Plan, first, _ *plan.Image) { first.Stages[1].Base = "" }, "image server: stage server: the last stage has no base"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := validPlan(t)
			tt.spoil(p, &p.Images[0], &p.Images[1])
			wantError(t, p.Validate(), tt.want)
		})
	}
}

func TestValidateStepErrors(t *testing.T) {
	tests := []struct {
		name string
		// spoil gets the steps of both stages: two that compile; a copy from
		// the other stage, one from the context, and the configuration.
		spoil func(build, final []plan.Step)
		want  string
	}{
		{"step of nothing", func(_, final []plan.Step) { final[0] = plan.Step{} }, "stage server: step does nothing"},
		{"step of two things", func(_, final []plan.Step) { final[0].Config = &plan.Config{} }, "stage server: step does several things"},
		{"last stage compiles", func(build, final []plan.Step) { final[0] = build[0] }, "stage server: the last stage compiles: it has to copy from one that does"},
		{"other stage copies", func(build, final []plan.Step) { build[1] = final[1] }, "stage build: only the last stage copies and has a config"},
		{"other stage has a config", func(build, final []plan.Step) { build[1] = final[2] }, "stage build: only the last stage copies and has a config"},

		{"neither package nor files", func(build, _ []plan.Step) { build[0].Compile.Package = "" }, "stage build: compiling : it is either a package or files"},
		{"package and files", func(build, _ []plan.Step) { build[1].Compile.Package = "p" }, "stage build: compiling pa.go b.go: it is either a package or files"},
		{"relative directory", func(build, _ []plan.Step) { build[0].Compile.Dir = "src" }, `compiling example.com/server: directory "src" is not absolute`},
		{"no binary", func(build, _ []plan.Step) { build[0].Compile.Binary = "" }, `compiling example.com/server: "" is not the name of a file`},
		{"binary elsewhere", func(build, _ []plan.Step) { build[0].Compile.Binary = "../server" }, `"../server" is not the name of a file`},
		{"binary above", func(build, _ []plan.Step) { build[0].Compile.Binary = ".." }, `".." is not the name of a file`},
		{"binary elsewhere on Windows", func(build, _ []plan.Step) { build[0].Compile.Binary = `..\server` }, "is not the name of a file"},
		{"no output", func(build, _ []plan.Step) { build[0].Compile.Output = "" }, `compiling example.com/server: malformed output ""`},
		{"relative output", func(build, _ []plan.Step) { build[0].Compile.Output = "app/server" }, `malformed output "app/server": it is an absolute path`},
		{"output with ..", func(build, _ []plan.Step) { build[0].Compile.Output = "/app/../server" }, "it has .. in it"},
		{"output is a directory", func(build, _ []plan.Step) { build[0].Compile.Output = "/app/" }, "compiling example.com/server: output /app/ is a directory"},
		{"output is the root", func(build, _ []plan.Step) { build[0].Compile.Output = "/." }, "output /. is a directory"},
		{"one output twice", func(build, _ []plan.Step) { build[1].Compile.Output = "/app/server" }, "compiling a.go b.go: there is a binary at /app/server already"},

		{"copy of nothing", func(_, final []plan.Step) { final[1].Copy.Source = "" }, "stage server: copying  to /: no source"},
		{"copy to nowhere", func(_, final []plan.Step) { final[1].Copy.Dest = "" }, `copying assets to : malformed destination ""`},
		{"copy to a relative path", func(_, final []plan.Step) { final[1].Copy.Dest = "x" }, `copying assets to x: malformed destination "x": it is an absolute path`},
		{"copy to ..", func(_, final []plan.Step) { final[1].Copy.Dest = "/.." }, "it has .. in it"},
		{"copy from no stage", func(_, final []plan.Step) { final[0].Copy.From = "nope" }, "copying /app/server to /app/server: stage nope makes no /app/server"},
		{"copy from its own stage", func(_, final []plan.Step) { final[0].Copy.From = "server" }, "stage server makes no /app/server"},
		{"copy of what the stage lacks", func(_, final []plan.Step) { final[0].Copy.Source = "/app" }, "stage build makes no /app"},
		{"copy with a mode of a directory", func(_, final []plan.Step) { final[1].Copy.Mode = ptr(fs.ModeDir | 0o755) }, "copying assets to /: mode drwxr-xr-x has more than permission bits"},
		{"copy with a negative owner", func(_, final []plan.Step) { final[1].Copy.UID = -1 }, "copying assets to /: owner -1:0 is negative"},
		{"copy with a negative group", func(_, final []plan.Step) { final[1].Copy.GID = -1 }, "owner 1:-1 is negative"},

		{"malformed env", func(_, final []plan.Step) { final[2].Config.Env[0] = "A" }, `stage server: malformed env "A"`},
		{"malformed label", func(_, final []plan.Step) { final[2].Config.Labels[""] = "x" }, `malformed label "=x": it has no key`},
		{"malformed port", func(_, final []plan.Step) { final[2].Config.Ports[0] = "53/http" }, `malformed port "53/http"`},
		{"port that is not normal", func(_, final []plan.Step) { final[2].Config.Ports[0] = "53" }, `malformed port "53": it is written 53/tcp`},
		{"malformed volume", func(_, final []plan.Step) { final[2].Config.Volumes[0] = "v" }, `malformed volume "v"`},
		{"malformed directory", func(_, final []plan.Step) { final[2].Config.WorkingDir = "w" }, `malformed working directory "w"`},
		{"malformed user", func(_, final []plan.Step) { final[2].Config.User = ":" }, `malformed user ":"`},
		{"malformed signal", func(_, final []plan.Step) { final[2].Config.StopSignal = "KILLALL" }, `malformed signal "KILLALL"`},
		{"malformed entrypoint", func(_, final []plan.Step) { final[2].Config.Entrypoint[0] = "\xff" }, `malformed entrypoint "\xff": it is not UTF-8`},
		{"malformed cmd", func(_, final []plan.Step) { final[2].Config.Cmd[0] = "\x00" }, `malformed cmd "\x00": it has a NUL in it`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := validPlan(t)
			tt.spoil(p.Images[0].Stages[0].Steps, p.Images[0].Stages[1].Steps)
			wantError(t, p.Validate(), "image server: stage ")
			wantError(t, p.Validate(), tt.want)
		})
	}
}
