package compile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stagectl/stagectl/builder/plan"
)

// Call is a run of `go build` or `go install` that somebody else has written, on
// files that may be there for one build only.
type Call struct {
	// Root is a directory that may be another one the next time. That it is
	// elsewhere changes nothing of what is compiled.
	Root string
	// Go is the command, and Env all of its environment.
	Go  string
	Env []string
	// Dir is where it runs, absolute.
	Dir string
	// Args are all of its arguments as they are written. What is added to them
	// follows from those, the environment and the toolchain.
	Args []string
	// Packages are those of Args that are no flags.
	Packages []string
	// ListFlags are those that decide what packages are, and LDFlags those for
	// the linker.
	ListFlags []string
	LDFlags   string
	// Trees, unless empty, are directories whose files are all that is compiled,
	// but for the toolchain. It is for releases whose `go list` says too little.
	Trees []string
	// Embeds says that any file in there may be part of a program, and not only
	// those that the go command takes for sources.
	Embeds bool
	// File or Dir is where the program goes, or each under its own name; it is
	// neither where nothing is left.
	File, OutDir string
	// Checkout is a directory that exists for as long as what is remembered is of
	// use.
	Checkout string
	// Check, unless nil, is called where the packages may be others than when it
	// last passed them: its error is Around's. What was made without is another call.
	Check func(context.Context) error
	// Downloading is told when the go command that looks at the packages downloads.
	Downloading func(line string)
}

// callRecords are what calls have left.
const callRecords = "calls"

// callVersion changes with what is remembered of calls.
const callVersion = 1

// program is what a call has left.
type program struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Around does what call says: from memory where nothing of what decides has
// changed, and by run otherwise. What run leaves is remembered. What is kept of
// several programs is there when it runs, so that those that have not changed
// are not linked again.
func (c *Compiler) Around(ctx context.Context, call *Call, run func(context.Context) error) (reused bool, err error) {
	own := *c
	own.Go, own.Env = call.Go, call.Env
	a := &around{Compiler: &own, call: call}
	checked := func(ctx context.Context) error {
		if err := a.check(ctx); err != nil {
			return err
		}
		return run(ctx)
	}
	if c.Outputs == "" || c.Records == nil {
		return false, checked(ctx)
	}
	before, err := a.inputs(ctx)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		return false, checked(ctx) // and if anything is wrong, that says so
	}
	if a.looked {
		if err := a.check(ctx); err != nil {
			return false, err
		}
	}
	kept, err := own.openAt(ctx, a.key(), call.Checkout, a.names)
	if err != nil {
		return false, err
	}
	defer kept.close()
	var made []program
	if a.records().Record(callRecords, digestOf(before), &made) && a.place(kept, made) {
		return true, nil
	}
	copies := a.placeOld(kept)
	if err := checked(ctx); err != nil {
		copies.remove()
		return false, err
	}
	after, err := a.inputs(ctx)
	if err != nil || !slices.Equal(before, after) {
		return false, nil // it only is not remembered
	}
	if made, err = a.keep(kept); err == nil {
		_ = a.Records.SetRecord(callRecords, digestOf(before), made)
	}
	return false, nil
}

// around is one call.
type around struct {
	*Compiler
	call *Call
	// names of the programs, once inputs are known.
	names []string
	// looked says that the go command was asked for the packages, and passed that
	// the call has been checked.
	looked, passed bool
	// packages are what is checked, where that is known.
	packages input
}

func (a *around) check(ctx context.Context) error {
	if a.call.Check == nil || a.passed {
		return nil
	}
	a.passed = true
	var checked string
	if a.packages.Value != "" && a.records().Record(callRecords, a.packages.Name, &checked) && checked == a.packages.Value {
		return nil
	}
	err := a.call.Check(ctx)
	if err == nil && a.packages.Value != "" {
		_ = a.Records.SetRecord(callRecords, a.packages.Name, a.packages.Value)
	}
	return err
}

func (a *around) root() place { return place(a.call.Root) }

// key is that of the programs that are kept.
func (a *around) key() string {
	parts := append([]string{a.call.Checkout, a.call.Dir, a.call.Go}, a.call.Args...)
	for _, name := range []string{"GOOS", "GOARCH", "GOARM", "GOAMD64", "GOARM64", "GOFLAGS", "GOTOOLCHAIN"} {
		parts = append(parts, environ(a.call.Env).get(name))
	}
	return fmt.Sprintf("call %q", a.root().hideAll(parts))
}

// inputs are all that decides what comes out; an error where that is not known.
func (a *around) inputs(ctx context.Context) ([]input, error) {
	more := []input{
		{"arguments", digestOf(a.root().hideAll(a.call.Args))}, {"format of calls", fmt.Sprint(callVersion)},
		{"checked", fmt.Sprint(a.call.Check != nil)},
	}
	settings := plan.GoSettings{Tags: strings.Join(a.call.ListFlags, " "), LDFlags: a.call.LDFlags}
	if len(a.call.Trees) > 0 {
		a.names = []string{filepath.Base(a.call.File)}
		return a.treeInputs(settings, more)
	}
	m, err := a.recallIn(a.root(), a.call.Env, a.call.Dir, settings)
	if err != nil {
		return nil, err
	}
	g := a.group()
	if err := g.knowable(m.env); err != nil {
		return nil, err
	}
	mains, err := a.mains(ctx, m, g)
	if err != nil {
		return nil, err
	}
	var l listing
	if !m.new.Record(listingRecords, m.key(g.patterns...), &l) {
		return nil, unknown{"what the packages are is not remembered"}
	}
	ids := m.inputsOfAll(l.Packages, map[string]sources{}, more...)
	if ids == nil {
		return nil, unknown{"the packages are others"}
	}
	a.packages = input{m.key(append([]string{"checked"}, g.patterns...)...), m.graph.shape(l.Packages)}
	a.names = nil
	switch {
	case a.call.File != "":
		a.names = []string{filepath.Base(a.call.File)}
	case a.call.OutDir != "":
		for _, p := range mains {
			a.names = append(a.names, p.Binary)
		}
	}
	return ids, nil
}

