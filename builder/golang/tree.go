package golang

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/stagectl/stagectl/builder/rootfs"
)

// accounts are /etc/passwd and /etc/group of the two families of images.
//
//go:embed alpine debian
var accounts embed.FS

// goroot is where the images have Go.
const goroot = "/usr/local/go"

// Tree is as much of the golang image with a tag as stages look at: its users
// and directories, CA roots and time zones, which are those of the static base,
// and Go itself, which is fetched when it is asked for.
func (h *Host) Tree(ctx context.Context, static rootfs.Tree, tag, release string) rootfs.Tree {
	own := memory{"/": dirInfo("/", 0o755)}
	for _, dir := range []string{"/bin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin", "/lib", "/sbin", "/home", "/opt", "/srv", "/var/cache", "/var/lib", "/var/log"} {
		own.mkdir(dir, 0o755)
	}
	own.mkdir("/go", 0o777|fs.ModeSticky)
	own.mkdir("/go/bin", 0o777|fs.ModeSticky)
	own.mkdir("/go/src", 0o777|fs.ModeSticky)
	own.mkdir("/tmp", 0o777|fs.ModeSticky)
	own.mkdir("/root", 0o700)
	own.mkdir("/etc", 0o755)
	own.mkdir(path.Dir(goroot), 0o755)
	family := "debian"
	if isAlpine(tag) {
		family = "alpine"
		own.write("/etc/alpine-release", nil)
	}
	for _, name := range []string{"passwd", "group"} {
		content, err := accounts.ReadFile(family + "/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		own.write("/etc/"+name, content)
	}
	mounted := &mount{at: goroot, open: sync.OnceValues(func() (rootfs.Tree, error) {
		dir, err := h.root(ctx, release)
		if err != nil {
			return nil, err
		}
		return rootfs.NewHostTree(dir, nil)
	})}
	return union{own, mounted, without{static, "/home/nonroot"}}
}

func notThere(p string) error { return &fs.PathError{Op: "lstat", Path: p, Err: fs.ErrNotExist} }

// memory is a tree of a few files.
type memory map[string]file

type file struct {
	rootfs.Info
	content []byte
}

func dirInfo(p string, mode fs.FileMode) file {
	return file{Info: rootfs.Info{Path: p, Mode: fs.ModeDir | mode}}
}

func (m memory) mkdir(p string, mode fs.FileMode) {
	if dir := path.Dir(p); m[dir].Path == "" {
		m.mkdir(dir, 0o755)
	}
	m[p] = dirInfo(p, mode)
}

func (m memory) write(p string, content []byte) {
	m[p] = file{rootfs.Info{Path: p, Mode: 0o644, Size: int64(len(content))}, content}
}

func (m memory) Lstat(p string) (rootfs.Info, error) {
	if f, ok := m[p]; ok {
		return f.Info, nil
	}
	return rootfs.Info{}, notThere(p)
}

func (m memory) ReadDir(p string) ([]rootfs.Info, error) {
	if !m[p].IsDir() {
		return nil, notThere(p)
	}
	var list []rootfs.Info
	for name, f := range m {
		if name != "/" && path.Dir(name) == p {
			list = append(list, f.Info)
		}
	}
	slices.SortFunc(list, func(a, b rootfs.Info) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

func (m memory) Open(p string) (io.ReadCloser, error) {
	f, ok := m[p]
	if !ok {
		return nil, notThere(p)
	}
	return io.NopCloser(bytes.NewReader(f.content)), nil
}

// mount is a tree below a directory, opened when something below it is asked for.
type mount struct {
	at   string
	open func() (rootfs.Tree, error)
}

// inside is the path in the tree; false for what is not in it.
func (m *mount) inside(p string) (rootfs.Tree, string, error) {
	rest, ok := strings.CutPrefix(p, m.at)
	if !ok || rest != "" && rest[0] != '/' {
		return nil, "", notThere(p)
	}
	tree, err := m.open()
	return tree, path.Join("/", rest), err
}

func (m *mount) outside(info rootfs.Info) rootfs.Info {
	info.Path = path.Join(m.at, info.Path)
	return info
}

func (m *mount) Lstat(p string) (rootfs.Info, error) {
	if p == m.at { // without opening it
		return dirInfo(p, 0o755).Info, nil
	}
	tree, p, err := m.inside(p)
	if err != nil {
		return rootfs.Info{}, err
	}
	info, err := tree.Lstat(p)
	return m.outside(info), err
}

func (m *mount) ReadDir(p string) ([]rootfs.Info, error) {
	if p == path.Dir(m.at) {
		return []rootfs.Info{dirInfo(m.at, 0o755).Info}, nil
	}
	tree, p, err := m.inside(p)
	if err != nil {
		return nil, err
	}
	list, err := tree.ReadDir(p)
	for i := range list {
		list[i] = m.outside(list[i])
	}
	return list, err
}

func (m *mount) Open(p string) (io.ReadCloser, error) {
	tree, p, err := m.inside(p)
	if err != nil {
		return nil, err
	}
	return tree.Open(p)
}

// without is a tree without one of its directories.
type without struct {
	rootfs.Tree
	dir string
}

func (w without) Lstat(p string) (rootfs.Info, error) {
	if p == w.dir || strings.HasPrefix(p, w.dir+"/") {
		return rootfs.Info{}, notThere(p)
	}
	return w.Tree.Lstat(p)
}

func (w without) ReadDir(p string) ([]rootfs.Info, error) {
	list, err := w.Tree.ReadDir(p)
	return slices.DeleteFunc(slices.Clone(list), func(i rootfs.Info) bool { return i.Path == w.dir }), err
}

// union is trees one over the other. What is a directory in several has the
// content of all.
type union []rootfs.Tree

func (u union) Lstat(p string) (rootfs.Info, error) {
	for _, t := range u {
		if info, err := t.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
			return info, err
		}
	}
	return rootfs.Info{}, notThere(p)
}

func (u union) ReadDir(p string) ([]rootfs.Info, error) {
	var all []rootfs.Info
	found := false
	for _, t := range u {
		list, err := t.ReadDir(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = true
		for _, info := range list {
			if !slices.ContainsFunc(all, func(i rootfs.Info) bool { return i.Path == info.Path }) {
				all = append(all, info)
			}
		}
	}
	if !found {
		return nil, notThere(p)
	}
	slices.SortFunc(all, func(a, b rootfs.Info) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

func (u union) Open(p string) (io.ReadCloser, error) {
	for _, t := range u {
		if _, err := t.Lstat(p); err == nil {
			return t.Open(p)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, notThere(p)
}
