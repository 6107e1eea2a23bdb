package output

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/event"
)

const (
	// atOnce is how many bytes the system copies before it is seen whether the
	// build is still wanted.
	atOnce = 16 << 20
	// tarBlock is what the content of an entry is padded to.
	tarBlock = 512
)

// copyFile has the system copy b, padded as an entry of a tar, where r reads it
// from a file in which it is known to be good, and w is a file. out is the
// buffer in front of w. It says false where nothing was copied and somebody
// else has to.
func (b blob) copyFile(ctx context.Context, r io.Reader, w io.Writer, out *bufio.Writer, task *event.Task) (bool, error) {
	to, ok := w.(pathless)
	if !ok {
		return false, nil
	}
	from, ok := r.(*cache.Section)
	if !ok || from.Size() != b.size {
		return false, nil
	}
	if err := out.Flush(); err != nil {
		return false, err
	}
	for at := int64(0); at < b.size; {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		n, err := unix.CopyFileRange(int(from.File.Fd()), &at, int(to.f.Fd()), nil, int(min(atOnce, b.size-at)), 0)
		switch {
		case err != nil && at == 0:
			return false, nil // not between these file systems, or not on this kernel
		case err != nil:
			return false, err
		case n == 0:
			return false, fmt.Errorf("reading %s: %w", b.digest, io.ErrUnexpectedEOF)
		}
		task.Add(int64(n))
		// What goes to the disk while the next one is copied need not be waited
		// for in the end.
		_ = unix.SyncFileRange(int(to.f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
	_, err := out.Write(make([]byte, -b.size&(tarBlock-1)))
	return true, err
}
