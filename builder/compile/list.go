package compile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/plan"
)

// Package is a main package.
type Package struct {
	// Dir is where the go command runs to build it, absolute.
	Dir string
	// ImportPath, or Files for the files of an ad-hoc package. Outside of any
	// module it is a local path, as "./server".
	ImportPath string
	Files      []string
	// Binary is the name of the file that the go command makes.
	Binary string
}

// List finds the main packages that the patterns, as `go build` takes them
// from dir, stand for on a platform. They are in the order of the patterns,
// each once. A pattern without a main package is an error.
//
// A directory in no module works as with GO111MODULE=off. Its path is then
// part of the package's name for the go command, and so of the binary.
func (c *Compiler) List(ctx context.Context, dir string, p v1.Platform, s plan.GoSettings, patterns []string) ([]Package, error) {
	found := make([][]Package, len(patterns))
	for _, g := range groupPatterns(c.environment(), dir, patterns) {
		mains, err := c.mains(ctx, g, p, s)
		if err != nil {
			return nil, err
		}
		for i := range mains {
			found[g.places[i]] = mains[i]
		}
	}
	var mains []Package
	for _, m := range slices.Concat(found...) {
		if !slices.ContainsFunc(mains, m.equal) {
			mains = append(mains, m)
		}
	}
	return mains, nil
}

// maxTries is how often the go command is asked again because something changed
// while it was.
const maxTries = 3

// mains are the main packages of a group, pattern by pattern: as they are
// remembered or, where that may not be right, as the go command says.
func (c *Compiler) mains(ctx context.Context, g *patternGroup, p v1.Platform, s plan.GoSettings) ([][]Package, error) {
	m, err := c.recall(p, g.dir, s)
	if err == nil {
		err = g.knowable(m.env)
	}
	if err != nil {
		mains, _, err := c.listMains(ctx, g, p, s, false)
		return mains, err
	}
	mains, before := m.known(g)
	if mains != nil {
		return mains, nil
	}
	for range maxTries {
		var pkgs []listed
		if mains, pkgs, err = c.listMains(ctx, g, p, s, true); err != nil {
			return nil, err
		}
		done, now := m.learn(g, pkgs, mains, before)
		if done {
			break
		}
		before = now
	}
	return mains, nil
}

// listMains asks the go command for the main packages of a group and, with
// deps, for all that they are made of.
func (c *Compiler) listMains(ctx context.Context, g *patternGroup, p v1.Platform, s plan.GoSettings, deps bool) ([][]Package, []listed, error) {
	pkgs, err := c.list(ctx, g, p, s, deps)
	if err != nil {
		return nil, nil, err
	}
	patterns := g.patterns
	if g.files {
		patterns = patterns[:1] // the others are of the same package
	}
	mains := make([][]Package, len(patterns))
	for i := range patterns {
		if mains[i], err = g.mains(i, pkgs); err != nil {
			return nil, nil, err
		}
	}
	return mains, pkgs, nil
}

func (p Package) equal(o Package) bool {
	return p.Dir == o.Dir && p.ImportPath == o.ImportPath && slices.Equal(p.Files, o.Files)
}

// listed is what is asked of `go list`.
type listed struct {
	ImportPath string
	Name       string
	Dir        string
	Target     string
	Match      []string
	GoFiles    []string
	CgoFiles   []string
	Error      *listError

	// These are only asked for where they are to be remembered.
	Standard, DepOnly         bool
	Module                    *listModule
	Imports                   []string
	EmbedPatterns, EmbedFiles []string
}

// listModule is the module of a package.
type listModule struct {
	Path, Version, Dir string
	Main               bool
	Replace            *listModule
}

// changes tells packages that may be edited from those of the standard library
// and of the module cache, which are what their versions say
// (https://go.dev/ref/mod#module-cache). What is vendored may be edited.
func (p listed) changes() bool {
	if p.Standard {
		return false
	}
	m := p.Module
	if m != nil && m.Replace != nil {
		m = m.Replace
	}
	return m == nil || m.Version == "" || m.Dir == "" || !strings.HasPrefix(p.Dir, m.Dir)
}

// listError is a load.PackageError of the go command.
type listError struct {
	ImportStack []string
	Pos, Err    string
}

// String is what the go command would print.
func (e listError) String() string {
	text := strings.TrimRight(e.Err, "\n")
	switch {
	case e.Pos != "":
		return e.Pos + ": " + text
	case len(e.ImportStack) == 0:
		return text
	}
	return "package " + strings.Join(e.ImportStack, "\n\timports ") + ": " + text
}

const (
	listFields = "-json=ImportPath,Name,Dir,Target,Match,Error"
	fileFields = listFields + ",GoFiles,CgoFiles"
	depsFields = fileFields + ",Standard,DepOnly,Module,Imports,EmbedPatterns,EmbedFiles"
)

