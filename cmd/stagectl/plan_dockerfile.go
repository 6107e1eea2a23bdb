package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/dockerfile"
	"github.com/stagectl/stagectl/builder/plan"
)

// printDockerfile prints what `plan --dockerfile` is asked for.
func (a *app) printDockerfile(ctx context.Context, w *workshop) (err error) {
	recipes := map[string]compile.Recipe{}
	top := w.plan.Dir
	for _, img := range w.plan.Images {
		for _, step := range img.Stages[0].Steps {
			r, err := w.compiler.Recipe(ctx, img.Platforms[0], *step.Compile)
			if err != nil {
				return err
			}
			recipes[recipeKey(step.Compile)] = r
			for _, root := range r.Roots {
				top = common(top, root)
			}
		}
	}
	if filepath.Dir(top) == top {
		return fmt.Errorf("what is compiled has nothing but %s in common, which is no build context: move the modules into one directory", top)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return fmt.Errorf("opening the build context: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	text, err := dockerfile.Print(w.plan, dockerfile.Printing{
		Context: top, Files: root.FS(),
		Recipe: func(c plan.Compile) (release string, env, args []string, err error) {
			r := recipes[recipeKey(&c)]
			return r.Release, r.Env, r.Args, nil
		},
	})
	if err != nil {
		return fmt.Errorf("printing the Dockerfile: %w", err)
	}
	if _, err := a.Stdout.Write(text); err != nil {
		return fmt.Errorf("writing to standard output: %w", err)
	}
	return nil
}

func recipeKey(c *plan.Compile) string {
	return strings.Join(append([]string{c.Dir, c.Package}, c.Files...), "\x00")
}

// common is the lowest directory that both are in.
func common(a, b string) string {
	for {
		rel, err := filepath.Rel(a, b)
		if err == nil && filepath.IsLocal(rel) || filepath.Dir(a) == a {
			return a
		}
		a = filepath.Dir(a)
	}
}
