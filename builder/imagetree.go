package builder

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/limit"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
)

// imageTree is the files of layers, the lowest first, as a stage sees them. What
// they have is listed when something is asked for, and a layer's content is
// unpacked, to a file, when one of its files is.
type imageTree struct {
	*session
	// of says whose files they are.
	of     string
	layers []v1.Layer
	// own says that this program made the layers.
	own  bool
	temp string

	once   sync.Once
	merged *image.Tree
	err    error

	mu     sync.Mutex
	spools map[int]*spool
	// most is what the layers may unpack to, together: what they do is kept on disk.
	most *limit.Budget
}

var _ rootfs.Tree = (*imageTree)(nil)

func (s *session) imageTree(of string, layers []v1.Layer, temp string) *imageTree {
	return &imageTree{session: s, of: of, layers: layers, temp: temp, spools: map[int]*spool{}}
}

func (t *imageTree) tree() (*image.Tree, error) {
	t.once.Do(func() {
		var all [][]image.Entry
		all, t.err = image.ReadLayers(t.layers, func(l v1.Layer) ([]image.Entry, error) { return t.layerEntries(l, t.own) })
		var size int64
		for _, l := range t.layers {
			if n, err := l.Size(); err == nil {
				size += min(n, limit.Layer)
			}
		}
		if !t.own {
			t.most = limit.Unpack(size)
		}
		if t.err != nil {
			t.err = fmt.Errorf("reading the files of %s: %w", t.of, t.err)
			return
		}
		t.merged = image.Merge(all)
	})
	return t.merged, t.err
}

func missing(op, p string) error { return &fs.PathError{Op: op, Path: p, Err: fs.ErrNotExist} }

func rootInfo() rootfs.Info { return rootfs.Info{Path: "/", Mode: fs.ModeDir | 0o755} }

// Lstat implements rootfs.Tree.
func (t *imageTree) Lstat(p string) (rootfs.Info, error) {
	tree, err := t.tree()
	if err != nil {
		return rootfs.Info{}, err
	}
	e, ok := tree.Lstat(p)
	switch {
	case ok:
		return infoOf(e), nil
	case p == "/":
		return rootInfo(), nil
	}
	return rootfs.Info{}, missing("lstat", p)
}

func infoOf(e image.Entry) rootfs.Info {
	info := rootfs.Info{
		Path: e.Path, Mode: e.FileMode(), UID: e.UID, GID: e.GID, Size: e.Size, DevMajor: e.DevMajor, DevMinor: e.DevMinor,
	}
	if e.Type == tar.TypeSymlink {
		info.Link = e.Link
	}
	return info
}

// ReadDir implements rootfs.Tree.
func (t *imageTree) ReadDir(p string) ([]rootfs.Info, error) {
	tree, err := t.tree()
	if err != nil {
		return nil, err
	}
	if info, err := t.Lstat(p); err != nil || !info.IsDir() {
		return nil, missing("readdir", p)
	}
	var list []rootfs.Info
	for _, e := range tree.ReadDir(p) {
		list = append(list, infoOf(e))
	}
	return list, nil
}

