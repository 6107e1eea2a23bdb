package script

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stagectl/stagectl/builder/rootfs"
)

var fileCommands = map[string]command{
	"mkdir": {run: runMkdir, flags: flagSpec{short: "pm:vZ", long: map[string]string{"parents": "p", "mode": "m", "verbose": "v"}}},
	"rmdir": {run: runRmdir, flags: flagSpec{short: "pvi", long: map[string]string{"parents": "p", "ignore-fail-on-non-empty": "i"}}},
	"rm": {run: runRm, flags: flagSpec{short: "rRfvid", long: map[string]string{
		"recursive": "r", "force": "f", "verbose": "v", "dir": "d", "no-preserve-root": "v", "preserve-root": "v",
	}}},
	"touch": {run: runTouch, flags: flagSpec{short: "cmad:t:r:h", long: map[string]string{"no-create": "c", "date": "d", "reference": "r", "no-dereference": "h"}}},
	"ln": {run: runLn, flags: flagSpec{short: "sfnvrTt:", long: map[string]string{
		"symbolic": "s", "force": "f", "no-dereference": "n", "verbose": "v", "relative": "r", "no-target-directory": "T", "target-directory": "t",
	}}},
	"readlink": {run: runReadlink, flags: flagSpec{short: "fenmv", long: map[string]string{"canonicalize": "f", "no-newline": "n"}}},
	"realpath": {run: runRealpath, flags: flagSpec{short: "emsq", long: map[string]string{"canonicalize-missing": "m", "canonicalize-existing": "e"}}},
	"mktemp":   {run: runMktemp, flags: flagSpec{short: "dp:tuq", long: map[string]string{"directory": "d", "tmpdir": "p"}}},
	"truncate": {run: runTruncate, flags: flagSpec{short: "cs:", long: map[string]string{"size": "s"}}},
	"sync":     {run: runNothing, flags: flagSpec{short: "fd"}},
	"sleep":    {run: runNothing},
}

// runNothing is for what only takes time.
func runNothing(*call) int { return 0 }

func runMkdir(c *call) int {
	if len(c.operands) == 0 {
		return c.errorf(1, "missing operand")
	}
	mask := c.mask()
	mode := 0o777 &^ mask
	if c.has('m') {
		m, err := rootfs.ParseMode(c.value('m'))
		if err != nil {
			return c.errorf(1, "%v", err)
		}
		mode = m.Apply(fs.ModeDir|0o777, mask) &^ fs.ModeDir
	}
	status := 0
	for _, p := range c.flags.args() {
		if err := c.mkdir(c.path(p), mode); err != nil {
			status = c.fail(err)
		}
	}
	return status
}

func (c *call) mkdir(p string, mode fs.FileMode) error {
	if !c.has('p') {
		return c.stage.Mkdir(p, mode, c.owner())
	}
	// Those above have the default mode, and may be entered (POSIX, mkdir -p).
	if _, err := c.stage.MkdirAll(path.Dir(path.Clean(p)), 0o777&^c.mask()|0o300, c.owner()); err != nil {
		return err
	}
	made, err := c.stage.MkdirAll(p, mode, c.owner())
	if err == nil && len(made) == 0 && c.has('v') {
		return nil
	}
	return err
}

func runRmdir(c *call) int {
	status := 0
	for _, p := range c.flags.args() {
		p = c.path(p)
		info, err := c.stage.Lstat(p)
		switch {
		case err != nil:
			status = c.fail(err)
		case !info.IsDir():
			status = c.errorf(1, "%s: not a directory", p)
		default:
			if err := c.stage.Remove(p); err != nil {
				status = c.fail(err)
			}
		}
		for c.has('p') && status == 0 {
			if p = path.Dir(p); p == "/" || c.stage.Remove(p) != nil {
				break
			}
		}
	}
	return status
}

func runRm(c *call) int {
	if len(c.operands) == 0 && !c.has('f') {
		return c.errorf(1, "missing operand")
	}
	status := 0
	for _, name := range c.flags.args() {
		if err := c.rm(name); err != nil {
			status = c.fail(err)
		}
	}
	return status
}

func (c *call) rm(name string) error {
	p := c.path(name)
	if base := path.Base(name); base == "." || base == ".." {
		return fmt.Errorf("%s: the present directory and the one above are not removed", name)
	}
	info, err := c.stage.Lstat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.has('f'):
		return nil
	case err != nil:
		return err
	case path.Clean(p) == "/":
		return errors.New("it is dangerous to remove /")
	case !info.IsDir():
		return c.stage.Remove(p)
	case c.any("rR"):
		return c.stage.RemoveAll(p)
	case c.has('d'):
		return c.stage.Remove(p)
	}
	return fmt.Errorf("%s: is a directory", name)
}

func runTouch(c *call) int {
	status := 0
	for _, name := range c.flags.args() {
		_, err := c.stage.Stat(c.path(name))
		if errors.Is(err, fs.ErrNotExist) && !c.has('c') {
			w, createErr := c.create(name, 0)
			if err = createErr; err == nil {
				err = w.Close()
			}
		}
		if err != nil && !c.has('c') {
			status = c.fail(err)
		}
	}
	return status
}

