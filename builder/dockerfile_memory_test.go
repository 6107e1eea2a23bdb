package builder_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/tools/txtar"

	"github.com/stagectl/stagectl/builder/event"
)

// memoryProject is a context with all that go build is made of.
const memoryProject = `
-- Dockerfile --
FROM golang:1 AS one
ARG MODE=plain
ENV SETTING=$MODE
WORKDIR /src
COPY go.mod ./
RUN go mod download
COPY . .
RUN go build -ldflags=-s -o /out/one ./cmd/one
RUN GOBIN=/bin go install ./cmd/two

FROM golang:1 AS gopath
COPY plain /plain
WORKDIR /plain
RUN go build -a -installsuffix cgo -o main .

FROM scratch
COPY --from=one /out/one /bin/two /
COPY --from=gopath /plain/main /three
-- go.mod --
module example.com/app

go 1.21
-- README.md --
read
-- cmd/one/main.go --
package main

import "example.com/app/lib"

func main() { println(lib.Text) }
-- cmd/two/main.go --
package main

func main() { println("two") }
-- lib/lib.go --
package lib

import _ "embed"

//go:embed text.txt
var Text string
-- lib/text.txt --
text
-- lib/more.go --
package lib

func init() { println("more") }
-- plain/main.go --
package main

func main() { println("plain") }
`

// A build after a change makes what one makes that remembers nothing, and has the
// go command compile only what is not the same.
func TestDockerfileMemory(t *testing.T) {
	const mod, one, two, three = "RUN go mod download", "RUN go build -ldflags", "RUN GOBIN=", "RUN go build -a"
	tests := []struct {
		name string
		// file, with old replaced by text; it is removed where text is empty.
		file, old, text string
		// want are the RUNs that had the go command compile, and unchanged those
		// that did not have to; all others were not even looked at.
		want, unchanged []string
	}{
		{"nothing", "", "", "", nil, nil},
		{"a file that is in no program", "README.md", "read", "other", nil, []string{mod, one, two}},
		{"a package", "lib/text.txt", "text", "other", []string{one}, []string{mod, two}},
		{"a new file", "lib/new.go", "", "package lib\n\nfunc init() { println() }\n", []string{one}, []string{mod, two}},
		{"a file is gone", "lib/more.go", "", "", []string{one}, []string{mod, two}},
		{"the module", "go.mod", "1.21", "1.22", []string{mod, one, two}, nil},
		{"the other stage", "plain/main.go", "plain", "other", []string{three}, []string{mod, one, two}},
		{"flags", "Dockerfile", "-ldflags=-s", "-ldflags=-w", []string{one}, []string{mod, two}},
		{"a variable of the script", "Dockerfile", "RUN go build -l", "RUN GOAMD64=v2 go build -l", []string{one}, []string{mod, two}},
		{"a variable of the stage", "Dockerfile", "ENV SETTING=$MODE", "ENV GOFLAGS=-tags=x", []string{mod, one, two}, nil},
		{"a variable that says nothing", "Dockerfile", "MODE=plain", "MODE=other", []string{mod}, []string{one, two}},
	}
	first, cache := t.TempDir(), t.TempDir()
	extract(t, first)
	dockerfileImage(t, first, cache, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			own := filepath.Join(t.TempDir(), "cache")
			if err := os.CopyFS(own, os.DirFS(cache)); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			extract(t, dir)
			change(t, filepath.Join(dir, tt.file), tt.old, tt.text)
			// What is kept of programs is known by their context.
			if err := os.RemoveAll(first); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(dir, first); err != nil {
				t.Fatal(err)
			}
			var said said
			got := dockerfileImage(t, first, own, said.note)
			want := dockerfileImage(t, first, t.TempDir(), nil)
			if diff := cmp.Diff(imageDigest(t, want), imageDigest(t, got)); diff != "" {
				t.Errorf("something else comes out (-anew +remembered):\n%s", diff)
			}
			compiled, unchanged := said.runs("RUN go mod", "RUN go build", "RUN GOBIN", "RUN GOAMD64")
			if diff := cmp.Diff(tt.want, shorten(compiled, mod, one, two, three)); diff != "" {
				t.Errorf("compiled (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.unchanged, shorten(unchanged, mod, one, two, three)); diff != "" {
				t.Errorf("unchanged (-want +got):\n%s", diff)
			}
		})
	}
}

func extract(t *testing.T, dir string) {
	t.Helper()
	for _, f := range txtar.Parse([]byte(memoryProject)).Files {
		putFile(t, filepath.Join(dir, filepath.FromSlash(f.Name)), string(f.Data))
	}
}

func change(t *testing.T, name, old, text string) {
	t.Helper()
	switch {
	case old == "" && text == "":
		if info, err := os.Stat(name); err != nil || info.IsDir() {
			return
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	case old == "":
		putFile(t, name, text)
	default:
		raw, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(raw), old) {
			t.Fatalf("there is no %q in %s: %v", old, name, err)
		}
		putFile(t, name, strings.Replace(string(raw), old, text, 1))
	}
}

// said is what was told of a build.
type said struct {
	mu     sync.Mutex
	events []event.Event
}

func (s *said) note(e event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// runs are the RUNs that start like one of some, by whether the go command built.
func (s *said) runs(starts ...string) (compiled, unchanged []string) {
	for _, e := range s.events {
		_, text, _ := strings.Cut(e.Subject, " ")
		for _, start := range starts {
			if e.Phase != event.Run || e.State != event.Done || !strings.HasPrefix(text, start) {
				continue
			}
			if strings.HasSuffix(e.Text, "unchanged") {
				unchanged = append(unchanged, text)
			} else {
				compiled = append(compiled, text)
			}
		}
	}
	return compiled, unchanged
}

// shorten makes of texts those that they start with.
func shorten(texts []string, starts ...string) []string {
	var all []string
	for _, text := range texts {
		text = strings.Replace(text, "GOAMD64=v2 ", "", 1)
		for _, start := range starts {
			if strings.HasPrefix(text, start) {
				all = append(all, start)
			}
		}
	}
	return all
}

func imageDigest(t *testing.T, img v1.Image) string {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// What was left out since it changes nothing may be missed all the same.
func TestDockerfileMissesNothing(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	putFile(t, filepath.Join(dir, "Dockerfile"), "FROM golang:1\nCOPY go.mod .\nRUN go mod download\nCOPY . .\nRUN go build -o /x .\nFROM scratch\nCOPY --from=0 /x /x\n")
	putFile(t, filepath.Join(dir, "go.mod"), "module example.com/x\n\ngo 1.21\n")
	putFile(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() {}\n")
	dockerfileImage(t, dir, cache, nil)
	putFile(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() { x() }\n")
	var said said
	if _, err := tryDockerfile(t, dir, cache, said.note, v1.Platform{OS: "linux", Architecture: "amd64"}); err == nil {
		t.Fatal("what does not compile was built")
	}
	ran, unchanged := said.runs("RUN go mod")
	if len(ran) != 1 || len(unchanged) != 1 {
		t.Errorf("go mod download ran %d times and was left out %d times, want both once", len(ran), len(unchanged))
	}
}
