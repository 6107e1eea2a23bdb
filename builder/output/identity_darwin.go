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
	return identity{Device: uint64(st.Dev), Inode: st.Ino, Size: st.Size, Changed: st.Ctimespec.Nano()}, true
}
