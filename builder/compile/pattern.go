package compile

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// patternGroup is the patterns that one run of the go command can take.
type patternGroup struct {
	dir string
	// files says that the patterns are the .go files of one package.
	files bool
	// patterns as the go command gets them, shown as the user wrote them, at
	// the places that they have among all.
	patterns, shown []string
	places          []int
}

// groupPatterns puts a local pattern that leads into a nested module with that
// module, unless a workspace makes it one build.
func groupPatterns(env environ, dir string, patterns []string) []*patternGroup {
	var groups []*patternGroup
	workspace := inWorkspace(env, dir)
	for place, shown := range patterns {
		g := &patternGroup{dir: dir, files: isFile(dir, shown)}
		pattern := shown
		if !g.files {
			pattern = clean(pattern)
			if isLocal(pattern) && !workspace {
				g.dir, pattern = nested(dir, pattern)
			}
		}
		i := slices.IndexFunc(groups, func(o *patternGroup) bool { return o.dir == g.dir && o.files == g.files })
		if i < 0 {
			i = len(groups)
			groups = append(groups, g)
		}
		g = groups[i]
		g.patterns = append(g.patterns, pattern)
		g.shown = append(g.shown, shown)
		g.places = append(g.places, place)
	}
	return groups
}

// isFile tells a file from an import path or a directory that ends in ".go".
func isFile(dir, pattern string) bool {
	if !strings.HasSuffix(pattern, ".go") {
		return false
	}
	info, err := os.Stat(abs(dir, pattern))
	return err == nil && !info.IsDir()
}

func abs(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

func isLocal(pattern string) bool {
	return pattern == "." || pattern == ".." || strings.HasPrefix(pattern, "./") ||
		strings.HasPrefix(pattern, "../") || filepath.IsAbs(pattern)
}

// clean returns the form in which `go list` says what a package matched
// (cmd/go/internal/search.CleanPatterns).
func clean(pattern string) string {
	if filepath.IsAbs(pattern) {
		return filepath.Clean(pattern)
	}
	pattern = filepath.ToSlash(pattern)
	cleaned := path.Clean(pattern)
	if strings.HasPrefix(pattern, "./") && cleaned != "." {
		return "./" + cleaned
	}
	return cleaned
}

// nested returns the directory to run in for a local pattern, and the pattern
// from there: those given, but where another module begins on the way, or where
// the pattern leads to what is in no module.
func nested(dir, pattern string) (string, string) {
	target := abs(dir, pattern)
	fixed := fixedDir(target)
	root, here := findUp(fixed, "go.mod"), findUp(dir, "go.mod")
	if root == "" && (here != "" || filepath.IsAbs(pattern)) && isDir(fixed) {
		root = fixed // without modules, the go command takes no absolute path
	}
	rel, err := filepath.Rel(root, target)
	if root == "" || root == here || err != nil {
		return dir, pattern
	}
	return root, clean("./" + filepath.ToSlash(rel))
}

// fixedDir is the directory below which all is that a path with "..." stands for.
func fixedDir(target string) string {
	if i := strings.Index(target, "..."); i >= 0 {
		return filepath.Dir(target[:i] + "x")
	}
	return target
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// knowable tells why what the patterns stand for cannot be told from files.
func (g *patternGroup) knowable(env environ) error {
	for _, pattern := range g.patterns {
		switch {
		case slices.Contains([]string{"all", "std", "cmd", "tool", "work"}, pattern):
			return unknown{"the pattern " + pattern + " has a meaning of its own"}
		case !g.files && !isLocal(pattern) && strings.Contains(pattern, "...") && inWorkspace(env, g.dir):
			return unknown{"the pattern " + pattern + " is about all of a workspace"}
		}
	}
	return nil
}

// trees are the sums of the directories that patterns with "..." are about.
func (g *patternGroup) trees() []string {
	var sums []string
	for _, pattern := range g.patterns {
		switch {
		case g.files || !strings.Contains(pattern, "..."):
		case isLocal(pattern):
			sums = append(sums, treeNames(fixedDir(abs(g.dir, pattern))))
		default:
			sums = append(sums, treeNames(findUp(g.dir, "go.mod")))
		}
	}
	return sums
}

// nodeName is what a listed package is called in a graph.
func (g *patternGroup) nodeName(p listed) string {
	switch {
	case g.files && !p.DepOnly:
		return mainName("", g.patterns)
	case p.Name == "main":
		return p.buildPath(g.dir)
	}
	return p.ImportPath
}

// mainName is what a main package is called in a graph: its import path or,
// where it has none, its files.
func mainName(importPath string, files []string) string {
	if len(files) > 0 {
		return strings.Join(files, " ")
	}
	return importPath
}
