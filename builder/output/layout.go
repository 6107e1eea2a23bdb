package output

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
)

// The files of a layout, besides the blobs.
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
)

var errNoLayout = errors.New("the directory has files in it, and is not an OCI layout")

// Layout is a directory that is an OCI image layout
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
type Layout struct {
	// Dir is made where it is missing. A layout that is there is replaced, and
	// any other directory with something in it refused.
	Dir string
	// Jobs is how many layers of a base are downloaded at once.
	Jobs int
	// Progress is told of the writing.
	Progress event.Func
}

// Check says early why the layout can't be written.
func (l *Layout) Check() error {
	dir, found, err := l.look()
	if err == nil && found != nothing {
		dir = filepath.Join(dir, indexFile)
	}
	if err == nil {
		err = tryBeside(dir)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", l.Dir, err)
	}
	return nil
}

// Write writes the results. Blobs go first, and index.json, which makes them
// the layout's content, last and by rename: at any moment the directory holds
// the old images or the new ones. The blobs of the old ones are removed then.
// A new layout appears when it is whole.
func (l *Layout) Write(ctx context.Context, results []image.Result) ([]Written, error) {
	c, err := gather(results, v1.Platform{})
	if err != nil {
		return nil, err
	}
	if err := c.fetch(ctx, l.Jobs, false); err != nil {
		return nil, explain(ctx, "fetching layers", err)
	}
	task := l.Progress.Start(event.Write, l.Dir, c.size())
	err = explain(ctx, "writing "+l.Dir, l.write(ctx, c, task))
	task.End(err, "")
	if err != nil {
		return nil, err
	}
	return []Written{{Kind: "layout", Where: l.Dir, Size: c.size()}}, nil
}

// state is what there is where the layout goes.
type state int

const (
	nothing state = iota
	emptyDir
	aLayout
)

// look returns the directory that l.Dir leads to and what is in it.
func (l *Layout) look() (dir string, _ state, err error) {
	if l.Dir == "" {
		return "", nothing, errNoName
	}
	entries, err := os.ReadDir(l.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		dir, err = follow(filepath.Clean(l.Dir))
		return dir, nothing, err
	case err != nil:
		return "", nothing, withoutPath(err)
	case len(entries) == 0:
		return l.Dir, emptyDir, nil
	}
	if _, err := os.Stat(filepath.Join(l.Dir, layoutFile)); err != nil {
		return "", nothing, errNoLayout
	}
	return l.Dir, aLayout, nil
}

func (l *Layout) write(ctx context.Context, c *content, task *event.Task) error {
	dir, found, err := l.look()
	if err != nil {
		return err
	}
	switch found {
	case nothing:
		return l.create(ctx, dir, c, task)
	case emptyDir:
		err := fill(ctx, dir, c, task)
		if err != nil {
			for _, made := range []string{indexFile, "blobs", layoutFile} {
				_ = os.RemoveAll(filepath.Join(dir, made))
			}
		}
		return err
	}
	if err := fill(ctx, dir, c, task); err != nil {
		return err
	}
	return removeOthers(dir, c.blobs)
}

// create makes a layout beside its place and renames it when it is whole.
func (l *Layout) create(ctx context.Context, dir string, c *content, task *event.Task) error {
	tmp := tempName(dir)
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return withoutPath(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // gone where the rename succeeded
	if err := fill(ctx, tmp, c, task); err != nil {
		return err
	}
	err := os.Rename(tmp, dir)
	if err == nil {
		return nil
	}
	if _, found, lookErr := l.look(); lookErr == nil && found != nothing {
		// Another process has made a layout there meanwhile. What of it is the
		// same is not written again, nor reported.
		return fill(ctx, dir, c, event.Func(nil).Start(event.Write, dir, 0))
	}
	return withoutPath(err)
}

// fill writes the files of a layout. The first one makes the directory a
// layout for the next run, should this one be killed.
func fill(ctx context.Context, dir string, c *content, task *event.Task) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o777); err != nil {
		return withoutPath(err)
	}
	if err := layoutJSON(dir, layoutFile, []byte(layoutVersion)); err != nil {
		return err
	}
	buf := make([]byte, bufferSize)
	for _, b := range c.blobs {
		if err := layoutBlob(ctx, dir, b, task, buf); err != nil {
			return err
		}
	}
	return layoutJSON(dir, indexFile, c.index)
}

func layoutJSON(dir, name string, content []byte) error {
	_, err := replaceFile(filepath.Join(dir, name), nil, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	return err
}

// layoutBlob leaves a blob alone that is there with the right content. A link
// is replaced, not followed: it may lead anywhere.
func layoutBlob(ctx context.Context, dir string, b blob, task *event.Task, buf []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	name := filepath.Join(dir, filepath.FromSlash(blobName(b.digest)))
	if sameContent(name, b) {
		task.Add(b.size)
		return nil
	}
	_, err := replaceFile(name, nil, func(w io.Writer) error {
		return b.copyTo(ctx, w, task, buf)
	})
	return err
}

func sameContent(name string, b blob) bool {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != b.size {
		return false
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	h, _, err := v1.SHA256(bufio.NewReaderSize(f, bufferSize))
	return err == nil && h == b.digest
}

// removeOthers removes the blobs that no image of the layout has any more.
// Temporary files are another process's, and a directory that is a link may be
// shared with other layouts.
func removeOthers(dir string, keep []blob) error {
	names := map[string]bool{}
	for _, b := range keep {
		names[b.digest.Hex] = true
	}
	for _, part := range []string{"blobs", "sha256"} {
		dir = filepath.Join(dir, part)
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			return withoutPath(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return withoutPath(err)
	}
	for _, e := range entries {
		if _, err := v1.NewHash("sha256:" + e.Name()); err != nil || names[e.Name()] {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing an old blob: %w", withoutPath(err))
		}
	}
	return nil
}