func (a *around) group() *patternGroup {
	packages := a.call.Packages
	if len(packages) == 0 {
		packages = []string{"."}
	}
	g := &patternGroup{dir: a.call.Dir, shown: packages}
	for i, p := range packages {
		g.files = isFile(g.dir, p)
		if !g.files {
			p = clean(p)
		}
		g.patterns, g.places = append(g.patterns, p), append(g.places, i)
	}
	return g
}

// mains are the main packages, as they are remembered or as the go command says.
func (a *around) mains(ctx context.Context, m *memory, g *patternGroup) ([]Package, error) {
	mains, before := m.known(g)
	for try := 0; mains == nil; try++ {
		a.looked = true
		pkgs, err := a.list(ctx, g)
		if err != nil {
			return nil, err
		}
		found := [][]Package{{}}
		for _, p := range pkgs {
			if p.Name == "main" && !p.DepOnly {
				found[0] = append(found[0], g.main(p))
			}
		}
		done, now := m.learn(g, pkgs, found, before)
		if done || try == maxTries {
			mains = found
		}
		before = now
	}
	return slices.Concat(mains...), nil
}

func (a *around) list(ctx context.Context, g *patternGroup) ([]listed, error) {
	args := append([]string{"list", "-e", depsFields, "-deps"}, a.call.ListFlags...)
	out, err := a.run(ctx, g.dir, a.call.Env, a.call.Downloading, append(append(args, "--"), g.patterns...)...)
	if err != nil {
		return nil, err
	}
	pkgs, err := decode(out.stdout)
	if err == nil && slices.ContainsFunc(pkgs, func(p listed) bool { return p.Error != nil }) {
		err = unknown{"a package has an error"}
	}
	return pkgs, err
}

// path is where a program goes.
func (a *around) path(name string) string {
	if a.call.File != "" {
		return a.call.File
	}
	return filepath.Join(a.call.OutDir, name)
}

// place puts what is kept where the call would have left it. It says false where
// not all is there as it was.
func (a *around) place(kept *links, made []program) bool {
	var copies copies
	for _, p := range made {
		to := a.path(p.Name)
		if kept.Sums[p.Name] != p.Digest || !replaceable(to) || copies.put(filepath.Join(kept.dir, p.Name), to, p.Digest) != nil {
			copies.remove()
			return false
		}
	}
	return true
}

// replaceable tells whether the go command would put a program at a path.
func replaceable(name string) bool {
	_, err := os.Lstat(name)
	return errors.Is(err, os.ErrNotExist) || err == nil && isELF(name)
}

// placeOld puts programs of an earlier call where this one may leave them as they
// are. A single one is never left, or there would have been nothing to do.
func (a *around) placeOld(kept *links) copies {
	var copies copies
	if len(a.names) < 2 {
		return nil
	}
	for _, name := range a.names {
		to := a.path(name)
		if _, err := os.Lstat(to); err == nil || kept.Sums[name] == "" {
			continue
		}
		_ = copies.put(filepath.Join(kept.dir, name), to, kept.Sums[name]) // else it is linked
	}
	return copies
}

// keep takes copies of what the call has left.
func (a *around) keep(kept *links) ([]program, error) {
	made := []program{}
	sums := map[string]string{}
	for _, name := range a.names {
		from, to := a.path(name), filepath.Join(kept.dir, name)
		sum, err := sumOf(from)
		if err != nil {
			return nil, err
		}
		if _, err := os.Lstat(to); err != nil || kept.Sums[name] != sum {
			_ = os.Remove(to)
			if err := copyFile(from, to); err != nil {
				return nil, err
			}
		}
		sums[name] = sum
		made = append(made, program{name, sum})
	}
	kept.Sums = sums
	return made, kept.note()
}

// copies are files that were put somewhere.
type copies map[string]os.FileInfo

// put makes a copy of a file that has to have a sum.
func (p *copies) put(from, to, sum string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := copyFile(from, to); err != nil {
		return err
	}
	got, err := sumOf(to)
	err = errors.Join(err, os.Chmod(to, 0o755))
	if err == nil && got != sum {
		_ = os.Remove(from)
		err = fmt.Errorf("%s is damaged", filepath.Base(from))
	}
	info, statErr := os.Lstat(to)
	if err = errors.Join(err, statErr); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	if *p == nil {
		*p = copies{}
	}
	(*p)[to] = info
	return nil
}

// remove removes those that are as they were.
func (p copies) remove() {
	for name, was := range p {
		if is, err := os.Lstat(name); err == nil && os.SameFile(was, is) {
			_ = os.Remove(name)
		}
	}
}
