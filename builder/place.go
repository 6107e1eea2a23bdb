package builder

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/layer"
	"github.com/stagectl/stagectl/builder/plan"
)

// tree is the file system under the next layer: the base's and what was made
// on top of it. It is the only thing that makes the build read base layers.
func (st *stacker) tree() (*image.Tree, error) {
	if !st.loaded {
		name, _ := st.target.base()
		layers, err := st.base.Layers()
		if err != nil {
			return nil, fmt.Errorf("listing the layers of %s: %w", name, err)
		}
		below, err := image.ReadLayers(layers, func(l v1.Layer) ([]image.Entry, error) { return st.layerEntries(l, false) })
		if err != nil {
			return nil, fmt.Errorf("reading the files of %s: %w", name, err)
		}
		st.entries, st.loaded = append(below, st.entries...), true
	}
	return image.Merge(st.entries), nil
}

// layerEntries reads a layer once; the cache knows it by its digest from then
// on. Own is a layer that this program made.
func (s *session) layerEntries(l v1.Layer, own bool) ([]image.Entry, error) {
	digest, err := l.Digest()
	if err != nil {
		return nil, err
	}
	var entries []image.Entry
	key := fmt.Sprintf("v%d.%d %s", FormatVersion, treeVersion, digest)
	if s.Cache.Record(treeRecords, key, &entries) {
		return entries, nil
	}
	read := image.ReadLayer
	if own {
		read = image.ReadOwnLayer
	}
	if entries, err = read(l); err != nil || !recordable(entries) {
		return entries, err
	}
	return entries, s.Cache.SetRecord(treeRecords, key, entries)
}

// recordable tells whether JSON has all names as they are: it replaces in them
// what is not UTF-8, and so would make one file of two.
func recordable(entries []image.Entry) bool {
	return !slices.ContainsFunc(entries, func(e image.Entry) bool {
		return !utf8.ValidString(e.Path) || !utf8.ValidString(e.Link) || !utf8.ValidString(e.Uname) || !utf8.ValidString(e.Gname)
	})
}

// place makes the entries of a layer out of files, which are where the copy
// wants them: it moves what lies below a symbolic link of the base to where
// that leads, checks that nothing changes its type, and puts an entry for each
// directory above the files in front of them: a new one where it is missing,
// the base's own otherwise. Without the latter, an engine that unpacks a layer
// by itself, as Docker's overlay2 driver does, makes the directory anew and
// hides the owner and the mode it had.
//
// A binary in /app is the exception. Its directory is always written, for the
// sake of not reading, and so not downloading, the base.
func (st *stacker) place(files []layer.File, c *plan.Copy) ([]layer.File, error) {
	if c.From != "" && len(files) == 1 && path.Dir(files[0].Path) == appDir {
		return append([]layer.File{{Path: appDir, Mode: fs.ModeDir | 0o755}}, files...), nil
	}
	tree, err := st.tree()
	if err != nil {
		return nil, err
	}
	var placed []layer.File
	made := map[string]bool{}
	for _, f := range files {
		dir, err := tree.Resolve(path.Dir(f.Path))
		if err != nil {
			return nil, err
		}
		f.Path = path.Join(dir, path.Base(f.Path))
		keep, err := fits(tree, f)
		if err != nil {
			return nil, err
		}
		if !keep || made[f.Path] {
			continue
		}
		dirs, err := parents(tree, f.Path, made)
		if err != nil {
			return nil, err
		}
		made[f.Path] = true
		placed = append(append(placed, dirs...), f)
	}
	return placed, nil
}

// parents returns entries for the directories above p that made does not have.
func parents(tree *image.Tree, p string, made map[string]bool) ([]layer.File, error) {
	var dirs []layer.File
	for _, dir := range ancestors(p) {
		if made[dir] {
			continue
		}
		made[dir] = true
		e, ok := tree.Lstat(dir)
		switch {
		case !ok:
			dirs = append(dirs, layer.File{Path: dir, Mode: fs.ModeDir | 0o755})
		case e.Type != tar.TypeDir:
			return nil, &TypeError{Path: dir, Have: typeName(e.Type), Want: "directory"}
		default:
			dirs = append(dirs, layer.File{Path: dir, Mode: e.FileMode(), UID: e.UID, GID: e.GID})
		}
	}
	return dirs, nil
}

// fits tells whether f has to be written, and the error where it must not be.
// A directory may be copied onto a link to one, and goes where that leads.
func fits(tree *image.Tree, f layer.File) (bool, error) {
	e, ok := tree.Lstat(f.Path)
	if !ok {
		return true, nil
	}
	want := typeOf(f)
	if want == tar.TypeDir {
		real, found, err := tree.Stat(f.Path)
		if err != nil {
			return false, err
		}
		if found && real.Type == tar.TypeDir {
			return false, nil
		}
	}
	if e.Type != want {
		return false, &TypeError{Path: f.Path, Have: typeName(e.Type), Want: typeName(want)}
	}
	return true, nil
}

func typeOf(f layer.File) byte {
	switch {
	case f.Mode.IsDir():
		return tar.TypeDir
	case f.Mode&fs.ModeSymlink != 0:
		return tar.TypeSymlink
	}
	return tar.TypeReg
}

// ancestors are the directories above p but for the root, the highest first.
func ancestors(p string) []string {
	var dirs []string
	for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}

// TypeError is returned where a copy would replace a path of the image by one
// of another type.
type TypeError struct {
	Path string
	// Have and Want are "directory", "file", "symbolic link" or "special file".
	Have, Want string
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("%s is a %s in the image so far, and cannot become a %s", e.Path, e.Have, e.Want)
}

func typeName(t byte) string {
	switch t {
	case tar.TypeDir:
		return "directory"
	case tar.TypeSymlink:
		return "symbolic link"
	case tar.TypeReg:
		return "file"
	}
	return "special file"
}

// entriesOf is as much of the files as placing others needs.
func entriesOf(files []layer.File) []image.Entry {
	entries := make([]image.Entry, len(files))
	for i, f := range files {
		entries[i] = image.Entry{
			Path: f.Path, Type: typeOf(f), Link: f.Link,
			Mode: layer.TarMode(f.Mode), UID: f.UID, GID: f.GID,
		}
	}
	return entries
}
