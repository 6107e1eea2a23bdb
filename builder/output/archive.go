package output

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
)

// bufferSize is how many bytes are read and written at once.
const bufferSize = 256 << 10

// Archive is a tar file that is an OCI layout and, with Docker, what
// `docker load` takes at once, the way `docker save` writes it since version 25.
type Archive struct {
	// Path of the file, or empty to write to Writer. A file appears when it is
	// whole, with the permissions of the one that it replaces; a link is
	// followed, and a device or a pipe written to as it is.
	Path   string
	Writer io.Writer
	// Docker adds manifest.json.
	Docker bool
	// Host is the platform that manifest.json names, where there are several.
	Host v1.Platform
	// Jobs is how many layers of a base are downloaded at once.
	Jobs int
	// Cache remembers what was written, so that a file that has not changed
	// since, and would not now, is left alone. With nil it is always written.
	Cache *cache.Cache
	// Now, when set, is the clock. Without it, or on a system whose files have no
	// time of change, a file is compared rather than believed.
	Now func() time.Time
	// Progress is told of the writing.
	Progress event.Func
}

// Check says early why the file can't be written.
func (a *Archive) Check() error {
	var err error
	switch {
	case a.Path != "":
		err = checkFile(a.Path)
	case a.Writer == nil:
		err = errors.New("it has neither a path nor a writer")
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", a.subject(), err)
	}
	return nil
}

func (a *Archive) subject() string {
	if a.Path == "" {
		return "standard output"
	}
	return a.Path
}

// Write writes the results as one archive.
func (a *Archive) Write(ctx context.Context, results []image.Result) ([]Written, error) {
	c, err := gather(results, a.Host)
	if err != nil {
		return nil, err
	}
	written := Written{Kind: "archive", Where: a.Path}
	if info := a.kept(ctx, c); info != nil {
		a.Progress.Start(event.Write, a.subject(), info.Size()).End(nil, "unchanged")
		written.Size, written.Unchanged = info.Size(), true
		return []Written{written}, nil
	}
	if err := c.fetch(ctx, a.Jobs, a.Path == ""); err != nil {
		return nil, explain(ctx, "fetching layers", err)
	}
	task := a.Progress.Start(event.Write, a.subject(), c.size())
	var info fs.FileInfo
	if a.Path == "" {
		err = a.write(ctx, interruptible{ctx, a.Writer}, c, task)
	} else {
		info, err = writeFile(ctx, a.Path, func(w io.Writer) error { return a.write(ctx, w, c, task) })
	}
	err = explain(ctx, "writing "+a.subject(), err)
	task.End(err, "")
	if err != nil {
		return nil, err
	}
	if info != nil {
		written.Size = info.Size()
		a.remember(c, info)
	}
	return []Written{written}, nil
}

func (a *Archive) write(ctx context.Context, w io.Writer, c *content, task *event.Task) error {
	out := bufio.NewWriterSize(w, bufferSize)
	tw := tar.NewWriter(out)
	if err := a.writeHead(tw, c); err != nil {
		return err
	}
	buf := make([]byte, bufferSize)
	for _, b := range c.blobs {
		if err := tw.WriteHeader(archiveHeader(blobName(b.digest), tar.TypeReg, b.size)); err != nil {
			return err
		}
		if err := b.read(func(r io.Reader) error {
			copied, err := b.copyFile(ctx, r, w, out, task)
			if err != nil {
				return err
			}
			if !copied {
				return b.copy(ctx, r, tw, task, buf)
			}
			tw = tar.NewWriter(out) // the other one still waits for the content
			return nil
		}); err != nil {
			return err
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return out.Flush()
}

// writeHead writes what comes before the blobs.
func (a *Archive) writeHead(tw *tar.Writer, c *content) error {
	type file struct {
		name    string
		content []byte
	}
	files := []file{{"oci-layout", []byte(layoutVersion)}, {"index.json", c.index}}
	if a.Docker {
		files = append(files, file{"manifest.json", c.docker})
	}
	for _, f := range files {
		if err := tw.WriteHeader(archiveHeader(f.name, tar.TypeReg, int64(len(f.content)))); err != nil {
			return err
		}
		if _, err := tw.Write(f.content); err != nil {
			return err
		}
	}
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := tw.WriteHeader(archiveHeader(dir, tar.TypeDir, 0)); err != nil {
			return err
		}
	}
	return nil
}

// archiveHeader has no fact of the host and no time, so that the bytes of the
// archive follow from the images alone.
func archiveHeader(name string, typ byte, size int64) *tar.Header {
	mode := int64(0o644)
	if typ == tar.TypeDir {
		mode = 0o755
	}
	return &tar.Header{Typeflag: typ, Name: name, Mode: mode, Size: size, ModTime: time.Unix(0, 0)}
}
