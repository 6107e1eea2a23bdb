package output

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxLinks is how many symbolic links one path may go through, as on Linux.
const maxLinks = 40

var (
	errIsDir   = errors.New("is a directory")
	errSlash   = errors.New("a path that ends in a slash is a directory's")
	errLoop    = errors.New("too many symbolic links")
	errNoName  = errors.New("the path is empty")
	errMissing = errors.New("the directory is missing")
)

// WriteFile puts content at name, whole or not at all. Links are followed, and
// a file that is replaced passes on its permissions.
func WriteFile(name string, content []byte) error {
	_, err := writeFile(context.Background(), name, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// checkFile says early why writeFile would fail. It leaves nothing behind.
func checkFile(name string) error {
	d, err := find(name)
	if err != nil || d.direct {
		return err
	}
	return tryBeside(d.name)
}

// writeFile writes what name leads to: a device or a pipe directly, since
// nothing can be renamed onto it, and anything else as replaceFile does. It
// describes the file, where it is one.
func writeFile(ctx context.Context, name string, write func(io.Writer) error) (fs.FileInfo, error) {
	d, err := find(name)
	if err != nil {
		return nil, err
	}
	if !d.direct {
		return replaceFile(d.name, d.old, write)
	}
	f, err := await(ctx, func() (*os.File, error) { return os.OpenFile(d.name, os.O_WRONLY, 0) })
	if err != nil {
		return nil, withoutPath(err)
	}
	return nil, errors.Join(write(interruptible{ctx, pathless{f}}), f.Close())
}

// replaceFile writes a file beside name and renames it when it is whole and on
// the disk. On an error what was there before is still there. If name is a
// link, the file takes its place. What is returned describes the file. It has the permissions of old, where that is
// not nil, or else those that the umask leaves.
func replaceFile(name string, old fs.FileInfo, write func(io.Writer) error) (written fs.FileInfo, err error) {
	f, err := createBeside(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if old != nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			return nil, withoutPath(err)
		}
	}
	if err := write(pathless{f}); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, withoutPath(err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	if err := f.Close(); err != nil {
		return nil, withoutPath(err)
	}
	return info, withoutPath(os.Rename(f.Name(), name))
}

// destination is what a path leads to.
type destination struct {
	name string
	// direct says that it is neither a file nor missing.
	direct bool
	// old is the file that is there, nil where there is none.
	old fs.FileInfo
}

// find follows the links of name, also those that lead to nothing yet.
func find(name string) (destination, error) {
	if name == "" {
		return destination{}, errNoName
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if os.IsPathSeparator(name[len(name)-1]) {
			return destination{}, errSlash
		}
		name, err = follow(name)
		return destination{name: name}, err
	case err != nil:
		return destination{}, withoutPath(err)
	case info.IsDir():
		return destination{}, errIsDir
	case !info.Mode().IsRegular():
		return destination{name: name, direct: true}, nil
	}
	name, err = filepath.EvalSymlinks(name)
	return destination{name: name, old: info}, withoutPath(err)
}

// follow returns the path at which to make what name stands for, which does
// not exist: name itself, or where the link leads that it is.
func follow(name string) (string, error) {
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err != nil {
			return "", fmt.Errorf("%w: %s: %w", errMissing, filepath.Dir(name), withoutPath(err))
		}
		target, err := os.Readlink(name)
		if err != nil {
			return name, nil //nolint:nilerr // it is no link
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		name = target
	}
	return "", errLoop
}

// tempName is a new name beside name.
func tempName(name string) string {
	return filepath.Join(filepath.Dir(name), ".stagectl-"+rand.Text()[:16])
}

// createBeside makes a temporary file in the directory of name, with the mode
// that the umask leaves, as if name itself were made.
func createBeside(name string) (*os.File, error) {
	f, err := os.OpenFile(tempName(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	return f, withoutPath(err)
}

// tryBeside says early why replaceFile would fail.
func tryBeside(name string) error {
	f, err := createBeside(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// pathless is a file whose errors do not name it: it is a temporary one.
type pathless struct{ f *os.File }

func (p pathless) Write(b []byte) (int, error) {
	n, err := p.f.Write(b)
	return n, withoutPath(err)
}

// withoutPath drops the paths of an error, for messages that have a better one.
func withoutPath(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok {
		return le.Err
	}
	return err
}
