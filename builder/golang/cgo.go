package golang

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/stagectl/stagectl/builder/script"
)

// CgoError is returned where a package that is compiled needs a C compiler.
type CgoError struct {
	// Package is its import path, and File one of its files that is partly C.
	Package, File string
}

func (e *CgoError) Error() string {
	return fmt.Sprintf("needs a container (package %s uses cgo: %s)", e.Package, e.File)
}

// withoutCgo has a command compile without cgo. It returns whether the image would
// have compiled with it: where it is on, or where nothing is said and there is a
// C compiler for the platform.
func withoutCgo(s Stage, c script.Call, env []string) (_ []string, cgo bool) {
	want := lookup(c.Env, "CGO_ENABLED")
	if want == "" {
		env = append(env, "CGO_ENABLED=0")
	}
	if !compiles(c) {
		return env, false
	}
	own := platformEnv(s.Platform)
	native := !slices.ContainsFunc(own[:2], func(kv string) bool {
		name, value, _ := strings.Cut(kv, "=")
		return lookup(env, name) != value
	})
	return append(env, "CGO_ENABLED=0"), want == "1" || want == "" && s.Compiler && native
}

// cgoFormat has `go list` name packages with files that are partly C.
const cgoFormat = `{{if .CgoFiles}}{{.ImportPath}} {{.Standard}} {{index .CgoFiles 0}}{{end}}`

// checkCgo refuses to compile what the image's C compiler would have to. Of the
// standard library there is all without C, which is not the same: that is said.
func (h *Host) checkCgo(ctx context.Context, c script.Call, program string, env []string, release string) error {
	if remote(c.Args) {
		return nil // which `go list` does not take
	}
	flags, packages := splitArgs(c.Args[1:])
	args, dir := []string{"list", "-e", "-f", cgoFormat}, c.Dir
	for _, f := range divideFlags(flags) {
		switch f.name {
		case "tags", "mod", "modfile", "overlay":
			args = append(args, f.words...)
		case "C":
			_, dir, _ = strings.Cut(f.words[0], "=")
		}
	}
	if atLeast(release, "1.11") {
		args = append(args, "-deps")
	} else if deps, err := dependencies(ctx, c, program, flags, packages, env); err == nil {
		packages = append(packages[:len(packages):len(packages)], deps...)
	}
	cmd := exec.CommandContext(ctx, program, append(args, packages...)...)
	cmd.Dir, cmd.Env = dir, slices.Concat(env, []string{"CGO_ENABLED=1"})
	out, err := cmd.Output()
	if err != nil {
		return nil // the command itself says what is wrong
	}
	var standard []string
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		switch {
		case len(words) < 3:
		case words[1] != "true":
			return &CgoError{words[0], words[2]}
		case words[0] != "runtime/cgo": // which the others bring in
			standard = append(standard, words[0])
		}
	}
	if len(standard) > 0 {
		_, err = fmt.Fprintf(c.Stderr, "compiled without cgo, in the place of which there is Go: %s\n", strings.Join(standard, ", "))
	}
	return err
}
