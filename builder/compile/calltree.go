package compile

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stagectl/stagectl/builder/plan"
)

// treeInputs are the inputs where the packages are not asked for: all files that
// they could be made of.
func (a *around) treeInputs(s plan.GoSettings, more []input) ([]input, error) {
	env := environ(a.call.Env)
	if err := knowable(env, s); err != nil {
		return nil, err
	}
	facts, err := a.toolchain(env)
	if err != nil {
		return nil, err
	}
	if err := a.within(env); err != nil {
		return nil, err
	}
	ids := slices.Concat(facts, env.settings(a.root()), more)
	for _, root := range a.call.Trees {
		files, err := a.tree(root)
		if err != nil {
			return nil, err
		}
		ids = append(ids, files...)
	}
	return slices.Compact(sortInputs(ids)), nil
}

// within tells of a module that is made of files outside of the trees.
func (a *around) within(env environ) error {
	if !inModule(env, a.call.Dir) || env.setting("GO111MODULE") == "off" {
		return nil
	}
	files, err := modules(env, a.call.Dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		name := abs(a.call.Dir, filepath.FromSlash(f.Name))
		if !slices.ContainsFunc(a.call.Trees, func(root string) bool {
			rel, err := filepath.Rel(root, name)
			return err == nil && filepath.IsLocal(rel)
		}) {
			return unknown{"the module is made of more than one directory: " + f.Name}
		}
	}
	return nil
}

// tree sums up the files in a directory, which may not be there.
func (a *around) tree(root string) ([]input, error) {
	var ids []input
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && name == root:
			return filepath.SkipAll
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case d.IsDir(), name == a.call.File, !a.call.Embeds && !matters(d.Name()) && d.Name() != "go.sum" && d.Name() != "modules.txt":
			return nil
		}
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			return unknown{fmt.Sprintf("%s leads to a directory", d.Name())}
		}
		if strings.HasSuffix(name, ".go") && importsAbove(name) {
			return unknown{fmt.Sprintf("%s may import what is above it", d.Name())}
		}
		ids = append(ids, input{a.root().hide(name), sumOrAbsent(name)})
		return nil
	})
	return ids, err
}

// importsAbove tells whether a file has what may be a path that leads out of its
// directory, as outside of modules that of an import may be.
func importsAbove(name string) bool {
	src, err := os.ReadFile(name)
	return err != nil || bytes.Contains(src, []byte(`"..`)) || bytes.Contains(src, []byte("`.."))
}
