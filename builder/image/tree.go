package image

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/limit"
)

const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	// maxLinks is how many symbolic links one path may go through, as on Linux.
	maxLinks = 40
	// maxDepth is how deep a directory may be. The path of an entry leads no
	// deeper, but links could make a directory that no path leads to.
	maxDepth = limit.Path / 2
)

// ErrLoop is returned for a path that goes through too many symbolic links.
var ErrLoop = errors.New("too many symbolic links")

// Tree is the merged file system of an image: layers applied one over the
// other with whiteouts and opaque directories carried out
// (https://github.com/opencontainers/image-spec/blob/main/layer.md).
type Tree struct {
	root *node
	// single is set for the tree of one layer alone.
	single bool
}

// node is a path in the tree.
type node struct {
	// entry has as its path the one of the content in its layer. The path in
	// the tree follows from the parents, and would be long in a deep tree.
	entry  Entry
	name   string
	parent *node
	depth  int
	// children of a directory by name, nil until there is one.
	children map[string]*node
	// layer is the number of the last layer that has the path.
	layer int
	// index is the number in its layer of the entry that the content is in.
	index int
	// pruned is the number of the last layer that hid what is below, plus 1.
	pruned int
}

// Merge applies layers, the lowest first. Each is in the order of its tar.
//
// What no engine would unpack is left out: a hard link to nothing or to a
// directory, and another root than a directory.
func Merge(layers [][]Entry) *Tree {
	t := newTree()
	for n, entries := range layers {
		for i, e := range entries {
			e.Layer = n
			t.apply(e, i)
		}
	}
	return t
}

// LayerTree returns the tree of one layer alone, to look at and not to unpack:
// whiteouts are files in it, and hard links to lower layers stay links. Its
// entries get layer as their Layer.
func LayerTree(entries []Entry, layer int) *Tree {
	t := newTree()
	t.single = true
	for i, e := range entries {
		e.Layer = layer
		t.apply(e, i)
	}
	return t
}

func newTree() *Tree { return &Tree{root: &node{entry: impliedDir(0)}} }

// ReadTree reads and merges all layers of img.
func ReadTree(img v1.Image) (*Tree, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("listing layers: %w", err)
	}
	all, err := ReadLayers(layers, nil)
	if err != nil {
		return nil, err
	}
	return Merge(all), nil
}

// apply merges the entry that is number index in its layer.
func (t *Tree) apply(e Entry, index int) {
	dir, name := path.Split(e.Path)
	switch {
	case e.Path == "/":
		t.setRoot(e)
	case t.single:
		t.add(e, index)
	case strings.Contains(dir, "/"+whiteoutPrefix):
		// The names are reserved; AUFS kept its own files in such directories.
	case strings.HasPrefix(name, whiteoutPrefix):
		t.whiteout(dir, name, e.Layer)
	default:
		t.add(e, index)
	}
}

// setRoot takes the root's metadata. The root stays a directory: a link in its
// place would move all that follows (CVE-2021-29136).
func (t *Tree) setRoot(e Entry) {
	if e.Type == tar.TypeDir {
		t.root.entry = e
	}
}

// whiteout hides what lower layers have, wherever in the layer it stands.
func (t *Tree) whiteout(dir, name string, layer int) {
	d, missing, err := t.follow(dir)
	if err != nil || len(missing) > 0 {
		return
	}
	if name == whiteoutOpaque {
		d.hideChildren(layer)
		return
	}
	name = strings.TrimPrefix(name, whiteoutPrefix)
	if hidden := d.children[name]; hidden != nil && !hidden.hide(layer) {
		delete(d.children, name)
	}
}

// hide removes what layers below layer have of n. If the layer itself has
// something at n or below it, that is left, and the result true.
func (n *node) hide(layer int) (left bool) {
	n.hideChildren(layer)
	if n.layer < layer && len(n.children) > 0 {
		n.entry, n.layer = impliedDir(layer), layer
	}
	return n.layer == layer
}

func (n *node) hideChildren(layer int) {
	if n.pruned > layer {
		return // nothing of lower layers came back
	}
	n.pruned = layer + 1
	maps.DeleteFunc(n.children, func(_ string, c *node) bool { return !c.hide(layer) })
}

// impliedDir is a directory that a layer has only as the parent of something.
func impliedDir(layer int) Entry { return Entry{Type: tar.TypeDir, Mode: 0o755, Layer: layer} }

func (t *Tree) add(e Entry, index int) {
	layer, dir, name := e.Layer, path.Dir(e.Path), path.Base(e.Path)
	if e.Type == tar.TypeLink {
		target := t.linkTarget(e.Link)
		switch {
		case target != nil && target.entry.Type != tar.TypeDir:
			e, index = target.entry, target.index
		case !t.single:
			return
		}
	}
	parent := t.mkdir(dir, layer)
	if parent == nil || parent.depth == maxDepth {
		return
	}
	n := parent.children[name]
	if n == nil || n.entry.Type != tar.TypeDir || e.Type != tar.TypeDir {
		n = parent.newChild(name)
	}
	e.Path = e.content()
	n.entry, n.layer, n.index = e, layer, index
}

// linkTarget is what a hard link links to: the link itself if that is symbolic.
func (t *Tree) linkTarget(p string) *node {
	dir, missing, err := t.follow(path.Dir(p))
	if err != nil || len(missing) > 0 {
		return nil
	}
	return dir.children[path.Base(p)]
}

