package cache

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback has the system begin to write to the disk what is in its
// memory, so that less is left for when Commit waits for it. That it cannot is
// no failure: Commit tells.
func startWriteback(f *os.File) {
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}
