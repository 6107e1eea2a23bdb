package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// Records keeps small values between builds, of a kind and under a key.
// *cache.Cache is one.
type Records interface {
	// Record reads a value, and says false where there is none.
	Record(kind, key string, value any) bool
	SetRecord(kind, key string, value any) error
}

// The kinds of records.
const (
	graphRecords   = "packages" // what packages consist of
	listingRecords = "patterns" // which packages patterns stand for
	binaryRecords  = "binaries" // what came out of which inputs
	inputRecords   = "inputs"   // what a package was last compiled from
)

// recordVersion is part of every key. It changes with what is recorded, and
// with what the go command is told beyond the inputs.
const recordVersion = 1

// input is a fact that decides what comes out of a build.
type input struct {
	// Name as it is told to the user: a file, a variable.
	Name string `json:"name"`
	// Value is the sum of its content, or absent.
	Value string `json:"value"`
}

func sortInputs(ids []input) []input {
	slices.SortFunc(ids, func(a, b input) int { return strings.Compare(a.Name, b.Name) })
	return ids
}

func digestOf(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // of strings
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// memory is what is remembered of the packages that the go command finds in
// one directory, for one platform.
type memory struct {
	// old is what is read of the records, new where they are written.
	old, new Records
	root     place
	dir      string
	env      environ
	settings plan.GoSettings
	// facts are the toolchain and the settings of the go command.
	facts []input
	// modules are as they are now, graph is as it was.
	modules []input
	graph   graph
}

// recall returns what is remembered, which may be nothing yet. It is an
// unknown error where nothing can be.
func (c *Compiler) recall(p v1.Platform, dir string, s plan.GoSettings) (*memory, error) {
	return c.recallIn("", c.environ(p, dir), dir, s)
}

// recallIn is recall in an environment that is complete, and where what is below
// root, unless that is empty, may be elsewhere the next time.
func (c *Compiler) recallIn(root place, env environ, dir string, s plan.GoSettings) (*memory, error) {
	if c.Records == nil {
		return nil, unknown{}
	}
	if err := knowable(env, s); err != nil {
		return nil, err
	}
	facts, err := c.toolchain(env)
	if err != nil {
		return nil, err
	}
	m := &memory{
		old: root.records(c.records()), new: root.records(c.Records), root: root, dir: dir,
		env: env, settings: s, facts: append(facts, env.settings(root)...),
	}
	sortInputs(m.facts)
	if m.modules, err = modules(env, dir); err != nil {
		return nil, err
	}
	m.readGraph()
	return m, nil
}

// readGraph reads what is remembered of packages, which is nothing where a
// package is null: that nobody wrote.
func (m *memory) readGraph() {
	if !m.old.Record(graphRecords, m.key(), &m.graph) {
		m.graph = graph{}
	}
	for _, n := range m.graph.Packages {
		if n == nil {
			m.graph = graph{}
			return
		}
	}
}

// records are read only where the user wants that.
func (c *Compiler) records() Records {
	if c.Forget {
		return forgetful{}
	}
	return c.Records
}

// forgetful knows nothing.
type forgetful struct{ Records }

func (forgetful) Record(string, string, any) bool { return false }

// key is that of the records about packages, with what they are about.
func (m *memory) key(about ...string) string {
	return digestOf(struct {
		Version   int
		Dir, Tags string
		Facts     []input
		About     []string
	}{recordVersion, m.root.hide(m.dir), m.settings.Tags, m.facts, about})
}

// listing is what the patterns of a group stand for.
type listing struct {
	// Checkout is the directory that the patterns start from.
	Checkout string `json:"checkout"`
	// Mains are the main packages, pattern by pattern.
	Mains [][]Package `json:"mains"`
	// Packages are all that matched, by their names in the graph.
	Packages []string `json:"packages"`
	// Trees are sums of the directories that patterns with "..." look at.
	Trees []string `json:"trees"`
}

// known returns the main packages that the patterns of g stand for, where all
// that decides that is as it was. Otherwise it returns what it read: the
// sources of the packages as they are before the go command is asked.
func (m *memory) known(g *patternGroup) ([][]Package, snapshot) {
	now := snapshot{modules: m.modules, trees: g.trees()}
	var l listing
	if !m.old.Record(listingRecords, m.key(g.patterns...), &l) || len(l.Mains) > len(g.places) {
		return nil, now
	}
	names, ok := m.graph.closure(l.Packages...)
	if !ok {
		return nil, now
	}
	now.sources = m.graph.readAll(names)
	if !slices.Equal(l.Trees, now.trees) || !m.holds(now.sources) {
		return nil, now
	}
	return l.Mains, now
}

// holds tells whether the graph is right about packages whose sources are now.
func (m *memory) holds(now map[string]sources) bool {
	for name, s := range now {
		n := m.graph.Packages[name]
		if !n.Sources.same(s, n.Dir) {
			return false
		}
	}
	return slices.Equal(m.graph.Modules, m.modules)
}

// snapshot is the state of all that decides what `go list` says.
type snapshot struct {
	modules []input
	trees   []string
	sources map[string]sources
}

// covers tells whether s has all that o has, and has it the same.
func (s snapshot) covers(o snapshot) bool {
	for name, now := range o.sources {
		if was, ok := s.sources[name]; !ok || !was.equal(now) {
			return false
		}
	}
	return slices.Equal(s.modules, o.modules) && slices.Equal(s.trees, o.trees)
}

// learn remembers what `go list` said, if it said it of what is there: nothing
// may have changed between the snapshot from before and now. Otherwise it says
// false, and returns the snapshot from now, for another try. What cannot be
// remembered at all needs none.
func (m *memory) learn(g *patternGroup, pkgs []listed, mains [][]Package, before snapshot) (done bool, now snapshot) {
	fresh, matched, err := newGraph(g, pkgs)
	if err != nil {
		return true, now
	}
	now = snapshot{trees: g.trees()}
	if now.modules, err = modules(m.env, m.dir); err != nil {
		return true, now
	}
	names, _ := fresh.closure(matched...)
	now.sources = fresh.readAll(names)
	if !before.covers(now) {
		return false, now
	}
	if !slices.Equal(m.graph.Modules, now.modules) || m.graph.Packages == nil {
		m.graph = graph{Checkout: m.dir, Modules: now.modules, Packages: map[string]*node{}}
	}
	m.modules = now.modules
	for _, pkg := range pkgs {
		name := g.nodeName(pkg)
		if s, ok := now.sources[name]; ok {
			fresh.Packages[name].Sources = s.complete(pkg.Dir, pkg)
			m.graph.Packages[name] = fresh.Packages[name]
		}
	}
	// That a record cannot be written only makes the next build slower.
	_ = m.new.SetRecord(graphRecords, m.key(), m.graph)
	_ = m.new.SetRecord(listingRecords, m.key(g.patterns...), listing{Checkout: m.dir, Mains: mains, Packages: matched, Trees: now.trees})
	return true, now
}

// newGraph is the graph of the packages that can change, and the names of those
// that the patterns matched.
func newGraph(g *patternGroup, pkgs []listed) (graph, []string, error) {
	fresh := graph{Packages: map[string]*node{}}
	var matched, mainModules []string
	for _, p := range pkgs {
		if p.Module != nil && p.Module.Main {
			mainModules = append(mainModules, p.Module.Path+"/")
		}
		if !p.changes() {
			continue
		}
		if p.Error != nil {
			return fresh, nil, unknown{"a package has an error"}
		}
		if len(p.CgoFiles) > 0 {
			return fresh, nil, unknown{"a package uses cgo"}
		}
		name := g.nodeName(p)
		fresh.Packages[name] = p.node()
		if !p.DepOnly {
			matched = append(matched, name)
		}
	}
	for _, p := range pkgs {
		inMain := func(prefix string) bool { return strings.HasPrefix(p.ImportPath, prefix) }
		if !p.changes() && !p.Standard && slices.ContainsFunc(mainModules, inMain) {
			return fresh, nil, unknown{fmt.Sprintf("package %s could come into the main module", p.ImportPath)}
		}
	}
	if len(mainModules) == 0 && len(fresh.Packages) > len(matched) {
		return fresh, nil, unknown{"packages of GOPATH are imported"}
	}
	return fresh, matched, nil
}

// inputsOf lists all that decides what comes out of compiling step, or nothing
// where its packages are not known. What it reads it keeps in read.
func (m *memory) inputsOf(step plan.Compile, flags []string, read map[string]sources) []input {
	return m.inputsOfAll([]string{mainName(step.Package, step.Files)}, read,
		input{"package", digestOf(args(step))}, input{"flags", digestOf(flags)})
}

// inputsOfAll is inputsOf for several packages, by their names in the graph, and
// for what else decides.
func (m *memory) inputsOfAll(packages []string, read map[string]sources, more ...input) []input {
	names, ok := m.graph.closure(packages...)
	if !ok {
		return nil
	}
	var missing []string
	for _, name := range names {
		if _, ok := read[name]; !ok {
			missing = append(missing, name)
		}
	}
	fresh := m.graph.readAll(missing)
	if !m.holds(fresh) {
		return nil
	}
	for name, s := range fresh {
		read[name] = s
	}
	ids := slices.Concat(m.facts, m.modules, more, []input{{"format of records", fmt.Sprint(recordVersion)}})
	for _, name := range names {
		n := m.graph.Packages[name]
		ids = append(ids, read[name].inputs(n.Sources, n.Dir, m.dir)...)
	}
	return slices.Compact(sortInputs(ids)) // a go.mod is there as such, and as a file of its directory
}
