package dockerfile_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/tools/txtar"

	"github.com/stagectl/stagectl/builder/dockerfile"
	"github.com/stagectl/stagectl/builder/plan"
)

// An image is asked for once, each platform of it.
func TestResolveOnce(t *testing.T) {
	f, err := dockerfile.Parse("Dockerfile", strings.NewReader(`FROM --platform=linux/arm64 alpine AS a
FROM alpine AS b
FROM alpine AS c
FROM golang AS unused
FROM scratch
COPY --from=a / /
COPY --from=b / /
COPY --from=c / /
COPY --from=alpine / /
COPY --from=busybox / /
`))
	if err != nil {
		t.Fatal(err)
	}
	s := settings{}
	options := s.options(t, nil)
	var asked []string
	options.Resolve = func(ref string, p v1.Platform) (*v1.ConfigFile, error) {
		asked = append(asked, ref+" "+p.String())
		return nil, dockerfile.ErrNoConfig
	}
	if _, err := f.Stages(options); err != nil {
		t.Fatal(err)
	}
	slices.Sort(asked)
	if diff := cmp.Diff([]string{"alpine linux/amd64", "alpine linux/arm64", "busybox linux/amd64"}, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
}

var update = flag.Bool("update", false, "write what there is into the cases")

// settings of a case are its options.json.
type settings struct {
	Target    string               `json:"target"`
	BuildArgs map[string]string    `json:"buildArgs"`
	Contexts  map[string]string    `json:"contexts"`
	Build     string               `json:"buildPlatform"`
	Platform  string               `json:"targetPlatform"`
	Epoch     int64                `json:"epoch"`
	Bases     map[string]v1.Config `json:"bases"`
	Missing   []string             `json:"missing"` // images that there are not
	Unknown   []string             `json:"unknown"` // images that can't be reached
	Any       bool                 `json:"any"`     // there are all images
}

// bases are images that any case may start from.
var bases = map[string]v1.Config{
	"alpine": {Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"/bin/sh"}, WorkingDir: "/"},
	"golang": {
		Env:        []string{"PATH=/go/bin:/usr/local/go/bin:/bin", "GOLANG_VERSION=1.26.0", "GOTOOLCHAIN=local", "GOPATH=/go"},
		Cmd:        []string{"sh"},
		WorkingDir: "/go",
	},
	"gcr.io/distroless/static": {Env: []string{"PATH=/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}, User: "65532", WorkingDir: "/home/nonroot"},
	"static":                   {Env: []string{"PATH=/bin"}, User: "65532"},
	"busybox":                  {Cmd: []string{"sh"}},
}

// config of the image ref, whatever its tag is.
func (s *settings) config(ref string, _ v1.Platform) (*v1.ConfigFile, error) {
	if slices.Contains(s.Unknown, ref) {
		return nil, fmt.Errorf("dialing: %w", dockerfile.ErrNoConfig)
	}
	if slices.Contains(s.Missing, ref) {
		return nil, fmt.Errorf("resolving %s: no such image", ref)
	}
	if c, ok := s.Bases[ref]; ok {
		return &v1.ConfigFile{Config: c}, nil
	}
	repository, _, _ := strings.Cut(ref, ":")
	if c, ok := bases[repository]; ok {
		return &v1.ConfigFile{Config: c}, nil
	}
	if s.Any {
		return &v1.ConfigFile{}, nil
	}
	return nil, fmt.Errorf("resolving %s: no such image", ref)
}

func (s *settings) options(t testing.TB, warn func(*dockerfile.Error)) dockerfile.Options {
	t.Helper()
	o := dockerfile.Options{Target: s.Target, BuildArgs: s.BuildArgs, BuildContexts: s.Contexts, Resolve: s.config, Warn: warn}
	if s.Epoch != 0 {
		o.Epoch = time.Unix(s.Epoch, 0)
	}
	for _, p := range []struct {
		text string
		to   *v1.Platform
	}{{s.Build, &o.BuildPlatform}, {s.Platform, &o.TargetPlatform}} {
		*p.to = v1.Platform{OS: "linux", Architecture: "amd64"}
		if p.text == "" {
			continue
		}
		parsed, err := plan.ParsePlatform(p.text)
		if err != nil {
			t.Fatal(err)
		}
		*p.to = parsed
	}
	return o
}

// convert makes the stages of a Dockerfile, and checks that a plan of them is
// valid.
func convert(t testing.TB, name, text string, s settings) (stages []plan.Stage, warnings []string, err error) {
	t.Helper()
	f, err := dockerfile.Parse(name, strings.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	for _, w := range f.Warnings() {
		warnings = append(warnings, w.Error())
	}
	options := s.options(t, func(w *dockerfile.Error) { warnings = append(warnings, w.Error()) })
	stages, err = f.Stages(options)
	if err != nil {
		return nil, warnings, err
	}
	p := plan.Plan{Images: []plan.Image{{
		Name: "x", Tags: []string{"x"}, Platforms: []v1.Platform{options.TargetPlatform}, Stages: stages,
	}}}
	if err := p.Validate(); err != nil {
		t.Errorf("accepted plan is not valid: %v\n%s", err, text)
	}
	// What the stages are made of is not changed by making them.
	again, err := f.Stages(s.options(t, nil))
	if diff := cmp.Diff(stages, again); diff != "" || err != nil {
		t.Errorf("made a second time: %v (-first +second):\n%s", err, diff)
	}
	return stages, warnings, nil
}

// wantSection compares what there is with a section of a case, or with -update
// writes it there.
func wantSection(t *testing.T, archive *txtar.Archive, name, got string) {
	t.Helper()
	at := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == name })
	switch {
	case *update && at < 0 && got != "":
		archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(got)})
	case *update && at >= 0 && got != "":
		archive.Files[at].Data = []byte(got)
	case *update && at >= 0:
		archive.Files = slices.Delete(archive.Files, at, at+1)
	}
	want := ""
	if at = slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == name }); at >= 0 {
		want = string(archive.Files[at].Data)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// TestCases makes the stages of testdata/dockerfile/*.txtar. Beside the
// Dockerfile of a case are its options.json and what is expected: stages.json
// or errors.txt, and warnings.txt.
func TestCases(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "dockerfile", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var s settings
			name, text := "", ""
			for _, f := range archive.Files {
				switch {
				case strings.HasPrefix(f.Name, "Dockerfile"):
					name, text = f.Name, string(f.Data)
				case f.Name == "options.json":
					d := json.NewDecoder(bytes.NewReader(f.Data))
					d.DisallowUnknownFields()
					if err := d.Decode(&s); err != nil {
						t.Fatal(err)
					}
				}
			}
			stages, warnings, err := convert(t, name, text, s)
			var made, failed string
			if err != nil {
				failed = err.Error() + "\n"
			} else {
				if made, err = marshal(stages); err != nil {
					t.Fatal(err)
				}
			}
			if len(warnings) > 0 {
				warnings = append(warnings, "")
			}
			wantSection(t, archive, "stages.json", made)
			wantSection(t, archive, "errors.txt", failed)
			wantSection(t, archive, "warnings.txt", strings.Join(warnings, "\n"))
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// marshal writes each step on a line of its own.
func marshal(stages []plan.Stage) (string, error) {
	var b strings.Builder
	write := func(prefix string, v any, suffix string) error {
		raw := &bytes.Buffer{}
		e := json.NewEncoder(raw)
		e.SetEscapeHTML(false)
		err := e.Encode(v)
		b.WriteString(prefix + strings.TrimSuffix(raw.String(), "\n") + suffix)
		return err
	}
	b.WriteString("[\n")
	for i, s := range stages {
		steps := s.Steps
		s.Steps = []plan.Step{}
		raw, err := json.Marshal(s)
		if err != nil {
			return "", err
		}
		head, tail, _ := strings.Cut(string(raw), `"steps":[]`)
		b.WriteString(head + `"steps":[`)
		for j, step := range steps {
			comma := ","
			if j == len(steps)-1 {
				comma = ""
			}
			if err := write("\n  ", step, comma); err != nil {
				return "", err
			}
		}
		b.WriteString("\n]" + tail)
		if i < len(stages)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	b.WriteString("]\n")
	if !json.Valid([]byte(b.String())) {
		return "", fmt.Errorf("not JSON: %s", b.String())
	}
	return b.String(), nil
}