// Open implements rootfs.Tree.
func (t *imageTree) Open(p string) (io.ReadCloser, error) {
	tree, err := t.tree()
	if err != nil {
		return nil, err
	}
	layer, index, ok := tree.Locate(p)
	if !ok {
		return nil, missing("open", p)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.spools[layer]
	if !ok {
		if s, err = spoolLayer(t.layers[layer], t.temp, t.most); err != nil {
			return nil, fmt.Errorf("reading the files of %s: reading layer %d: %w", t.of, layer+1, err)
		}
		t.spools[layer] = s
	}
	if index >= len(s.at) {
		return nil, missing("open", p)
	}
	part := s.at[index]
	return io.NopCloser(io.NewSectionReader(part.file, part.offset, part.size)), nil
}

// Close lets go of the files of layers, which are in the temporary directory.
func (t *imageTree) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, s := range t.spools {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// spool is a layer that was unpacked, and where in it the content of each of its
// entries is.
type spool struct {
	// tar is the layer as it is. sparse has the content of files with holes in
	// them, which the tar has not; it is nil where there are none.
	tar, sparse *os.File
	at          []part
}

type part struct {
	file         *os.File
	offset, size int64
}

func (s *spool) Close() error {
	err := s.tar.Close()
	if s.sparse != nil {
		err = errors.Join(err, s.sparse.Close())
	}
	return err
}

// counted notes how much was written.
type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func spoolLayer(l v1.Layer, temp string, most *limit.Budget) (_ *spool, err error) {
	rc, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	f, err := os.CreateTemp(temp, "layer-")
	if err != nil {
		return nil, err
	}
	s, w := &spool{tar: f}, &counted{w: f}
	// The tar's reader takes no more than it needs, so that what was written so
	// far ends where an entry's content starts.
	entries := image.NewEntryReader(io.TeeReader(rc, w), most)
	for {
		e, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		at := part{f, w.n, e.Size}
		if err == nil && entries.Sparse() {
			at, err = s.expand(entries, temp)
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.at = append(s.at, at)
	}
}

// expand writes out the content of a file with holes in it.
func (s *spool) expand(r io.Reader, temp string) (part, error) {
	if s.sparse == nil {
		f, err := os.CreateTemp(temp, "layer-")
		if err != nil {
			return part{}, err
		}
		s.sparse = f
	}
	offset, err := s.sparse.Seek(0, io.SeekEnd)
	if err != nil {
		return part{}, err
	}
	size, err := io.Copy(s.sparse, r)
	return part{s.sparse, offset, size}, err
}

// deltaTree is a tree with a layer on it that this build, or an earlier one,
// made. Such layers have no opaque whiteouts.
type deltaTree struct {
	below rootfs.Tree
	delta *imageTree
	// tree is the layer alone, in which whiteouts are files.
	tree *image.Tree
}

var _ rootfs.Tree = (*deltaTree)(nil)

const whiteout = ".wh."

// over puts a layer on a tree, of which nil is empty.
func (s *session) over(below rootfs.Tree, l v1.Layer, temp string) (*deltaTree, error) {
	entries, err := s.layerEntries(l, true)
	if err != nil {
		return nil, fmt.Errorf("reading a layer of an earlier build: %w", err)
	}
	if below == nil {
		below = s.imageTree(plan.Scratch, nil, temp)
	}
	delta := s.imageTree("a stage", []v1.Layer{l}, temp)
	delta.own = true
	return &deltaTree{below: below, delta: delta, tree: image.LayerTree(entries, 0)}, nil
}

// covers tells whether the layer says what is at p, or above it, so that the
// tree below is not asked.
func (t *deltaTree) covers(p string) bool {
	for at := p; at != "/"; at = path.Dir(at) {
		if _, ok := t.tree.Lstat(path.Join(path.Dir(at), whiteout+path.Base(at))); ok {
			return true
		}
		if e, ok := t.tree.Lstat(at); ok && e.Type != tar.TypeDir {
			return true
		}
	}
	return false
}

// Lstat implements rootfs.Tree.
func (t *deltaTree) Lstat(p string) (rootfs.Info, error) {
	if strings.HasPrefix(path.Base(p), whiteout) {
		return rootfs.Info{}, missing("lstat", p)
	}
	if e, ok := t.tree.Lstat(p); ok && p != "/" {
		return infoOf(e), nil
	}
	if t.covers(p) {
		return rootfs.Info{}, missing("lstat", p)
	}
	return t.below.Lstat(p)
}

// ReadDir implements rootfs.Tree.
func (t *deltaTree) ReadDir(p string) ([]rootfs.Info, error) {
	if info, err := t.Lstat(p); err != nil || !info.IsDir() {
		return nil, missing("readdir", p)
	}
	var list []rootfs.Info
	own := map[string]bool{}
	for _, e := range t.tree.ReadDir(p) {
		name := path.Base(e.Path)
		if gone, ok := strings.CutPrefix(name, whiteout); ok {
			own[gone] = true
			continue
		}
		own[name] = true
		list = append(list, infoOf(e))
	}
	if !t.covers(p) {
		below, err := t.below.ReadDir(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, info := range below {
			if !own[path.Base(info.Path)] {
				list = append(list, info)
			}
		}
	}
	slices.SortFunc(list, func(a, b rootfs.Info) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// Open implements rootfs.Tree.
func (t *deltaTree) Open(p string) (io.ReadCloser, error) {
	if _, ok := t.tree.Lstat(p); ok {
		return t.delta.Open(p)
	}
	if t.covers(p) {
		return nil, missing("open", p)
	}
	return t.below.Open(p)
}

// either is a tree that has the files of another one where it has none.
type either struct {
	rootfs.Tree
	other rootfs.Tree
}

func (e *either) Lstat(p string) (rootfs.Info, error) {
	info, err := e.Tree.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return e.other.Lstat(p)
	}
	return info, err
}

func (e *either) ReadDir(p string) ([]rootfs.Info, error) {
	list, err := e.Tree.ReadDir(p)
	if errors.Is(err, fs.ErrNotExist) {
		return e.other.ReadDir(p)
	}
	return list, err
}

func (e *either) Open(p string) (io.ReadCloser, error) {
	rc, err := e.Tree.Open(p)
	if errors.Is(err, fs.ErrNotExist) {
		return e.other.Open(p)
	}
	return rc, err
}
