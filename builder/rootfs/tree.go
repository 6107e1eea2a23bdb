package rootfs

import (
	"io"
	"io/fs"
	"path"
	"time"
)

// Tree is files by absolute path: what a stage is built on, as the merged
// layers of an image, or what is copied from. Its methods follow no symbolic
// link, in no element of the path; a path that leads through one is not there.
// What is not there is reported with an error that is fs.ErrNotExist.
type Tree interface {
	Lstat(name string) (Info, error)
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]Info, error)
	// Open returns the content of a regular file.
	Open(name string) (io.ReadCloser, error)
}

// Info describes one path.
type Info struct {
	// Path is absolute and clean.
	Path string
	// Mode has the type, the permission bits, setuid, setgid and sticky.
	Mode     fs.FileMode
	UID, GID int
	// Size of a regular file in bytes.
	Size int64
	// Link is the target of a symbolic link as it was written.
	Link string
	// DevMajor and DevMinor are the numbers of a device.
	DevMajor, DevMinor int64
	// Inode is the same for the names of one file, and 0 for a file that has
	// one name, or whose others are not known.
	Inode uint64
}

// Owner is whom a file belongs to.
type Owner struct{ UID, GID int }

// Root owns what nobody else does.
var Root Owner

// Owner returns whom the file belongs to.
func (i Info) Owner() Owner { return Owner{i.UID, i.GID} }

// IsDir tells whether i is a directory.
func (i Info) IsDir() bool { return i.Mode.IsDir() }

// IsSymlink tells whether i is a symbolic link.
func (i Info) IsSymlink() bool { return i.Mode&fs.ModeSymlink != 0 }

// FileInfo returns i in the form of package fs. A stage keeps no times, so that
// of every file is the same.
func (i Info) FileInfo() fs.FileInfo { return fileInfo{i} }

// DirEntry returns i in the form of package fs.
func (i Info) DirEntry() fs.DirEntry { return fs.FileInfoToDirEntry(fileInfo{i}) }

type fileInfo struct{ i Info }

func (f fileInfo) Name() string       { return path.Base(f.i.Path) }
func (f fileInfo) Size() int64        { return f.i.Size }
func (f fileInfo) Mode() fs.FileMode  { return f.i.Mode }
func (f fileInfo) ModTime() time.Time { return time.Unix(0, 0) }
func (f fileInfo) IsDir() bool        { return f.i.IsDir() }
func (f fileInfo) Sys() any           { return f.i }

// dirMode is that of a directory that nobody gave one.
const dirMode = fs.ModeDir | 0o755

// modeBits are what chmod sets.
const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
