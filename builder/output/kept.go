package output

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stagectl/stagectl/builder/event"
)

const (
	// archiveRecords is the kind of the cache's records of what was written.
	archiveRecords = "archives"
	// archiveVersion is part of what is recorded. It changes with the bytes
	// that an archive has for the same content.
	archiveVersion = 1
	// settled is how old the last change of a file has to be when the file is
	// looked at, for another one to make a difference: some file systems count
	// in twos of seconds.
	settled = 2 * time.Second
)

// archived is such a record.
type archived struct {
	// Checkout is the directory of the file.
	Checkout string `json:"checkout"`
	// Content sums up what the archive holds.
	Content string   `json:"content"`
	File    identity `json:"file"`
	// Looked is when the file was compared, in nanoseconds since 1970, or 0
	// where it was not, or there was no clock.
	Looked int64 `json:"looked"`
}

// identity tells a file from what somebody could put in its place: nobody sets
// the time of a change.
type identity struct {
	Device  uint64 `json:"device"`
	Inode   uint64 `json:"inode"`
	Size    int64  `json:"size"`
	Changed int64  `json:"changed"` // in nanoseconds since 1970
}

// kept returns the file that is there, if it is what would be written.
func (a *Archive) kept(ctx context.Context, c *content) fs.FileInfo {
	if a.Cache == nil || a.Path == "" {
		return nil
	}
	d, err := find(a.Path)
	if err != nil || d.old == nil {
		return nil
	}
	var rec archived
	if !a.Cache.Record(archiveRecords, archiveKey(d.name), &rec) || rec.Content != a.sum(c) {
		return nil
	}
	is, ok := identityOf(d.old)
	switch {
	case !ok || is != rec.File:
		return nil
	case rec.Looked-is.Changed > int64(settled):
		return d.old
	}
	looked := a.now()
	if !a.compare(ctx, d.name, c) {
		return nil
	}
	_ = a.Cache.SetRecord(archiveRecords, archiveKey(d.name), archived{rec.Checkout, rec.Content, is, looked})
	return d.old
}

// remember notes that the file is what was just written. That it cannot only
// means that it is written the next time, too.
func (a *Archive) remember(c *content, written fs.FileInfo) {
	if a.Cache == nil || written == nil {
		return
	}
	d, err := find(a.Path)
	if err != nil || d.old == nil || !os.SameFile(d.old, written) ||
		d.old.Size() != written.Size() || !d.old.ModTime().Equal(written.ModTime()) {
		return // somebody else has been there meanwhile
	}
	if is, ok := identityOf(d.old); ok {
		_ = a.Cache.SetRecord(archiveRecords, archiveKey(d.name), archived{filepath.Dir(archiveKey(d.name)), a.sum(c), is, 0})
	}
}

func (a *Archive) now() int64 {
	if a.Now == nil {
		return 0
	}
	return a.Now().UnixNano()
}

// archiveKey is the path that a record is about, whatever it was called.
func archiveKey(name string) string {
	if full, err := filepath.Abs(name); err == nil {
		return full
	}
	return name
}

// sum is that of all which the archive's bytes follow from.
func (a *Archive) sum(c *content) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d %t %d %s %d %s\n", archiveVersion, a.Docker, len(c.index), c.index, len(c.docker), c.docker)
	for _, b := range c.blobs {
		_, _ = fmt.Fprintf(h, "%s %d\n", b.digest, b.size)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// errDiffers ends a comparison.
var errDiffers = errors.New("the file differs")

// compare tells whether the file has the bytes that would be written.
func (a *Archive) compare(ctx context.Context, name string, c *content) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	silent := event.Func(nil).Start(event.Write, name, 0)
	if err := a.write(ctx, &comparer{r: f}, c, silent); err != nil {
		return false
	}
	n, err := f.Read(make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}

// comparer is a writer that takes only what r has.
type comparer struct {
	r   io.Reader
	buf []byte
}

func (c *comparer) Write(p []byte) (int, error) {
	if len(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	if _, err := io.ReadFull(c.r, c.buf[:len(p)]); err != nil || !bytes.Equal(p, c.buf[:len(p)]) {
		return 0, errDiffers
	}
	return len(p), nil
}