func (c *Compiler) list(ctx context.Context, g *patternGroup, p v1.Platform, s plan.GoSettings, deps bool) (_ []listed, err error) {
	args := []string{"list", "-e", listFields}
	if g.files {
		args[2] = fileFields
	}
	if deps {
		args[2] = depsFields
		args = append(args, "-deps")
	}
	if s.Tags != "" {
		args = append(args, "-tags="+s.Tags)
	}
	args = append(append(args, "--"), g.patterns...)
	doing := "listing " + summary(g.shown)
	// Downloads may take long, listing does not.
	var task *event.Task
	defer func() {
		if task != nil {
			task.End(err, "")
		}
	}()
	downloading := func(line string) {
		if task == nil {
			task = c.Progress.Start(event.Compile, p.String()+" "+summary(g.shown), 0)
		}
		task.Message(line)
	}
	out, err := c.run(ctx, g.dir, c.environ(p, g.dir), downloading, args...)
	if err != nil {
		return nil, &Error{Doing: doing, Output: out.stderr, Err: err}
	}
	pkgs, err := decode(out.stdout)
	if err != nil {
		return nil, fmt.Errorf("%s: reading what `go list` printed: %w", doing, err)
	}
	if len(pkgs) == 0 {
		return nil, &Error{Doing: doing, Output: out.stderr, Err: errNone}
	}
	return pkgs, goErrors(pkgs, doing)
}

// errNone is the cause where a pattern, as "./nope/...", is right in its form.
var errNone = errors.New("it matches no packages")

func decode(stdout []byte) ([]listed, error) {
	var pkgs []listed
	d := json.NewDecoder(bytes.NewReader(stdout))
	for {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
}

// goErrors collects, in the go command's words, what keeps packages from being
// built. Libraries that a pattern takes in by the way may be broken.
func goErrors(pkgs []listed, doing string) error {
	var out bytes.Buffer
	cause := errNone
	for _, p := range pkgs {
		// `go build` says what is wrong with a dependency.
		if p.Error == nil || p.DepOnly || p.Name != "main" && p.Name != "" {
			continue
		}
		out.WriteString(p.Error.String() + "\n")
		if !strings.Contains(p.ImportPath, "...") {
			cause = errors.New("no such package, or one that cannot be read")
		}
	}
	if out.Len() == 0 {
		return nil
	}
	return &Error{Doing: doing, Output: out.Bytes(), Err: cause}
}

// mains are the main packages among pkgs that the group's pattern i stands for.
func (g *patternGroup) mains(i int, pkgs []listed) ([]Package, error) {
	shown := g.shown[i]
	if g.files {
		shown = strings.Join(g.shown, " ")
	}
	var mains []Package
	var saw []string
	for _, p := range pkgs {
		switch {
		case p.DepOnly, !g.files && !slices.Contains(p.Match, g.patterns[i]):
		case p.Name == "main":
			mains = append(mains, g.main(p))
		default:
			saw = append(saw, fmt.Sprintf("%s (package %s)", p.ImportPath, p.Name))
		}
	}
	switch {
	case len(mains) > 0:
		return mains, nil
	case len(saw) == 0:
		return nil, &Error{Doing: "listing " + shown, Err: errNone}
	case len(saw) == 1 && !strings.Contains(shown, "..."):
		return nil, fmt.Errorf("%s is a library: %s is not package main", shown, saw[0])
	}
	const most = 10
	if len(saw) > most {
		saw = append(saw[:most], fmt.Sprintf("and %d more", len(saw)-most))
	}
	return nil, fmt.Errorf("%s matches no main package, only: %s", shown, strings.Join(saw, ", "))
}

func (g *patternGroup) main(p listed) Package {
	if g.files {
		// The go command takes the first of those that it compiles.
		first := append(append(p.GoFiles, p.CgoFiles...), g.patterns...)[0]
		return Package{Dir: g.dir, Files: g.patterns, Binary: strings.TrimSuffix(filepath.Base(first), ".go")}
	}
	return Package{Dir: g.dir, ImportPath: p.buildPath(g.dir), Binary: p.binary()}
}

// outside marks the import path of a directory in no module and no GOPATH.
const outside = "_/"

// binary is the name that `go build` gives the binary. Target, where `go
// install` would put it, is that name, but not every package has one.
func (p listed) binary() string {
	switch {
	case p.Target != "":
		return filepath.Base(p.Target)
	case strings.HasPrefix(p.ImportPath, outside):
		return path.Base(p.ImportPath)
	}
	return ExecName(p.ImportPath)
}

// buildPath is what `go build` takes for p. The import path of a directory
// outside is understood by `go list` only.
func (p listed) buildPath(dir string) string {
	if !strings.HasPrefix(p.ImportPath, outside) {
		return p.ImportPath
	}
	rel, err := filepath.Rel(dir, p.Dir)
	if err != nil {
		return p.Dir
	}
	return clean("./" + filepath.ToSlash(rel))
}

// ExecName is the name that the go command gives the binary of a module's
// package: the last element of the import path, or the one before that where
// the last is a major version (cmd/go/internal/load.DefaultExecName).
func ExecName(importPath string) string {
	base := path.Base(importPath)
	if dir := path.Dir(importPath); dir != "." && isMajorVersion(base) {
		return path.Base(dir)
	}
	return base
}

func isMajorVersion(s string) bool {
	if len(s) < 2 || s[0] != 'v' || s[1] == '0' || s == "v1" {
		return false
	}
	return strings.Trim(s[1:], "0123456789") == ""
}
