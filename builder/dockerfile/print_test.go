package dockerfile_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/tools/txtar"

	"github.com/stagectl/stagectl/builder/dockerfile"
	"github.com/stagectl/stagectl/builder/plan"
)

// TestPrint prints the plan.json of testdata/print/*.txtar as its Dockerfile, or
// fails as its errors.txt says, and reads what it has printed: each image has the
// configuration that the plan says.
func TestPrint(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "print", "*.txtar"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d cases: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var p plan.Plan
			context := fstest.MapFS{}
			for _, f := range archive.Files {
				switch f.Name {
				case "plan.json":
					if err := json.Unmarshal(f.Data, &p); err != nil {
						t.Fatal(err)
					}
				case "Dockerfile", "errors.txt":
				default:
					mode := fs.FileMode(0o644)
					if strings.HasPrefix(string(f.Data), "#!") {
						mode = 0o700 // which a umask has made of 0755
					}
					if dir := path.Dir(f.Name); dir != "." {
						context[dir] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
					}
					context[f.Name] = &fstest.MapFile{Data: f.Data, Mode: mode}
				}
			}
			if err := p.Validate(); err != nil {
				t.Fatal(err)
			}
			text, err := dockerfile.Print(&p, printing(context))
			failed := ""
			if err != nil {
				failed = err.Error() + "\n"
			}
			wantSection(t, archive, "Dockerfile", string(text))
			wantSection(t, archive, "errors.txt", failed)
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err == nil {
				checkPrinted(t, &p, string(text))
			}
		})
	}
}

// printing is for plans whose packages are in /w of Go 1.26.0.
func printing(context fs.FS) dockerfile.Printing {
	return dockerfile.Printing{Context: "/w", Files: context, Recipe: func(c plan.Compile) (string, []string, []string, error) {
		args := []string{"-trimpath", "-ldflags=-s -w " + c.Settings.LDFlags}
		return "1.26.0", []string{"CGO_ENABLED=0"}, append(args, append(c.Files, c.Package)...), nil
	}}
}

// checkPrinted reads a printed Dockerfile, and compares the configuration.
func checkPrinted(t *testing.T, p *plan.Plan, text string) {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range p.Images {
		target := ""
		if len(p.Images) > 1 {
			_, after, _ := strings.Cut(text, "-t "+img.Tags[0])
			before, _, _ := strings.Cut(text, "-t "+img.Tags[0]+after)
			_, target, _ = strings.Cut(before[strings.LastIndex(before, "#   "):], "--target ")
			target, _, _ = strings.Cut(target, " ")
		}
		stages, err := f.Stages(dockerfile.Options{
			Target: target, BuildPlatform: v1.Platform{OS: "linux", Architecture: "amd64"}, TargetPlatform: img.Platforms[0],
			BuildContexts: map[string]string{"base": "docker-image://alpine"},
			Resolve:       (&settings{Any: true}).config,
		})
		if err != nil {
			t.Fatal(err)
		}
		var want, got v1.Config
		for _, step := range img.Stages[1].Steps {
			if step.Config != nil {
				step.Config.Apply(&want)
			}
		}
		for _, step := range stages[len(stages)-1].Steps {
			if step.Config != nil {
				step.Config.Apply(&got)
			}
		}
		got.ArgsEscaped = false // which CMD always sets
		// Docker has a PATH, and on scratch a working directory, in all images.
		got.Env = slices.DeleteFunc(got.Env, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") })
		if img.Stages[1].Base == plan.Scratch {
			got.WorkingDir = want.WorkingDir
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("image %s (-plan +Dockerfile):\n%s", img.Name, diff)
		}
	}
}

// A plan of a Dockerfile has no need to be printed as one.
func TestPrintOther(t *testing.T) {
	p := plan.Plan{Images: []plan.Image{{Name: "x", Stages: []plan.Stage{{Name: "x", Base: "scratch"}}}}}
	if _, err := dockerfile.Print(&p, printing(fstest.MapFS{})); err == nil || err.Error() != "it is not a plan of packages" {
		t.Errorf("got %v", err)
	}
}
