//go:build unix

package rootfs

import (
	"io/fs"
	"syscall"
)

// inode is the number of a file that has several names, and 0 for others.
func inode(fi fs.FileInfo) uint64 {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || st.Nlink < 2 || fi.IsDir() {
		return 0
	}
	return st.Ino
}

// device returns the numbers of a device.
func device(fi fs.FileInfo) (major, minor int64) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || fi.Mode()&fs.ModeDevice == 0 {
		return 0, 0
	}
	// As the C library of Linux divides it (sysmacros.h).
	n := uint64(st.Rdev) //nolint:unconvert // signed on other systems
	return int64(n>>8&0xfff | n>>32&^0xfff), int64(n&0xff | n>>12&^0xff)
}