// mkdir returns the directory p, following links as an unpacking engine does
// and making what is missing. A file in the way is replaced. It returns nil
// for a directory that would be too deep.
func (t *Tree) mkdir(p string, layer int) *node {
	n, missing, err := t.follow(p)
	if err != nil {
		n, missing = t.root, slices.Collect(elements(p))
	}
	if len(missing) > maxDepth-n.depth {
		return nil
	}
	if n.entry.Type != tar.TypeDir {
		n = n.parent.newChild(n.name)
		n.entry, n.layer = impliedDir(layer), layer
	}
	for _, name := range missing {
		next := n.children[name]
		if next == nil || next.entry.Type != tar.TypeDir {
			next = n.newChild(name)
			next.entry, next.layer = impliedDir(layer), layer
		}
		n = next
	}
	return n
}

// newChild puts a new node into n in the place of what was there.
func (n *node) newChild(name string) *node {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	c := &node{name: name, parent: n, depth: n.depth + 1}
	n.children[name] = c
	return c
}

// path is where n is in the tree.
func (n *node) path() string {
	var names []string
	for ; n.parent != nil; n = n.parent {
		names = append(names, n.name)
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/")
}

// at returns the entry of n, whose path in the tree is p.
func (n *node) at(p string) Entry {
	e := n.entry
	if e.Path, e.ContentPath = p, ""; e.Type == tar.TypeReg && n.entry.Path != p {
		e.ContentPath = n.entry.Path
	}
	return e
}

// elements are the names in p that lead somewhere, ".." included.
func elements(p string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range strings.SplitSeq(p, "/") {
			if name != "" && name != "." && !yield(name) {
				return
			}
		}
	}
}

// find returns the node at p without following links, or nil.
func (t *Tree) find(p string) *node {
	n := t.root
	for name := range elements(CleanPath(p)) {
		if n = n.children[name]; n == nil {
			return nil
		}
	}
	return n
}

// follow walks along p and the symbolic links on the way, as far as there is
// something. The elements after that are missing.
func (t *Tree) follow(p string) (n *node, missing []string, err error) {
	n = t.root
	links, steps := 0, 0
	todo := slices.Collect(elements(p))
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if steps++; steps > limit.Steps {
			return nil, nil, ErrLoop
		}
		next := n.children[name]
		switch {
		case name == ".." && len(missing) > 0:
			missing = missing[:len(missing)-1]
		case name == "..":
			n = cmp.Or(n.parent, t.root)
		case next == nil || len(missing) > 0:
			missing = append(missing, name)
		case next.entry.Type != tar.TypeSymlink:
			n = next
		default:
			if links++; links > maxLinks {
				return nil, nil, ErrLoop
			}
			if path.IsAbs(next.entry.Link) {
				n = t.root
			}
			todo = append(slices.Collect(elements(next.entry.Link)), todo...)
		}
	}
	return n, missing, nil
}

// Lstat returns the entry at p, not following a link in its last element or
// in any other.
func (t *Tree) Lstat(p string) (Entry, bool) {
	n := t.find(p)
	if n == nil {
		return Entry{}, false
	}
	return n.at(n.path()), true
}

// Stat returns the entry at p with all links followed inside the image.
func (t *Tree) Stat(p string) (Entry, bool, error) {
	n, missing, err := t.follow(p)
	if err != nil {
		return Entry{}, false, fmt.Errorf("resolving %s: %w", p, err)
	}
	if len(missing) > 0 {
		return Entry{}, false, nil
	}
	return n.at(n.path()), true, nil
}

// Locate says where the content of the regular file at p is, not following
// links: the layer's number, and the number of its entry there, counted from 0
// in the order of ReadEntries. Unlike Entry.Content it is right for a layer
// that has a path twice.
func (t *Tree) Locate(p string) (layer, index int, ok bool) {
	n := t.find(p)
	if n == nil || n.entry.Type != tar.TypeReg {
		return 0, 0, false
	}
	return n.entry.Layer, n.index, true
}

// Resolve follows the symbolic links in p the way a process with the image as
// its root would, the last element included, and returns the path reached.
// Elements that do not exist are kept as they are, so the result may not exist.
func (t *Tree) Resolve(p string) (string, error) {
	n, missing, err := t.follow(p)
	if err != nil {
		return "", fmt.Errorf("resolving %s: %w", p, err)
	}
	return path.Join(append([]string{n.path()}, missing...)...), nil
}

// ReadDir returns the entries in the directory p, sorted by name, not
// following links.
func (t *Tree) ReadDir(p string) []Entry {
	n := t.find(p)
	if n == nil {
		return nil
	}
	dir := n.path()
	entries := make([]Entry, 0, len(n.children))
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		entries = append(entries, n.children[name].at(path.Join(dir, name)))
	}
	return entries
}

// Walk calls fn for every path below the root, parents before their children
// and siblings in the order of their names.
func (t *Tree) Walk(fn func(Entry)) { t.root.walk("/", fn) }

func (n *node) walk(dir string, fn func(Entry)) {
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		c, p := n.children[name], path.Join(dir, name)
		fn(c.at(p))
		c.walk(p, fn)
	}
}
