package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A workload is a Go module and a file in it that is edited.
type workload struct {
	Name, Dir       string
	Mains, Patterns []string

	file     string
	source   source
	revision *int
}

// A source is the text of a file at a revision, which ends up in the binary.
type source func(revision int) string

// text has the revision where %d is. It is a big one: the linker shares small
// numbers with other packages, or does not, and moves all others for that.
func text(format string) source {
	return func(revision int) string { return fmt.Sprintf(format, 1_000_000+revision) }
}

// workloads are all that there are.
type workloads struct {
	Server, Mains, Services, Payload *workload
}

const serverSource = `package main

import (
	"fmt"
	"net/http"
)

const revision = %d

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "hello", revision)
	})
	panic(http.ListenAndServe(":8080", nil))
}
`

// leafSource is edited in three ways. By how many of the linked bytes change, a
// number in it is the least, and another string the most: the linker sorts
// them, and moves what comes behind.
const leafSource = `// Package leaf is what all mains depend on.
package leaf

import "os"

var args = len(os.Args)

// Revision is edited.
func Revision() int {
	if os.Getenv("REVISION") == %q {
		return 0
	}
	revision := %d
%s	return revision
}
`

func leafNumber(revision int) string {
	return fmt.Sprintf(leafSource, "", 1_000_000+revision, "")
}

func leafCode(revision int) string {
	const branch = "\tif args > %d {\n\t\trevision ^= args\n\t}\n"
	var code strings.Builder
	for i := range revision%5 + 1 {
		fmt.Fprintf(&code, branch, revision+i)
	}
	return fmt.Sprintf(leafSource, "", 1_000_000, code.String())
}

func leafString(revision int) string {
	return fmt.Sprintf(leafSource, fmt.Sprint(revision, strings.Repeat(" or so", revision%7)), 1_000_000, "")
}

const appSource = `// Package app is what all mains run.
package app

import (
	"fmt"
	"net/http"

	"example.com/mains/internal/big"
	"example.com/mains/internal/leaf"
)

// Run serves as name.
func Run(name string) {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, name, leaf.Revision(), len(big.Kept))
	})
	panic(http.ListenAndServe(":8080", nil))
}
`

const mainSource = `package main

import "example.com/mains/internal/app"

func main() { app.Run(%q) }
`

const payloadSource = `package main

import (
	"fmt"
	"net/http"

	"example.com/payload/data"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, %d, data.Payload)
	})
	panic(http.ListenAndServe(":8080", nil))
}
`

const dataSource = `// Package data makes a binary big.
package data

import _ "embed"

// Payload is most of the binary.
//
//go:embed payload
var Payload string
`

// payloadSize makes a stripped binary of 120 MB.
const payloadSize = 114 << 20

// koConfig has ko build with the flags of the others.
const koConfig = "defaultFlags: [-trimpath, -buildvcs=false]\ndefaultLdflags: [-s, -w]\n"

// makeWorkloads writes all modules, and tells what they lack.
func makeWorkloads(ctx context.Context, t *tools, o options) (*workloads, []string, error) {
	works := &workloads{
		Server:   newWorkload(t.dir, "server", "main.go", text(serverSource), "."),
		Mains:    newWorkload(t.dir, "mains", "internal/leaf/leaf.go", leafNumber, numbered("main", o.Mains)...),
		Services: newWorkload(t.dir, "services", "cmd/service01/main.go", text(serverSource), numbered("service", o.Services)...),
		Payload:  newWorkload(t.dir, "payload", "main.go", text(payloadSource), "."),
	}
	mains := map[string]string{"internal/app/app.go": appSource, ".ko.yaml": koConfig}
	for _, dir := range works.Mains.Mains {
		mains[dir+"/main.go"] = fmt.Sprintf(mainSource, filepath.Base(dir))
	}
	services := map[string]string{}
	for _, dir := range works.Services.Mains {
		services[dir+"/main.go"] = fmt.Sprintf(serverSource, 0)
	}
	err := errors.Join(
		works.Server.write(nil), works.Mains.write(mains), works.Services.write(services),
		works.Payload.write(map[string]string{"data/data.go": dataSource, "data/payload": payload()}))
	if err != nil {
		return nil, nil, err
	}
	unmeasured, err := importBig(ctx, t, works.Mains, o.Big)
	return works, unmeasured, err
}

// newWorkload is a module in a directory of dir, in which file is edited.
func newWorkload(dir, name, file string, s source, mains ...string) *workload {
	w := &workload{
		Name: name, Dir: filepath.Join(dir, "src", name), Mains: mains,
		file: file, source: s, revision: new(int),
	}
	for _, main := range mains {
		w.Patterns = append(w.Patterns, "./"+main)
	}
	return w
}

// write makes the module.
func (w *workload) write(files map[string]string) error {
	for name, text := range files {
		if err := w.writeFile(name, text); err != nil {
			return err
		}
	}
	version := strings.TrimPrefix(runtime.Version(), "go")
	version, _, _ = strings.Cut(version, " ")
	return errors.Join(w.edit(), w.writeFile("go.mod", "module example.com/"+w.Name+"\n\ngo "+version+"\n"))
}

func (w *workload) writeFile(name, text string) error {
	name = filepath.Join(w.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// edit changes the source to what it never was before.
func (w *workload) edit() error {
	*w.revision++
	return w.writeFile(w.file, w.source(*w.revision))
}

// edited is the workload with other edits of its file.
func (w *workload) edited(s source) *workload {
	other := *w
	other.source = s
	return &other
}

// alone is the workload with only the main whose source is edited.
func (w *workload) alone() *workload {
	one := *w
	one.Mains, one.Patterns = w.Mains[:1], w.Patterns[:1]
	return &one
}

// payload is as compressible as code: to half its size.
func payload() string {
	random := rand.NewChaCha8([32]byte{})
	var b strings.Builder
	b.Grow(payloadSize)
	for b.Len() < payloadSize {
		v := random.Uint64()
		for i := 0; i < 64; i += 4 {
			b.WriteByte(byte(v >> i & 0xf))
		}
	}
	return b.String()
}

func numbered(name string, n int) []string {
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = fmt.Sprintf("cmd/%s%02d", name, i+1)
	}
	return dirs
}