func runLn(c *call) int {
	args := c.flags.args()
	if len(args) == 0 {
		return c.errorf(1, "missing operand")
	}
	targets, dest := args, "."
	if c.has('t') {
		dest = c.value('t')
	} else if len(args) > 1 {
		targets, dest = args[:len(args)-1], args[len(args)-1]
	}
	into := !c.has('T') && c.isDir(dest, !c.has('n'))
	if len(targets) > 1 && !into {
		return c.errorf(1, "target %s is not a directory", dest)
	}
	status := 0
	for _, target := range targets {
		p := c.path(dest)
		if into {
			p = path.Join(p, path.Base(target))
		}
		if err := c.link(target, p); err != nil {
			status = c.fail(err)
		}
	}
	return status
}

// isDir tells whether a directory is there, or with follow at the end of a link.
func (c *call) isDir(name string, follow bool) bool {
	lookup := c.stage.Lstat
	if follow {
		lookup = c.stage.Stat
	}
	info, err := lookup(c.path(name))
	return err == nil && info.IsDir()
}

func (c *call) link(target, p string) error {
	if c.has('f') {
		if info, err := c.stage.Lstat(p); err == nil && !info.IsDir() {
			if err := c.stage.Remove(p); err != nil {
				return err
			}
		}
	}
	if !c.has('s') {
		return c.stage.Link(c.path(target), p)
	}
	if c.has('r') {
		to, err := c.stage.Resolve(path.Dir(c.path(target)))
		if err != nil {
			return err
		}
		from, err := c.stage.Resolve(path.Dir(p))
		if err != nil {
			return err
		}
		target = relativePath(from, path.Join(to, path.Base(target)))
	}
	return c.stage.Symlink(target, p, c.owner())
}

// relativePath is the way from a directory to a path, both clean and absolute.
func relativePath(from, to string) string {
	a, b := names(from), names(to)
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	return path.Clean(strings.Repeat("../", len(a)) + strings.Join(b, "/"))
}

func names(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(s string) bool { return s == "" })
}

func runReadlink(c *call) int {
	status, end := 0, "\n"
	if c.has('n') {
		end = ""
	}
	for _, name := range c.flags.args() {
		var text string
		var err error
		if c.any("fem") {
			text, err = c.canonical(name, c.has('e'))
		} else {
			text, err = c.stage.Readlink(c.path(name))
		}
		if err != nil {
			status = 1 // without a word, as it is used in conditions
			continue
		}
		c.printf("%s%s", text, end)
	}
	return status
}

// canonical is where a path leads. All but the last element has to be there,
// with must the last, too.
func (c *call) canonical(name string, must bool) (string, error) {
	p, err := c.stage.Resolve(c.path(name))
	if err != nil || c.has('m') {
		return p, err
	}
	if _, err := c.stage.Stat(path.Dir(p)); err != nil {
		return "", err
	}
	if must {
		_, err = c.stage.Stat(p)
	}
	return p, err
}

func runRealpath(c *call) int {
	status := 0
	for _, name := range c.flags.args() {
		p, err := c.canonical(name, c.has('e'))
		if err != nil {
			status = c.fail(err)
			continue
		}
		c.printf("%s\n", p)
	}
	return status
}

// runMktemp makes names that are the same in each build.
func runMktemp(c *call) int {
	template := "tmp.XXXXXXXXXX"
	dir := c.env("TMPDIR")
	if dir == "" {
		dir = "/tmp"
	}
	if c.has('p') && c.value('p') != "" {
		dir = c.value('p')
	}
	if len(c.operands) > 0 {
		template = c.operands[0].text
		if !c.any("pt") {
			dir = c.hc.Dir
		}
	}
	stem := strings.TrimRight(template, "X")
	if len(template)-len(stem) < 3 {
		return c.errorf(1, "too few X's in template %s", template)
	}
	for n := range 1 << 20 {
		p := abs(c.path(dir), fmt.Sprintf("%s%0*d", stem, len(template)-len(stem), n))
		var err error
		if c.has('d') {
			err = c.stage.Mkdir(p, 0o700, c.owner())
		} else {
			var f rootfs.File
			if f, err = c.stage.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600, c.owner()); err == nil {
				err = f.Close()
			}
		}
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return c.fail(err)
		}
		c.printf("%s\n", p)
		return 0
	}
	return c.errorf(1, "no name is left")
}

func runTruncate(c *call) int {
	size, err := strconv.ParseInt(c.value('s'), 10, 64)
	if err != nil || size < 0 {
		return c.errorf(1, "only sizes in bytes are known, not %q", c.value('s'))
	}
	for _, name := range c.flags.args() {
		if err := c.truncate(name, size); err != nil {
			return c.fail(err)
		}
	}
	return 0
}

// truncate cuts a file, or makes it longer with zeros.
func (c *call) truncate(name string, size int64) error {
	content, err := c.stage.ReadFile(c.path(name))
	if errors.Is(err, fs.ErrNotExist) && c.has('c') {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w, err := c.create(name, os.O_TRUNC)
	if err != nil {
		return err
	}
	content = content[:min(size, int64(len(content)))]
	_, err = w.Write(content)
	zeros := make([]byte, 64<<10)
	for n := int64(len(content)); err == nil && n < size; n += int64(len(zeros)) {
		_, err = w.Write(zeros[:min(size-n, int64(len(zeros)))])
	}
	return errors.Join(err, w.Close())
}
