package builder_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/dockerfile"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/imagetest"
	"github.com/stagectl/stagectl/builder/plan"
)

// adding is a server, and what is built by ADDs of what it has.
type adding struct {
	*httptest.Server
	dir string

	mu      sync.Mutex
	content []byte
	asked   []string
	events  []string
}

func newAdding(t *testing.T) *adding {
	t.Helper()
	a := &adding{dir: t.TempDir(), content: []byte("content")}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, r.URL.Path)
		if r.URL.Path == "/gone" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(a.content)))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.content))
	}))
	t.Cleanup(a.Close)
	return a
}

// took returns what the server was asked, and forgets it.
func (a *adding) took() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.asked = nil }()
	return strings.Join(a.asked, " ")
}

func (a *adding) event(e event.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.Phase == event.Pull {
		a.events = append(a.events, fmt.Sprint(e.State, " ", e.Subject, " ", e.Text, " ", e.Current, " of ", e.Total))
	}
}

// build builds instructions on scratch, with $URL as the server's.
func (a *adding) build(t *testing.T, b builder.Builder, instructions string) (*imagetest.FS, error) {
	t.Helper()
	c, err := cache.Open(filepath.Join(a.dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	text := "FROM scratch\n" + strings.ReplaceAll(instructions, "$URL", a.URL)
	f, err := dockerfile.Parse("Dockerfile", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	platform := v1.Platform{OS: "linux", Architecture: "amd64"}
	stages, err := f.Stages(dockerfile.Options{BuildPlatform: platform, TargetPlatform: platform})
	if err != nil {
		t.Fatal(err)
	}
	b.Cache, b.Progress = c, a.event
	result, err := b.Build(t.Context(), &plan.Plan{
		Dir: a.dir, Contexts: map[string]plan.Context{plan.BuildContext: {Dir: a.dir}},
		Images: []plan.Image{{Name: "x", Tags: []string{"x"}, Platforms: []v1.Platform{platform}, Stages: stages}},
	})
	if err != nil {
		return nil, err
	}
	files, err := imagetest.NewFS(result.Images[0].Images[0].Image)
	if err != nil {
		t.Fatal(err)
	}
	return files, nil
}

func wantFile(t *testing.T, files fs.FS, name, content string) {
	t.Helper()
	got, err := fs.ReadFile(files, name)
	if err != nil || string(got) != content {
		t.Errorf("%s has %q, %v; want %q", name, got, err, content)
	}
}

// TestAddURL has files downloaded where they go, and no more often than needed.
func TestAddURL(t *testing.T) {
	a := newAdding(t)
	const add = "ADD $URL/dir/name.txt /in/\nADD --chmod=0644 --chown=5 $URL/other /x\nADD $URL/ /in/\n"
	files, err := a.build(t, builder.Builder{}, add)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"drwxr-xr-x 0:0 /in", "-rw------- 0:0 7 /in/__unnamed__", "-rw------- 0:0 7 /in/name.txt", "-rw-r--r-- 5:5 7 /x",
	}
	if got := strings.Join(files.List(), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("files:\n%s", got)
	}
	wantFile(t, files, "in/name.txt", "content")
	if got := a.took(); got != "/dir/name.txt /other /" {
		t.Errorf("asked for %s", got)
	}

	if got := strings.Join(a.events, "\n"); !strings.Contains(got, "updated "+a.URL+"/other  7 of 7") {
		t.Errorf("events:\n%s", got)
	}

	// Once more the server is asked whether it is still the same, which it is.
	a.events = nil
	if files, err = a.build(t, builder.Builder{}, add); err != nil {
		t.Fatal(err)
	}
	wantFile(t, files, "x", "content")
	if got := strings.Join(a.events, "\n"); strings.Count(got, "unchanged") != 3 || strings.Contains(got, string(event.Updated)) {
		t.Errorf("events:\n%s", got)
	}
	a.took()
	a.content = []byte("changed")
	if files, err = a.build(t, builder.Builder{}, add); err != nil {
		t.Fatal(err)
	}
	wantFile(t, files, "x", "changed")
	a.took()

	// Offline it is what it was the last time.
	if files, err = a.build(t, builder.Builder{Offline: true}, add); err != nil {
		t.Fatal(err)
	}
	wantFile(t, files, "x", "changed")
	if got := a.took(); got != "" {
		t.Errorf("offline, asked for %s", got)
	}
	if _, err := a.build(t, builder.Builder{Offline: true}, "ADD $URL/another /\n"); !errors.Is(err, builder.ErrOffline) {
		t.Errorf("got %v", err)
	}
}

// With a checksum, nobody is asked again.
func TestAddChecksum(t *testing.T) {
	a := newAdding(t)
	add := fmt.Sprintf("ADD --checksum=sha256:%x $URL/f /\n", sha256.Sum256(a.content))
	for _, want := range []string{"/f", ""} {
		files, err := a.build(t, builder.Builder{}, add)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, files, "f", "content")
		if got := a.took(); got != want {
			t.Errorf("asked for %q, want %q", got, want)
		}
	}
	// Also where it is another stage's.
	if _, err := a.build(t, builder.Builder{}, "WORKDIR /x\n"+add); err != nil || a.took() != "" {
		t.Errorf("in another stage: %v", err)
	}
	if _, err := a.build(t, builder.Builder{NoCache: true}, add); err != nil || a.took() != "/f" {
		t.Errorf("without the cache: %v", err)
	}
	a.content = []byte("evil")
	ce := (*builder.ChecksumError)(nil)
	_, err := a.build(t, builder.Builder{NoCache: true}, add)
	if !errors.As(err, &ce) || !strings.HasPrefix(err.Error(), "Dockerfile:2: ADD --checksum=") {
		t.Errorf("got %v", err)
	}
	a.took()
	// What was refused has not replaced what was right.
	if files, err := a.build(t, builder.Builder{}, "WORKDIR /y\n"+add); err != nil || a.took() != "" {
		t.Errorf("after it: %v", err)
	} else {
		wantFile(t, files, "f", "content")
	}
}

// What the cache has lost or has wrong is downloaded again.
func TestAddDamaged(t *testing.T) {
	a := newAdding(t)
	add := fmt.Sprintf("ADD --checksum=sha256:%x $URL/f /\n", sha256.Sum256(a.content))
	if _, err := a.build(t, builder.Builder{}, add); err != nil {
		t.Fatal(err)
	}
	a.took()
	blob := ""
	_ = filepath.WalkDir(filepath.Join(a.dir, "cache"), func(name string, d fs.DirEntry, _ error) error {
		if raw, err := os.ReadFile(name); err == nil && bytes.Equal(raw, a.content) {
			blob = name
		}
		return nil
	})
	for name, damage := range map[string]func() error{
		"lost":  func() error { return os.Remove(blob) },
		"wrong": func() error { return errors.Join(os.Chmod(blob, 0o600), os.WriteFile(blob, []byte("CONTENT"), 0o600)) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		files, err := a.build(t, builder.Builder{}, "WORKDIR /"+name+"\n"+add)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, files, "f", "content")
		if got := a.took(); got != "/f" {
			t.Errorf("%s: asked for %q", name, got)
		}
	}
}

// An archive of a URL is extracted only where that is asked for.
func TestAddUnpack(t *testing.T) {
	a := newAdding(t)
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	if err := errors.Join(tw.WriteHeader(&tar.Header{Name: "in", Mode: 0o644, Typeflag: tar.TypeReg, Size: 1}), errOf(tw.Write([]byte("x"))), tw.Close()); err != nil {
		t.Fatal(err)
	}
	a.content = b.Bytes()
	files, err := a.build(t, builder.Builder{}, "ADD $URL/a.tar /\nADD --unpack=true $URL/a.tar /un/\n")
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, files, "a.tar", b.String())
	wantFile(t, files, "un/in", "x")
	if got := a.took(); got != "/a.tar" {
		t.Errorf("asked for %s", got)
	}
}

