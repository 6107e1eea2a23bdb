package compile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// absent stands for the content of what is not there, or is no file.
const absent = "-"

// sourceFile is a file that decides what a package is or what it compiles to.
type sourceFile struct {
	// Name from the directory of the package, with slashes.
	Name string `json:"name"`
	// Sum is the SHA-256 of the content, or absent.
	Sum string `json:"sum"`
	// Header is the sum of that part of a .go file that decides what the
	// package is: everything that `go list` reads of it.
	Header string `json:"header,omitempty"`
	// Listed files are there for what the package is, and not compiled.
	Listed bool `json:"listed,omitempty"`
}

// extensions are those of the files that the go command takes for sources
// (https://pkg.go.dev/cmd/go#hdr-File_types).
var extensions = []string{
	".go", ".s", ".S", ".sx", ".h", ".hh", ".hpp", ".hxx", ".c", ".cc", ".cpp", ".cxx", ".m",
	".f", ".F", ".for", ".f90", ".swig", ".swigcxx", ".syso",
}

// matters tells whether a file of that name in a package's directory is one
// that the go command looks at when it builds the package.
func matters(name string) bool {
	switch {
	case name == "go.mod", name == "default.pgo", name == "vendor":
		return true
	case strings.HasPrefix(name, "."), strings.HasPrefix(name, "_"), strings.HasSuffix(name, "_test.go"):
		return false
	}
	return slices.Contains(extensions, path.Ext(name))
}

// readSources returns the files of dir that matter, by name. A directory that
// is not there has none.
func readSources(dir string) []sourceFile {
	entries, _ := os.ReadDir(dir)
	var files []sourceFile
	for _, e := range entries {
		if matters(e.Name()) {
			files = append(files, sourceFile{Name: e.Name(), Sum: sumOrAbsent(filepath.Join(dir, e.Name()))})
		}
	}
	return files
}

// sumOrAbsent is the sum of what a path leads to.
func sumOrAbsent(name string) string {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return absent
	}
	sum, err := sumOf(name)
	if err != nil {
		return absent
	}
	return sum
}

// headerOf sums up the package clause and the imports with all that is before
// them, build constraints among it, and the lines that embed files, wherever
// they are. A file that cannot be parsed is its own header.
func headerOf(name string) string {
	src, err := os.ReadFile(name)
	if err != nil {
		return absent
	}
	h := sha256.New()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, src, parser.ImportsOnly|parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		h.Write(src)
		return hex.EncodeToString(h.Sum(nil))
	}
	end := f.Name.End()
	for _, decl := range f.Decls {
		end = max(end, decl.End())
	}
	at := min(set.Position(end).Offset, len(src))
	h.Write(src[:at])
	for line := range bytes.Lines(src[at:]) {
		if bytes.Contains(line, []byte("//go:embed")) {
			h.Write(line)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// embedNames sums up the names and types of all that patterns of //go:embed
// may match in dir (https://pkg.go.dev/embed): a little more than they do,
// which costs a look by the go command where it changes.
func embedNames(dir string, patterns []string) string {
	if len(patterns) == 0 {
		return ""
	}
	h := sha256.New()
	for _, pattern := range patterns {
		matched := []string{dir}
		for element := range strings.SplitSeq(strings.TrimPrefix(pattern, "all:"), "/") {
			matched = matchIn(h, matched, element)
		}
		for _, name := range matched {
			_ = filepath.WalkDir(name, func(at string, d fs.DirEntry, err error) error {
				if err == nil {
					note(h, dir, at, d.Type())
				}
				return nil
			})
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// matchIn returns the paths in dirs whose last element matches, and notes what
// there is to match.
func matchIn(w io.Writer, dirs []string, element string) []string {
	var matched []string
	for _, dir := range dirs {
		if !strings.ContainsAny(element, `*?[\`) {
			name := filepath.Join(dir, element)
			if info, err := os.Lstat(name); err == nil {
				note(w, dir, name, info.Mode().Type())
				matched = append(matched, name)
			}
			continue
		}
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if ok, _ := path.Match(element, e.Name()); ok {
				name := filepath.Join(dir, e.Name())
				note(w, dir, name, e.Type())
				matched = append(matched, name)
			}
		}
	}
	return matched
}

// note writes a name and its type.
func note(w io.Writer, dir, name string, t fs.FileMode) {
	rel, err := filepath.Rel(dir, name)
	if err != nil {
		rel = name
	}
	_, _ = io.WriteString(w, t.String()+" "+filepath.ToSlash(rel)+"\n") // a hash takes all
}

// treeNames sums up the directories below root in which the go command looks
// for packages that match a pattern with "...", and the names in them that
// matter (https://pkg.go.dev/cmd/go#hdr-Package_lists_and_patterns).
func treeNames(root string) string {
	h := sha256.New()
	top := root + string(filepath.Separator) // also where it is a link
	_ = filepath.WalkDir(top, func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // what cannot be read has no packages
		case d.IsDir() && at != top && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || matters(d.Name()):
			note(h, root, at, d.Type())
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil))
}
