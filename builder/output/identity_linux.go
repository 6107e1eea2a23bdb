package output

import (
	"io/fs"
	"syscall"
)

// identityOf says false where the file system does not tell.
func identityOf(info fs.FileInfo) (identity, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	device := uint64(st.Dev) //nolint:unconvert // it has 32 bits on mips
	return identity{Device: device, Inode: st.Ino, Size: st.Size, Changed: st.Ctim.Nano()}, true
}