func errOf(_ int, err error) error { return err }

// Errors name file, line and cause, and no secret.
func TestAddErrors(t *testing.T) {
	a := newAdding(t)
	secret := strings.Replace(a.URL, "http://", "http://user:pl4nted@", 1)
	for add, want := range map[string]string{
		"ADD $URL/gone /":                     "Dockerfile:2: ADD " + a.URL + "/gone /: downloading " + a.URL + "/gone: " + strings.TrimPrefix(a.URL, "http://") + " answers 404 Not Found",
		"ADD http://169.254.169.254/x /":      "is for a machine's own metadata and credentials",
		"ADD http://localhost:1/x /":          "connection refused",
		"ADD " + secret + "/gone?t=pl4nted /": "REDACTED",
	} {
		_, err := a.build(t, builder.Builder{}, add+"\n")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pl4nted") {
			t.Errorf("%s: got %v", add, err)
		}
	}
	if _, err := a.build(t, builder.Builder{}, "ADD "+secret+"/f?t=pl4nted /\n"); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadDir(a.dir)
	if err != nil || len(raw) != 1 {
		t.Errorf("there is %v, %v", raw, err)
	}
	_ = filepath.WalkDir(filepath.Join(a.dir, "cache"), func(name string, d fs.DirEntry, _ error) error {
		if raw, err := os.ReadFile(name); err == nil && bytes.Contains(raw, []byte("pl4nted")) {
			t.Errorf("%s has a secret", name)
		}
		return nil
	})
	if text := strings.Join(a.events, "\n"); strings.Contains(text, "pl4nted") {
		t.Errorf("events have a secret:\n%s", text)
	}
}
