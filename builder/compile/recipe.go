package compile

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/mod/modfile"

	"github.com/stagectl/stagectl/builder/plan"
)

// Recipe is how a step is compiled where there is no Compiler: by a `go build`
// with these words, in the step's directory.
type Recipe struct {
	// Release of Go, as "1.26.0": the one that the go.mod or GOTOOLCHAIN switches to.
	Release string
	// Env has KEY=VALUE of what decides what comes out, beside the platform.
	Env []string
	// Args follow `go build`: flags, then a package or files.
	Args []string
	// Roots are the directories that have to be there: of the modules that the
	// workspace, the go.mod or a replacement names, or the step's own.
	Roots []string
}

// deciding are the variables of a Recipe. Where modules come from is none of
// them, and the platform is the caller's.
var deciding = []string{"CGO_ENABLED", "GO111MODULE", "GOEXPERIMENT", "GOFIPS140", "GOFLAGS", "GOWORK"}

// Recipe tells how a step is compiled.
func (c *Compiler) Recipe(ctx context.Context, p v1.Platform, step plan.Compile) (Recipe, error) {
	env := c.environ(p, step.Dir)
	r := Recipe{Roots: []string{step.Dir}}
	goflags := env.setting("GOFLAGS")
	for _, word := range splitQuoted(goflags) {
		if flag, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "="); !slices.Contains(harmless, flag) {
			return r, fmt.Errorf("GOFLAGS has -%s, which another machine need not have the files of", flag)
		}
	}
	out, err := c.run(ctx, step.Dir, env, func(string) {}, "env", "GOVERSION")
	if err != nil {
		return r, &Error{Doing: "asking for the release of Go", Output: out.stderr, Err: err}
	}
	version, _, _ := strings.Cut(string(bytes.TrimSpace(out.stdout)), " ")
	var ok bool
	if r.Release, ok = strings.CutPrefix(version, "go"); !ok {
		return r, fmt.Errorf("the go command is %s, of which there is no release: put another one on PATH, or set GOTOOLCHAIN", version)
	}
	for _, key := range deciding {
		if value := env.setting(key); value != "" && (key != "GOWORK" || value == "off") {
			r.Env = append(r.Env, key+"="+value)
		}
	}
	r.Args = append(buildFlags(step.Settings, goflags), args(step)...)
	if env.setting("GO111MODULE") == "off" {
		return r, nil
	}
	if r.Roots, err = moduleRoots(env, step.Dir); err != nil {
		return r, fmt.Errorf("finding the modules of %s: %w", step.Dir, err)
	}
	if len(step.Files) == 0 {
		r.Args[len(r.Args)-1] = localPath(step.Dir, step.Package)
	}
	return r, nil
}

// moduleRoots are the directories of the modules that a build in dir uses, but
// for those of the module cache.
func moduleRoots(env environ, dir string) ([]string, error) {
	work := workFile(env, dir)
	list := func() ([]string, error) { return moduleAt(findUp(dir, "go.mod")) }
	var files []string
	if work != "" {
		files = append(files, work)
		list = func() ([]string, error) { return workspace(work) }
	}
	more, err := list()
	if err != nil {
		return nil, err
	}
	roots := []string{dir}
	for _, file := range append(files, more...) {
		if root := filepath.Dir(file); !slices.Contains(roots, root) {
			roots = append(roots, root)
		}
	}
	return roots, nil
}

// localPath is how people write the import path of a package of the module that
// dir is in, or the path itself where it is of another one.
func localPath(dir, importPath string) string {
	root := findUp(dir, "go.mod")
	raw, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return importPath
	}
	module := modfile.ModulePath(raw)
	below, ok := strings.CutPrefix(importPath+"/", module+"/")
	target := filepath.Join(root, filepath.FromSlash(below))
	if module == "" || !ok || !isDir(target) || findUp(target, "go.mod") != root {
		return importPath
	}
	rel, err := filepath.Rel(dir, target)
	if err != nil {
		return importPath
	}
	if rel = filepath.ToSlash(rel); rel == "." || strings.HasPrefix(rel, "../") {
		return rel
	}
	return "./" + rel
}
