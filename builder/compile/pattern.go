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
	fixed := target
	if i := strings.Index(fixed, "..."); i >= 0 {
		fixed = filepath.Dir(fixed[:i] + "x")
	}
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

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
