package compile

import (
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
)

// workFile is the go.work in force for dir, or empty.
func workFile(env environ, dir string) string {
	if !inWorkspace(env, dir) {
		return ""
	}
	if name := env.setting("GOWORK"); name != "" && name != "auto" {
		return name
	}
	return filepath.Join(findUp(dir, "go.work"), "go.work")
}

// modules are the files that decide which versions of which modules a build in
// dir uses: the go.mod of the main modules, of those they are replaced by, the
// sums, the workspace and the list of what is vendored
// (https://go.dev/ref/mod#workspaces, https://go.dev/ref/mod#vendoring).
func modules(env environ, dir string) ([]input, error) {
	var files []string
	if env.setting("GO111MODULE") == "off" {
		return []input{{"module", "none for " + dir}}, nil
	}
	if work := workFile(env, dir); work != "" {
		roots, err := workspace(work)
		if err != nil {
			return nil, err
		}
		files = append(files, work, work+".sum", filepath.Join(filepath.Dir(work), "vendor", "modules.txt"))
		files = append(files, roots...)
	} else {
		root := findUp(dir, "go.mod")
		replaced, err := moduleAt(root)
		if err != nil {
			return nil, err
		}
		files = append(files, filepath.Join(root, "vendor", "modules.txt"))
		files = append(files, replaced...)
	}
	ids := make([]input, len(files))
	for i, file := range files {
		ids[i] = input{relative(dir, file), sumOrAbsent(file)}
	}
	return ids, nil
}

// workspace lists the module files of all that a go.work uses.
func workspace(name string) ([]string, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, unknown{"the go.work cannot be read"}
	}
	work, err := modfile.ParseWork(name, raw, nil)
	if err != nil {
		return nil, unknown{"the go.work has an error"}
	}
	files := replacements(filepath.Dir(name), work.Replace)
	for _, use := range work.Use {
		more, err := moduleAt(abs(filepath.Dir(name), filepath.FromSlash(use.Path)))
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	return files, nil
}

// moduleAt lists the files of the module at root, and of those in directories
// that replace others.
func moduleAt(root string) ([]string, error) {
	name := filepath.Join(root, "go.mod")
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, unknown{"there is no go.mod"}
	}
	mod, err := modfile.Parse(name, raw, nil)
	if err != nil {
		return nil, unknown{"the go.mod has an error"}
	}
	return append([]string{name, filepath.Join(root, "go.sum")}, replacements(root, mod.Replace)...), nil
}

func replacements(root string, all []*modfile.Replace) []string {
	var files []string
	for _, r := range all {
		if r.New.Version == "" {
			files = append(files, filepath.Join(abs(root, filepath.FromSlash(r.New.Path)), "go.mod"))
		}
	}
	return files
}

// relative is how a path is told to the user, and remembered where another
// checkout may be the next to need it.
func relative(dir, name string) string {
	rel, err := filepath.Rel(dir, name)
	if err != nil {
		return name
	}
	return filepath.ToSlash(rel)
}
