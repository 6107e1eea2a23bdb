package script

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stagectl/stagectl/builder/rootfs"
)

// listed is a line of ls: a path as it is shown.
type listed struct {
	name string
	info rootfs.Info
}

// runLs lists files first, then directories, each by name: a stage has no times
// to sort by.
func runLs(c *call) int {
	args := c.flags.args()
	if len(args) == 0 {
		args = []string{"."}
	}
	status := 0
	var files, dirs []listed
	for _, p := range args {
		info, err := c.stage.Lstat(c.path(p))
		switch {
		case err != nil:
			status = c.fail(err)
		case c.isDir(p, !c.any("ln")) && !c.has('d'):
			dirs = append(dirs, listed{p, info})
		default:
			files = append(files, listed{p, info})
		}
	}
	c.lsLines(files)
	for i, dir := range c.lsSort(dirs) {
		title := len(args) > 1 || c.has('R')
		if err := c.lsDir(dir.name, title, i > 0 || len(files) > 0); err != nil {
			status = c.fail(err)
		}
	}
	return status
}

// lsDir lists a directory, with its name above and an empty line above that
// where it is one of several.
func (c *call) lsDir(p string, title, next bool) error {
	if title {
		c.printf("%s%s:\n", map[bool]string{true: "\n"}[next], p)
	}
	list, err := c.stage.ReadDir(c.path(p))
	if err != nil {
		return err
	}
	var lines []listed
	if c.has('a') {
		for _, name := range []string{".", ".."} {
			info, err := c.stage.Stat(c.path(path.Join(p, name)))
			if err != nil {
				return err
			}
			lines = append(lines, listed{name, info})
		}
	}
	for _, child := range list {
		if name := path.Base(child.Path); name[0] != '.' || c.any("aA") {
			lines = append(lines, listed{name, child})
		}
	}
	for _, l := range c.lsLines(lines) {
		if !c.has('R') || !l.info.IsDir() || l.name == "." || l.name == ".." {
			continue
		}
		if err := c.lsDir(strings.TrimSuffix(p, "/")+"/"+l.name, true, true); err != nil {
			return err
		}
	}
	return nil
}

// lsSort puts lines in the order that the flags want.
func (c *call) lsSort(lines []listed) []listed {
	slices.SortStableFunc(lines, func(a, b listed) int {
		if c.has('S') && a.info.Size != b.info.Size {
			return cmp.Compare(b.info.Size, a.info.Size)
		}
		return strings.Compare(a.name, b.name)
	})
	if c.has('r') {
		slices.Reverse(lines)
	}
	return lines
}

// lsLines prints lines, and returns them in order.
func (c *call) lsLines(lines []listed) []listed {
	for _, l := range c.lsSort(lines) {
		text := l.name
		if c.has('F') {
			text += lsMark(l.info)
		}
		if c.any("ln") {
			size := strconv.FormatInt(l.info.Size, 10)
			if c.has('h') {
				size = lsSize(l.info.Size)
			}
			text = fmt.Sprintf("%s 1 %d %d %s Jan  1  1970 %s", lsMode(l.info.Mode), l.info.UID, l.info.GID, size, text)
			if l.info.IsSymlink() {
				text += " -> " + l.info.Link
			}
		}
		c.printf("%s\n", text)
	}
	return lines
}

// lsMark tells what a file is.
func lsMark(info rootfs.Info) string {
	switch {
	case info.IsDir():
		return "/"
	case info.IsSymlink():
		return "@"
	case info.Mode.IsRegular() && info.Mode.Perm()&0o111 != 0:
		return "*"
	}
	return ""
}

// lsSize is a size in units of 1024.
func lsSize(size int64) string {
	if size < 1024 {
		return strconv.FormatInt(size, 10)
	}
	n, unit := float64(size), -1
	for n >= 1024 {
		n, unit = n/1024, unit+1
	}
	return fmt.Sprintf("%.1f%c", n, "KMGTPE"[unit])
}

// lsMode is a mode as ls writes it, which package fs does not quite.
func lsMode(mode fs.FileMode) string {
	text := []byte("-" + mode.Perm().String()[1:])
	for t, letter := range map[fs.FileMode]byte{
		fs.ModeDir: 'd', fs.ModeSymlink: 'l', fs.ModeNamedPipe: 'p', fs.ModeSocket: 's',
		fs.ModeDevice: 'b', fs.ModeDevice | fs.ModeCharDevice: 'c',
	} {
		if mode.Type() == t {
			text[0] = letter
		}
	}
	for _, special := range []struct {
		bit    fs.FileMode
		at     int
		letter byte
	}{{fs.ModeSetuid, 3, 's'}, {fs.ModeSetgid, 6, 's'}, {fs.ModeSticky, 9, 't'}} {
		if mode&special.bit == 0 {
			continue
		}
		if text[special.at] == '-' {
			special.letter -= 'a' - 'A'
		}
		text[special.at] = special.letter
	}
	return string(text)
}
