package compile

import (
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// graph is what packages consist of, as `go list` said once. Packages of the
// standard library and of the module cache never change, and are not in it.
type graph struct {
	// Checkout is the directory in which it was said.
	Checkout string `json:"checkout"`
	// Modules are the files that decide about modules, as they were.
	Modules []input `json:"modules"`
	// Packages by import path; main packages by what a plan calls them.
	Packages map[string]*node `json:"packages"`
}

// node is a package.
type node struct {
	Dir string `json:"dir"`
	// Imports that are in the graph.
	Imports []string `json:"imports,omitempty"`
	Sources sources  `json:"sources"`
}

// sources are the files of a package, as they were.
type sources struct {
	Files []sourceFile `json:"files"`
	// Patterns of //go:embed, what there is for them to match, and the files
	// that they do match.
	Patterns []string     `json:"patterns,omitempty"`
	Names    string       `json:"names,omitempty"`
	Embedded []sourceFile `json:"embedded,omitempty"`
	// Above are the directories between the package and its module's root. With
	// a go.mod in one of them, the package would be another module's.
	Above []string `json:"above,omitempty"`
}

// node describes a listed package of which nothing has been read yet.
func (p listed) node() *node {
	n := &node{Dir: p.Dir, Imports: p.Imports, Sources: sources{Patterns: p.EmbedPatterns}}
	for _, name := range p.EmbedFiles {
		n.Sources.Embedded = append(n.Sources.Embedded, sourceFile{Name: name})
	}
	if p.Module != nil && p.Module.Dir != "" {
		for dir := filepath.Dir(p.Dir); len(dir) > len(p.Module.Dir); dir = filepath.Dir(dir) {
			n.Sources.Above = append(n.Sources.Above, dir)
		}
	}
	return n
}

// read returns the sources as they are now. All that is asked of the files is
// whether they are the same: what cannot be read is absent, and the go command
// will say why.
func (n *node) read() sources {
	now := sources{Files: readSources(n.Dir), Patterns: n.Sources.Patterns, Names: embedNames(n.Dir, n.Sources.Patterns)}
	for _, f := range n.Sources.Embedded {
		now.Embedded = append(now.Embedded, sourceFile{Name: f.Name, Sum: sumOrAbsent(filepath.Join(n.Dir, filepath.FromSlash(f.Name)))})
	}
	for _, dir := range n.Sources.Above {
		if findIn(dir, "go.mod") {
			continue
		}
		now.Above = append(now.Above, dir)
	}
	return now
}

// same tells whether what `go list` said of a package with the sources s still
// holds with now: no header of a file, and no other file that is not Go, has
// changed.
func (s sources) same(now sources, dir string) bool {
	return s.Names == now.Names && slices.Equal(s.Above, now.Above) &&
		slices.EqualFunc(s.Files, now.Files, func(was, is sourceFile) bool {
			return was.Name == is.Name && (was.Sum == is.Sum ||
				is.Sum != absent && was.Header != "" && was.Header == headerOf(filepath.Join(dir, is.Name)))
		})
}

// equal tells whether nothing has changed at all of what `go list` looks at.
// What is in embedded files is not part of that.
func (s sources) equal(o sources) bool {
	same := func(a, b sourceFile) bool { return a.Name == b.Name && a.Sum == b.Sum }
	return s.Names == o.Names && slices.Equal(s.Above, o.Above) && slices.Equal(s.Patterns, o.Patterns) &&
		slices.EqualFunc(s.Files, o.Files, same)
}

// complete adds what same needs later: headers, and which files are compiled.
func (s sources) complete(dir string, p listed) sources {
	compiled := slices.Concat(p.GoFiles, p.CgoFiles)
	for i, f := range s.Files {
		if strings.HasSuffix(f.Name, ".go") && f.Sum != absent {
			s.Files[i].Header = headerOf(filepath.Join(dir, f.Name))
			s.Files[i].Listed = !slices.Contains(compiled, f.Name)
		}
	}
	return s
}

// inputs are the files that a package is compiled from, named from root.
func (s sources) inputs(was sources, dir, root string) []input {
	var ids []input
	for i, f := range s.Files {
		if !was.Files[i].Listed {
			ids = append(ids, input{relative(root, filepath.Join(dir, f.Name)), f.Sum})
		}
	}
	for _, f := range s.Embedded {
		ids = append(ids, input{relative(root, filepath.Join(dir, filepath.FromSlash(f.Name))), f.Sum})
	}
	return ids
}

// closure is what some packages and all that they import are called. It says
// false where one of the former is not known.
func (g *graph) closure(names ...string) ([]string, bool) {
	found := map[string]bool{}
	for todo := names; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		n, ok := g.Packages[name]
		if !ok && slices.Contains(names, name) {
			return nil, false
		}
		if ok && !found[name] {
			found[name] = true
			todo = append(todo[:len(todo):len(todo)], n.Imports...)
		}
	}
	return slices.Sorted(maps.Keys(found)), true
}

// shape sums up what `go list` went by when it said which packages some are made
// of.
func (g *graph) shape(packages []string) string {
	names, _ := g.closure(packages...)
	var all []input
	for _, name := range names {
		for _, f := range g.Packages[name].Sources.Files {
			all = append(all, input{name + " " + f.Name, or(f.Header, f.Sum)})
		}
	}
	return digestOf([]any{g.Modules, all})
}

// readAll reads the sources of packages that are in the graph.
func (g *graph) readAll(names []string) map[string]sources {
	read := make([]sources, len(names))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		group.Go(func() error {
			read[i] = g.Packages[name].read()
			return nil
		})
	}
	_ = group.Wait() // none fails
	all := make(map[string]sources, len(names))
	for i, name := range names {
		all[name] = read[i]
	}
	return all
}
