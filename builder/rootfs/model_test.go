package rootfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
)

// node is a file of the model: what a kernel would do, on a tree in memory.
type node struct {
	inode    *inode
	name     string
	parent   *node
	children map[string]*node
}

// inode is what the names of one file share.
type inode struct {
	mode     fs.FileMode
	uid, gid int
	content  string
	link     string
}

func newModel() *node {
	n := &node{inode: &inode{mode: fs.ModeDir | 0o755}, children: map[string]*node{}}
	n.parent = n
	return n
}

// follow returns the directory that p is in, its last name, and what is there.
func (n *node) follow(p string, last bool, links *int) (dir *node, name string, at *node, err error) {
	dir, at = n, n
	if path.IsAbs(p) {
		for dir.parent != dir {
			dir = dir.parent
		}
		at = dir
	}
	var names []string
	for _, name := range strings.Split(p, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	for i, element := range names {
		if at == nil {
			return nil, "", nil, syscall.ENOENT
		}
		if at.children == nil {
			return nil, "", nil, syscall.ENOTDIR
		}
		if element == ".." {
			at = at.parent
			dir, name = at.parent, at.name
			continue
		}
		dir, name = at, element
		at = dir.children[element]
		if at != nil && at.inode.link != "" && (last || i < len(names)-1) {
			if *links++; *links > 40 {
				return nil, "", nil, syscall.ELOOP
			}
			if dir, name, at, err = dir.follow(at.inode.link, true, links); err != nil {
				return nil, "", nil, err
			}
		}
	}
	return dir, name, at, nil
}

func (n *node) find(p string, follow bool) (dir *node, name string, at *node, err error) {
	links := 0
	return n.follow(p, follow, &links)
}

func (n *node) existing(p string, follow bool) (*node, error) {
	_, _, at, err := n.find(p, follow)
	if err == nil && at == nil {
		err = syscall.ENOENT
	}
	return at, err
}

func (n *node) add(p string, i *inode) error {
	dir, name, at, err := n.find(p, false)
	switch {
	case err != nil:
		return err
	case at != nil:
		return syscall.EEXIST
	}
	dir.attach(name, &node{inode: i})
	return nil
}

func (n *node) attach(name string, c *node) {
	c.name, c.parent = name, n
	if c.inode.mode.IsDir() && c.children == nil {
		c.children = map[string]*node{}
	}
	n.children[name] = c
}

func (n *node) write(p, content string, mode fs.FileMode, o rootfs.Owner) error {
	dir, name, at, err := n.find(p, true)
	switch {
	case err != nil:
		return err
	case at == nil:
		dir.attach(name, &node{inode: &inode{mode: mode, uid: o.UID, gid: o.GID, content: content}})
		return nil
	case at.children != nil:
		return syscall.EISDIR
	}
	at.inode.content = content
	return nil
}

func (n *node) remove(p string, all bool) error {
	_, _, at, err := n.find(p, false)
	switch {
	case all && (at == nil || err != nil):
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
			err = nil
		}
		return err
	case err != nil:
		return err
	case at == nil:
		return syscall.ENOENT
	case !all && len(at.children) > 0:
		return syscall.ENOTEMPTY
	case at.parent == at:
		return syscall.EBUSY
	}
	delete(at.parent.children, at.name)
	return nil
}

func (n *node) link(old, p string) error {
	at, err := n.existing(old, false)
	if err != nil {
		return err
	}
	if at.children != nil {
		return syscall.EPERM
	}
	return n.add(p, at.inode)
}

