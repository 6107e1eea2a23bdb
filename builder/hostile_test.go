package builder_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/image/hostile"
	"github.com/stagectl/stagectl/builder/imagetest"
	"github.com/stagectl/stagectl/builder/plan"
)

// outside returns a directory with the file that hostile images want, and lets
// the test work in it. At the end, nothing may have changed there.
func outside(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	writeFile(t, victim, "untouched")
	t.Chdir(dir)
	t.Cleanup(func() {
		if got, err := os.ReadFile(victim); err != nil || string(got) != "untouched" {
			t.Errorf("the file outside is %q, %v", got, err)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
			t.Errorf("outside there are %v, %v", list, err)
		}
	})
	return dir
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(content, "#!") {
		mode = 0o755
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// hostileBuild carries out steps on an image. The context has a file f.
func hostileBuild(t *testing.T, c *cache.Cache, from string, steps ...plan.Step) (v1.Image, error) {
	t.Helper()
	b := builder.Builder{Bases: &base.Resolver{Cache: c}, Cache: c, Go: &golang.Host{Env: os.Environ(), Offline: true}}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f"), "x")
	result, err := b.Build(t.Context(), &plan.Plan{Dir: dir, Images: []plan.Image{{
		Name: "x", Tags: []string{"x"}, Platforms: []v1.Platform{amd64},
		Stages: []plan.Stage{{Name: "x", Base: from, Steps: steps}},
	}}})
	if err != nil {
		return nil, err
	}
	return result.Images[0].Images[0].Image, nil
}

// hostileBase writes the layout of an image.
func hostileBase(t *testing.T, blob, plain string) string {
	t.Helper()
	dir := t.TempDir()
	if err := hostile.WriteLayout(dir, blob, plain); err != nil {
		t.Fatal(err)
	}
	return "oci:" + dir
}

// TestHostileBases copies all files of images that want something else of the
// machine, twice: what is remembered of them has to be right, too.
func TestHostileBases(t *testing.T) {
	for _, tt := range hostile.Layers(outside(t)) {
		t.Run(tt.Name, func(t *testing.T) {
			c, err := cache.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			from := hostileBase(t, tt.Tar, tt.Tar)
			for _, dest := range []string{"/", "/./"} { // which is another step
				img, err := hostileBuild(t, c, plan.Scratch, plan.Step{Files: &plan.Files{
					From: from, FromKind: plan.FromImage, Sources: []string{"/"}, Dest: dest,
				}})
				switch {
				case tt.Refused != "":
					if err == nil || !strings.Contains(err.Error(), tt.Refused) || !strings.Contains(err.Error(), "reading the files of "+from+": reading layer 2, sha256:") {
						t.Errorf("got error %v, want one with %q that names the layer", err, tt.Refused)
					}
				case strings.Contains(tt.Name, "too long for a file system"):
					if err == nil || !strings.Contains(err.Error(), "file name too long") {
						t.Errorf("got error %v", err)
					}
				case tt.Name == "device", tt.Name == "pipe":
					if err == nil || !strings.Contains(err.Error(), "it is neither a file nor a directory nor a link") {
						t.Errorf("got error %v", err)
					}
				case err != nil:
					t.Error(err)
				default:
					fsys, err := imagetest.NewFS(img)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(tt.Files, fsys.List()); diff != "" {
						t.Errorf("files (-want +got):\n%s", diff)
					}
				}
			}
		})
	}
}

// TestHoles copies a file with holes, which the layer's tar does not have as it is.
func TestHoles(t *testing.T) {
	for _, tt := range hostile.Layers(t.TempDir()) {
		if tt.Name != "file with holes" {
			continue
		}
		c, err := cache.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		img, err := hostileBuild(t, c, plan.Scratch, plan.Step{Files: &plan.Files{
			From: hostileBase(t, tt.Tar, tt.Tar), FromKind: plan.FromImage, Sources: []string{"/holes"}, Dest: "/",
		}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := imagetest.New(t, img).FS().ReadFile("holes")
		if want := "data" + strings.Repeat("\x00", 100_000-4); err != nil || string(got) != want {
			t.Errorf("the file has %d bytes, %.50q, %v", len(got), got, err)
		}
	}
}

// TestHostileBombs: what is read from layers goes to disk, and so is limited.
func TestHostileBombs(t *testing.T) {
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := ": it unpacks to more than 1073741824 bytes, which is the limit for its size"
	from := hostileBase(t, hostile.ZstdBomb(), "")
	take := plan.Step{Files: &plan.Files{From: from, FromKind: plan.FromImage, Sources: []string{"/etc"}, Dest: "/"}}
	if _, err := hostileBuild(t, c, plan.Scratch, take); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("copying from it: got error %v, want one with %q", err, want)
	}
	if _, err := hostileBuild(t, c, from, copyStep(t, "f:/etc/f")); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("building on it: got error %v, want one with %q", err, want)
	}
}
