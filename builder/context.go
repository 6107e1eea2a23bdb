package builder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/stagectl/stagectl/builder/layer"
	"github.com/stagectl/stagectl/builder/plan"
)

// ErrOutside is the cause where a source leads out of the directory that
// copies are made from.
var ErrOutside = errors.New("it leads out of the directory")

// source is a path of the host that a copy starts from.
type source struct {
	root *os.Root
	// name is the path in root.
	name string
	info fs.FileInfo
}

// openSource finds the source of a copy. A relative one may not lead out of
// dir, neither by .. nor through a link. The caller closes the root.
func openSource(dir, name string) (*source, error) {
	s := &source{name: filepath.Clean(filepath.FromSlash(name))}
	if filepath.IsAbs(s.name) {
		dir, s.name = filepath.Dir(s.name), filepath.Base(s.name)
	}
	if !filepath.IsLocal(s.name) {
		return nil, fmt.Errorf("%w %s", ErrOutside, dir)
	}
	var err error
	if s.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	if s.info, err = s.root.Lstat(s.name); err != nil {
		return nil, errors.Join(withoutPath(err), s.root.Close())
	}
	return s, nil
}

// checkSources finds what is wrong with the sources of all copies before
// anything is compiled.
func (s *session) checkSources() error {
	for _, t := range s.targets {
		for _, step := range t.final().Steps {
			if step.Copy == nil || step.Copy.From != "" {
				continue
			}
			src, err := openSource(s.plan.Dir, step.Copy.Source)
			if err == nil {
				err = src.root.Close()
			}
			if err != nil {
				return fmt.Errorf("copying %s to %s: %w", step.Copy.Source, step.Copy.Dest, err)
			}
		}
	}
	return nil
}

// contextFiles lists what a copy takes from the host: a file, a link as it is,
// or what is in a directory.
func (st *stacker) contextFiles(c *plan.Copy) ([]layer.File, error) {
	src, err := openSource(st.plan.Dir, c.Source)
	if err != nil {
		return nil, err
	}
	st.roots = append(st.roots, src.root)
	if src.info.IsDir() {
		return contextDir(src.root, src.name, c)
	}
	dest := c.Dest
	if strings.HasSuffix(dest, "/") {
		dest = path.Join(dest, filepath.Base(src.name))
	}
	f, err := contextFile(src.root, src.name, dest, src.info, c)
	return []layer.File{f}, err
}

func withoutPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func contextDir(root *os.Root, top string, c *plan.Copy) ([]layer.File, error) {
	var files []layer.File
	err := fs.WalkDir(root.FS(), filepath.ToSlash(top), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(filepath.ToSlash(top), name)
		if err != nil {
			return err
		}
		dest := path.Join(c.Dest, filepath.ToSlash(rel))
		if dest == "/" {
			return nil
		}
		f, err := contextFile(root, name, dest, info, c)
		files = append(files, f)
		return err
	})
	return files, err
}

// contextFile describes one file. The modes of the host depend on its umask,
// so only whether the owner may execute is taken from them.
func contextFile(root *os.Root, name, dest string, info fs.FileInfo, c *plan.Copy) (layer.File, error) {
	f := layer.File{Path: dest, UID: c.UID, GID: c.GID}
	perm := fs.FileMode(0o644)
	if info.IsDir() || info.Mode()&0o100 != 0 {
		perm = 0o755
	}
	if c.Mode != nil {
		perm = *c.Mode
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		f.Mode = fs.ModeDir | perm | perm&0o444>>2
	case fs.ModeSymlink:
		link, err := root.Readlink(name)
		if err != nil {
			return f, err
		}
		f.Mode, f.Link = fs.ModeSymlink|0o777, filepath.ToSlash(link)
	case 0:
		f.Mode, f.Size = perm, info.Size()
		f.Open = func() (io.ReadCloser, error) { return root.Open(name) }
	default:
		return f, fmt.Errorf("%s is neither a file nor a directory nor a link", name)
	}
	return f, nil
}