func (n *node) rename(old, p string) error {
	from, err := n.existing(old, false)
	if err != nil {
		return err
	}
	dir, name, to, err := n.find(p, false)
	switch {
	case err != nil:
		return err
	case from.parent == from || to != nil && to.parent == to:
		return syscall.EBUSY
	case from == to:
		return nil
	}
	for above := dir; ; above = above.parent {
		if above == from {
			return syscall.EINVAL
		}
		if above.parent == above {
			break
		}
	}
	switch {
	case to == nil:
	case from.children != nil && to.children == nil:
		return syscall.ENOTDIR
	case from.children == nil && to.children != nil:
		return syscall.EISDIR
	case len(to.children) > 0:
		return syscall.ENOTEMPTY
	case from.inode == to.inode:
		return nil
	}
	delete(from.parent.children, from.name)
	dir.attach(name, from)
	return nil
}

func (n *node) unshare() {
	i := *n.inode
	n.inode = &i
	for _, c := range n.children {
		c.unshare()
	}
}

func (n *node) lines(dir string) []string {
	var lines []string
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c := n.children[name]
		p := path.Join(dir, name)
		lines = append(lines, rootfstest.Line(rootfs.Info{Path: p, Mode: c.inode.mode, UID: c.inode.uid, GID: c.inode.gid, Link: c.inode.link}, c.inode.content))
		lines = append(lines, c.lines(p)...)
	}
	return lines
}

// dice makes choices that decide what a sequence of operations is.
type dice struct{ *rand.Rand }

func (d dice) of(s ...string) string { return s[d.IntN(len(s))] }

func (d dice) path() string {
	var b strings.Builder
	for range d.IntN(4) {
		b.WriteString(d.of("/a", "/b", "/c", "/a", "/b", "/c", "/..", "/."))
	}
	return b.String() + d.of("/a", "/b", "/c", "/a", "/b", "/c", "/..")
}

func (d dice) target() string {
	return d.of("a", "b", "c", "../a", "../../b", "a/../c", "/a", "/b/c", "/..", "/", ".", "../../../../../../secret", "b/../../../a")
}

func (d dice) mode() fs.FileMode {
	return fs.FileMode(d.IntN(0o1000)) | []fs.FileMode{0, 0, fs.ModeSetuid, fs.ModeSticky}[d.IntN(4)]
}

// step does one thing to both and returns what it was, and both errors.
func (d dice) step(f *rootfs.FS, m *node, n int) (what string, got, want error) {
	p, o := d.path(), rootfs.Owner{UID: d.IntN(3), GID: d.IntN(3)}
	mode := d.mode()
	switch d.IntN(12) {
	case 0, 1:
		return "mkdir " + p, f.Mkdir(p, mode, o), m.add(p, &inode{mode: fs.ModeDir | mode, uid: o.UID, gid: o.GID})
	case 2, 3:
		content := fmt.Sprint("content ", n)
		return "write " + p, f.WriteFile(p, []byte(content), mode, o), m.write(p, content, mode, o)
	case 4, 5:
		target := d.target()
		return "symlink " + p + " -> " + target, f.Symlink(target, p, o),
			m.add(p, &inode{mode: fs.ModeSymlink | 0o777, link: target, uid: o.UID, gid: o.GID})
	case 6:
		to := d.path()
		return "link " + p + " " + to, f.Link(p, to), m.link(p, to)
	case 7, 8:
		to := d.path()
		return "rename " + p + " " + to, f.Rename(p, to), m.rename(p, to)
	case 9:
		all := d.IntN(2) == 0
		if all {
			return "remove all " + p, f.RemoveAll(p), m.remove(p, true)
		}
		return "remove " + p, f.Remove(p), m.remove(p, false)
	case 10:
		at, err := m.existing(p, true)
		if err == nil {
			at.inode.mode = at.inode.mode.Type() | mode
		}
		return "chmod " + p, f.Chmod(p, mode), err
	}
	at, err := m.existing(p, false)
	if err == nil {
		at.inode.uid, at.inode.gid = o.UID, o.GID
		if at.inode.mode.IsRegular() {
			at.inode.mode &^= fs.ModeSetuid
		}
	}
	return "lchown " + p, f.Lchown(p, o), err
}

// root is an error that names what the operating system calls it.
func cause(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}

