package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/stagectl/stagectl/builder/image/hostile"
)

// inspect returns what the command writes, and its exit code.
func inspect(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }, Getwd: os.Getwd, Now: time.Now}
	code = a.main(t.Context(), append([]string{"inspect"}, args...))
	return out.String(), errs.String(), code
}

func noControl(t *testing.T, what, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%s has %.20q", what, text[i:])
	}
}

func TestInspectHostileLayers(t *testing.T) {
	outside := t.TempDir()
	for _, tt := range hostile.Layers(outside) {
		t.Run(tt.Name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "image")
			if err := hostile.WriteLayout(dir, tt.Tar, tt.Tar); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := inspect(t, "--files", dir)
			noControl(t, "standard output", stdout)
			noControl(t, "standard error", stderr)
			switch {
			case tt.Refused != "":
				if want := "inspecting " + dir + ": reading layer 2, sha256:"; code != 1 || !strings.Contains(stderr, want) || !strings.Contains(stderr, tt.Refused) {
					t.Errorf("exit code %d, %s\nwant %q", code, stderr, tt.Refused)
				}
			case code != 0 || !strings.Contains(stdout, "    "+strings.Join(tt.Files, "\n    ")+"\n"):
				t.Errorf("exit code %d, %s%s\nwant %q", code, stdout, stderr, tt.Files)
			}
		})
	}
}

func TestInspectHostileBombs(t *testing.T) {
	for _, tt := range hostile.Bombs() {
		if tt.Name == "gzip ratio" || tt.Name == "gzip of many members" {
			continue // read as in package image, which tries them
		}
		t.Run(tt.Name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "image")
			if err := hostile.WriteLayout(dir, tt.Blob, "whatever"); err != nil {
				t.Fatal(err)
			}
			if _, stderr, code := inspect(t, dir); code != 1 || !strings.Contains(stderr, tt.Refused) {
				t.Errorf("exit code %d, %s\nwant %q", code, stderr, tt.Refused)
			}
		})
	}
}

// What an image says of itself cannot move the cursor.
func TestInspectHostileConfig(t *testing.T) {
	const evil = "x\x1b[2J\x1b]0;title\x07\u202e\r\ny"
	cf := &v1.ConfigFile{
		OS: "linux", Architecture: "amd64" + evil, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: evil, WorkingDir: evil, StopSignal: evil, Env: []string{"A=" + evil}, Entrypoint: []string{evil}, Cmd: []string{evil},
			Labels: map[string]string{evil: evil}, ExposedPorts: map[string]struct{}{evil: {}}, Volumes: map[string]struct{}{evil: {}},
			Healthcheck: &v1.HealthConfig{Test: []string{evil}},
		},
		History: []v1.History{{CreatedBy: evil, EmptyLayer: true}},
	}
	img, err := mutate.ConfigFile(empty.Image, cf)
	if err != nil {
		t.Fatal(err)
	}
	img = mutate.Annotations(img, map[string]string{evil: evil}).(v1.Image)
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"org.opencontainers.image.ref.name": evil}
	if err := p.AppendImage(img, layout.WithAnnotations(names)); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := inspect(t, dir)
	if code != 0 || strings.Count(stdout, "?]0;title") < 12 {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	noControl(t, "standard output", stdout)
	_, stderr, code = inspect(t, "--image", "none", dir)
	if code != 1 || !strings.Contains(stderr, "?]0;title") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	noControl(t, "standard error", stderr)
}

func TestMessage(t *testing.T) {
	err := errors.Join(errors.New("one\x1b[2J\ttwo"), errors.New("three"))
	if got, want := message(err), "one?[2J    two\n          three"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
