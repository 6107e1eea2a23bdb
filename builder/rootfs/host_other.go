//go:build !unix

package rootfs

import "io/fs"

// What other systems do not tell is left out.

func inode(fs.FileInfo) uint64 { return 0 }

func device(fs.FileInfo) (major, minor int64) { return 0, 0 }