// FuzzOperations does the same random operations to a stage and to a model of a
// kernel's file system, and compares what both have after each. After some of
// them the lower tree is what the model was; in the end, the layers that the
// changes make are merged as an engine merges them.
func FuzzOperations(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed, uint8(60))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) {
		d := dice{rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // the seed is the input
		model := newModel()
		base, _ := newFS(t, nil)
		for n := range int(steps) / 2 {
			_, _, _ = d.step(base, model, n)
		}
		model.unshare() // no lower file changes under its other names
		below := lower(model.lines("/")...)
		stage, upper := newFS(t, below)
		if seed%2 == 0 {
			defer stage.Hold()()
		}
		layers := [][]image.Entry{entries(t, base, nil)}
		var since *rootfs.Snapshot
		var log []string
		for n := range int(steps) {
			before := model.lines("/")
			what, got, want := d.step(stage, model, 1000+n)
			log = append(log, what)
			if cause(got) != cause(want) {
				t.Fatalf("%s\nat\n%s\ngot error %v, want %v", strings.Join(log, "\n"), strings.Join(before, "\n"), got, want)
			}
			if diff := cmp.Diff(model.lines("/"), list(t, stage)); diff != "" {
				t.Fatalf("%s\n(-want +got):\n%s", strings.Join(log, "\n"), diff)
			}
			if d.IntN(8) == 0 {
				layers = append(layers, entries(t, stage, since))
				var err error
				since, err = stage.Snapshot()
				must(t, err)
			}
		}
		layers = append(layers, entries(t, stage, since))
		wantMerged(t, layers, model.lines("/"), strings.Join(log, "\n"))
		wantContained(t, upper)
	})
}

// entries is a layer as an engine sees it.
func entries(t *testing.T, f *rootfs.FS, since *rootfs.Snapshot) []image.Entry {
	t.Helper()
	var layer []image.Entry
	last := ""
	for c, err := range f.Changes(since) {
		must(t, err)
		if c.Path <= last {
			t.Errorf("%s comes after %s", c.Path, last)
		}
		last = c.Path
		e := image.Entry{Path: c.Path, Type: '0', UID: c.UID, GID: c.GID, Link: c.Link, Mode: int64(c.Mode.Perm()), Size: c.Size}
		switch {
		case c.Deleted:
			e.Path = c.Whiteout()
		case c.IsDir():
			e.Type = '5'
		case c.IsSymlink():
			e.Type = '2'
		}
		if c.Mode&fs.ModeSetuid != 0 {
			e.Mode |= 0o4000
		}
		if c.Mode&fs.ModeSticky != 0 {
			e.Mode |= 0o1000
		}
		layer = append(layer, e)
	}
	return layer
}

func wantMerged(t *testing.T, layers [][]image.Entry, model []string, log string) {
	t.Helper()
	var want, got []string
	for _, l := range model {
		info, content := rootfstest.Parse(l)
		if !info.Mode.IsRegular() {
			content = ""
		}
		want = append(want, fmt.Sprintf("%s %d", rootfstest.Line(info, ""), len(content)))
	}
	image.Merge(layers).Walk(func(e image.Entry) {
		info := rootfs.Info{Path: e.Path, Mode: e.FileMode(), UID: e.UID, GID: e.GID, Link: e.Link}
		got = append(got, fmt.Sprintf("%s %d", rootfstest.Line(info, ""), e.Size))
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s\nlayers merged (-want +got):\n%s", log, diff)
	}
}

// wantContained checks that no link on disk leads out of the directory.
func wantContained(t *testing.T, upper string) {
	t.Helper()
	root, err := os.OpenRoot(upper)
	must(t, err)
	defer root.Close()
	must(t, fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		if _, err := root.Stat(p); err != nil && strings.Contains(err.Error(), "escapes") {
			link, _ := root.Readlink(p)
			t.Errorf("%s -> %s leads out of the stage", p, link)
		}
		return nil
	}))
}
