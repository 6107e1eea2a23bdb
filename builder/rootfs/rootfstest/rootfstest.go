// Package rootfstest is for tests of what works on stages: it writes files as
// lines, in the form of ls, and reads them.
//
//	drwxr-xr-x 0:0 /srv
//	-rwsr-xr-x 0:5 /srv/tool its content
//	lrwxrwxrwx 0:0 /bin -> usr/bin
//	crw-rw-rw- 0:0 /dev/null
package rootfstest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stagectl/stagectl/builder/rootfs"
)

// Tree is a tree in memory. It notes what is read.
type Tree struct {
	Infos    map[string]rootfs.Info
	Contents map[string]string
	// Opened are the files whose content was asked for.
	Opened []string
	// Asked counts the other questions.
	Asked int
}

var _ rootfs.Tree = (*Tree)(nil)

// NewTree makes a tree of lines; directories that are missing are made.
func NewTree(lines ...string) *Tree {
	t := &Tree{Infos: map[string]rootfs.Info{"/": {Path: "/", Mode: fs.ModeDir | 0o755}}, Contents: map[string]string{}}
	for _, line := range lines {
		info, content := Parse(line)
		for dir := path.Dir(info.Path); t.Infos[dir].Path == ""; dir = path.Dir(dir) {
			t.Infos[dir] = rootfs.Info{Path: dir, Mode: fs.ModeDir | 0o755}
		}
		t.Infos[info.Path], t.Contents[info.Path] = info, content
	}
	return t
}

// Lstat implements rootfs.Tree.
func (t *Tree) Lstat(p string) (rootfs.Info, error) {
	t.Asked++
	info, ok := t.Infos[p]
	if !ok {
		return info, &fs.PathError{Op: "lstat", Path: p, Err: fs.ErrNotExist}
	}
	return info, nil
}

// ReadDir implements rootfs.Tree.
func (t *Tree) ReadDir(p string) ([]rootfs.Info, error) {
	t.Asked++
	var list []rootfs.Info
	for _, name := range slices.Sorted(maps.Keys(t.Infos)) {
		if name != "/" && path.Dir(name) == p {
			list = append(list, t.Infos[name])
		}
	}
	return list, nil
}

// Open implements rootfs.Tree.
func (t *Tree) Open(p string) (io.ReadCloser, error) {
	t.Opened = append(t.Opened, p)
	if info, ok := t.Infos[p]; !ok || !info.Mode.IsRegular() {
		return nil, errors.New("no such content: " + p)
	}
	return io.NopCloser(strings.NewReader(t.Contents[p])), nil
}

// special are the letters that stand for the bits beside the permissions.
var special = []struct {
	bit    fs.FileMode
	at     int
	letter byte
}{{fs.ModeSetuid, 3, 's'}, {fs.ModeSetgid, 6, 's'}, {fs.ModeSticky, 9, 't'}}

// types are the letters that a line starts with.
var types = map[byte]fs.FileMode{
	'-': 0, 'd': fs.ModeDir, 'l': fs.ModeSymlink, 'p': fs.ModeNamedPipe,
	'c': fs.ModeDevice | fs.ModeCharDevice, 'b': fs.ModeDevice, 's': fs.ModeSocket,
}

// Parse reads a line. It panics where that is none.
func Parse(line string) (info rootfs.Info, content string) {
	fields := strings.SplitN(line, " ", 4)
	if len(fields) < 3 || len(fields[0]) != 10 {
		panic("not a line: " + line)
	}
	mode, ok := types[fields[0][0]]
	_, err := fmt.Sscanf(fields[1], "%d:%d", &info.UID, &info.GID)
	if !ok || err != nil {
		panic("not a line: " + line)
	}
	for i, letter := range []byte(fields[0][1:]) {
		if !strings.ContainsRune("-ST", rune(letter)) {
			mode |= 0o400 >> i
		}
	}
	for _, s := range special {
		if letter := fields[0][s.at]; letter|0x20 == s.letter {
			mode |= s.bit
		}
	}
	info.Path, info.Mode = fields[2], mode
	if len(fields) == 4 {
		content = fields[3]
	}
	switch {
	case info.IsSymlink():
		info.Link, content = strings.TrimPrefix(content, "-> "), ""
	case mode.IsRegular():
		info.Size = int64(len(content))
	}
	return info, content
}

// Line writes what Parse reads.
func Line(info rootfs.Info, content string) string {
	mode := []byte("-" + info.Mode.Perm().String()[1:])
	for letter, t := range types {
		if info.Mode.Type() == t {
			mode[0] = letter
		}
	}
	for _, s := range special {
		if info.Mode&s.bit == 0 {
			continue
		}
		if mode[s.at] == '-' {
			s.letter -= 'a' - 'A'
		}
		mode[s.at] = s.letter
	}
	if info.IsSymlink() {
		content = "-> " + info.Link
	}
	return strings.TrimSuffix(fmt.Sprintf("%s %d:%d %s %s", mode, info.UID, info.GID, info.Path, content), " ")
}

// List returns a line for each path of a tree.
func List(t rootfs.Tree) ([]string, error) { return listDir(t, "/") }

func listDir(t rootfs.Tree, dir string) ([]string, error) {
	infos, err := t.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, info := range infos {
		content := ""
		if info.Mode.IsRegular() {
			if content, err = read(func() (io.ReadCloser, error) { return t.Open(info.Path) }, info); err != nil {
				return nil, err
			}
		}
		lines = append(lines, Line(info, content))
		if info.IsDir() {
			below, err := listDir(t, info.Path)
			if err != nil {
				return nil, err
			}
			lines = append(lines, below...)
		}
	}
	return lines, nil
}

// Changes returns a line for each change since the snapshot, which may be nil:
// as of Line, or "deleted /path".
func Changes(f *rootfs.FS, since *rootfs.Snapshot) ([]string, error) {
	var lines []string
	for c, err := range f.Changes(since) {
		if err != nil {
			return nil, err
		}
		content := ""
		if c.Open != nil {
			if content, err = read(c.Open, c.Info); err != nil {
				return nil, err
			}
		}
		if c.Deleted {
			lines = append(lines, "deleted "+c.Path)
		} else {
			lines = append(lines, Line(c.Info, content))
		}
	}
	return lines, nil
}

func read(open func() (io.ReadCloser, error), info rootfs.Info) (string, error) {
	r, err := open()
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(r)
	if err == nil && int64(len(content)) != info.Size {
		err = fmt.Errorf("%s has %d bytes, and size %d", info.Path, len(content), info.Size)
	}
	return string(content), errors.Join(err, r.Close())
}
