package script

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/stagectl/stagectl/builder/rootfs"
)

var copyCommands = map[string]command{
	"cp": {run: runCp, flags: flagSpec{short: "rRapfvdPLHnuTxlsit:", long: map[string]string{
		"recursive": "r", "archive": "a", "force": "f", "verbose": "v", "no-dereference": "P", "dereference": "L", "no-clobber": "n",
		"no-target-directory": "T", "target-directory": "t", "link": "l", "symbolic-link": "s",
	}}},
	"mv": {run: runMv, flags: flagSpec{short: "fvniuTt:", long: map[string]string{
		"force": "f", "verbose": "v", "no-clobber": "n", "no-target-directory": "T", "target-directory": "t",
	}}},
	"install": {run: runInstall, flags: flagSpec{short: "dDm:o:g:vpcst:T", long: map[string]string{
		"directory": "d", "mode": "m", "owner": "o", "group": "g", "verbose": "v", "preserve-timestamps": "p", "target-directory": "t",
	}}},
}

// destinations returns where each source goes: into a directory that is there, or
// to a name.
func (c *call) destinations(args []string) (sources, dests []string, err error) {
	var dest string
	into := true
	switch {
	case c.has('t'):
		sources, dest = args, c.value('t')
	case len(args) < 2:
		return nil, nil, errors.New("missing operand")
	default:
		sources, dest = args[:len(args)-1], args[len(args)-1]
		into = !c.has('T') && (c.isDir(dest, true) || strings.HasSuffix(dest, "/") && len(sources) > 1)
	}
	if len(sources) > 1 && !into {
		return nil, nil, fmt.Errorf("target %s is not a directory", dest)
	}
	for _, s := range sources {
		p := c.path(dest)
		if into {
			p = strings.TrimSuffix(p, "/") + "/" + path.Base(s)
		}
		dests = append(dests, p)
	}
	return sources, dests, nil
}

func runCp(c *call) int {
	sources, dests, err := c.destinations(c.flags.args())
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	status := 0
	for i, s := range sources {
		if err := c.cp(c.path(s), dests[i], true); err != nil {
			status = c.fail(err)
		}
	}
	return status
}

// keeps tells whether owner and mode are kept.
func (c *call) keeps() bool { return c.any("ap") }

// keepsLinks tells whether a link is copied as such: with -r it is by default.
func (c *call) keepsLinks(top bool) bool {
	if c.has('L') || c.has('H') && top {
		return false
	}
	return c.any("aPdrR")
}

func (c *call) cp(from, to string, top bool) error {
	lookup := c.stage.Stat
	if c.keepsLinks(top) && !strings.HasSuffix(from, "/") {
		lookup = c.stage.Lstat
	}
	info, err := lookup(from)
	if err != nil {
		return err
	}
	there, err := c.stage.Lstat(to)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case info.IsDir() && !c.any("rRa"):
		return fmt.Errorf("omitting directory %s", from)
	case info.IsDir():
		return c.cpDir(info, to)
	case exists && c.has('n'):
		return nil
	case exists && there.Path == info.Path:
		return fmt.Errorf("%s and %s are the same file", from, to)
	}
	return c.cpFile(info, to, exists && there.IsDir())
}

func (c *call) cpDir(info rootfs.Info, to string) error {
	at, err := c.stage.Resolve(to)
	if err != nil {
		return err
	}
	if strings.HasPrefix(at+"/", strings.TrimSuffix(info.Path, "/")+"/") {
		return fmt.Errorf("cannot copy directory %s into itself, %s", info.Path, to)
	}
	if there, err := c.stage.Stat(to); err == nil && !there.IsDir() {
		return fmt.Errorf("%s is not a directory", to)
	} else if err != nil {
		if err := c.stage.Mkdir(to, c.newMode(info), c.newOwner(info)); err != nil {
			return err
		}
	}
	if c.keeps() {
		if err := errors.Join(c.stage.Chown(to, info.Owner()), c.stage.Chmod(to, info.Mode)); err != nil {
			return err
		}
	}
	list, err := c.stage.ReadDir(info.Path)
	if err != nil {
		return err
	}
	var errs []error
	for _, child := range list { // what cannot be copied keeps nothing else from being
		errs = append(errs, c.cp(child.Path, strings.TrimSuffix(to, "/")+"/"+path.Base(child.Path), false))
	}
	return errors.Join(errs...)
}

// newMode is that of a copy.
func (c *call) newMode(info rootfs.Info) fs.FileMode {
	if c.keeps() {
		return info.Mode
	}
	return info.Mode.Perm() &^ c.mask()
}

func (c *call) newOwner(info rootfs.Info) rootfs.Owner {
	if c.keeps() {
		return info.Owner()
	}
	return c.owner()
}

func (c *call) cpFile(info rootfs.Info, to string, dir bool) error {
	switch {
	case dir:
		return fmt.Errorf("cannot overwrite directory %s", to)
	case c.has('l'), c.has('s'):
		return c.cpLink(info, to)
	case info.IsSymlink():
		if err := c.replace(to); err != nil {
			return err
		}
		return c.stage.Symlink(info.Link, to, c.newOwner(info))
	case !info.Mode.IsRegular():
		if err := c.replace(to); err != nil {
			return err
		}
		return c.stage.Mknod(to, info)
	}
	// A file that is there keeps its owner and mode, unless they are copied.
	if err := c.copyContent(info.Path, to, c.newMode(info), c.newOwner(info)); err != nil {
		return err
	}
	if !c.keeps() {
		return nil
	}
	return errors.Join(c.stage.Chown(to, info.Owner()), c.stage.Chmod(to, info.Mode))
}

func (c *call) cpLink(info rootfs.Info, to string) error {
	if c.has('f') {
		if err := c.replace(to); err != nil {
			return err
		}
	}
	if c.has('s') {
		return c.stage.Symlink(info.Path, to, c.owner())
	}
	return c.stage.Link(info.Path, to)
}

// replace removes what is in the way of what is no file.
func (c *call) replace(to string) error {
	err := c.stage.Remove(to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (c *call) copyContent(from, to string, mode fs.FileMode, o rootfs.Owner) (err error) {
	r, err := c.stage.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w, err := c.stage.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode, o)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

func runMv(c *call) int {
	sources, dests, err := c.destinations(c.flags.args())
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	status := 0
	for i, s := range sources {
		if _, err := c.stage.Lstat(dests[i]); err == nil && c.has('n') {
			continue
		}
		if err := c.stage.Rename(strings.TrimRight(c.path(s), "/"), strings.TrimRight(dests[i], "/")); err != nil {
			status = c.fail(err)
		}
	}
	return status
}

func runInstall(c *call) int {
	mode, err := rootfs.ParseMode("0755")
	if c.has('m') {
		mode, err = rootfs.ParseMode(c.value('m'))
	}
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	owner, err := c.installOwner()
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	args := c.flags.args()
	if c.has('d') {
		for _, p := range args {
			if err := c.installDir(c.path(p), mode.Apply(fs.ModeDir, 0), owner); err != nil {
				return c.fail(err)
			}
		}
		return 0
	}
	if c.has('D') && len(args) > 1 && !c.has('t') {
		if _, err := c.stage.MkdirAll(path.Dir(c.path(args[len(args)-1])), 0o755, c.owner()); err != nil {
			return c.fail(err)
		}
	}
	if c.has('D') && c.has('t') {
		if _, err := c.stage.MkdirAll(c.path(c.value('t')), 0o755, c.owner()); err != nil {
			return c.fail(err)
		}
	}
	sources, dests, err := c.destinations(args)
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	for i, s := range sources {
		if err := c.installFile(s, dests[i], mode, owner); err != nil {
			return c.fail(err)
		}
	}
	return 0
}

func (c *call) installFile(source, dest string, mode rootfs.Mode, owner rootfs.Owner) error {
	info, err := c.stage.Stat(c.path(source))
	if err == nil && info.IsDir() {
		err = fmt.Errorf("omitting directory %s", source)
	}
	if err == nil {
		err = c.replace(dest)
	}
	if err != nil {
		return err
	}
	return c.copyContent(info.Path, dest, mode.Apply(0, 0), owner)
}

func (c *call) installDir(p string, mode fs.FileMode, owner rootfs.Owner) error {
	if _, err := c.stage.MkdirAll(p, 0o755, c.owner()); err != nil {
		return err
	}
	return errors.Join(c.stage.Chown(p, owner), c.stage.Chmod(p, mode))
}

func (c *call) installOwner() (rootfs.Owner, error) {
	o := c.owner()
	if c.has('o') {
		u, err := c.stage.Owner(c.value('o'))
		if err != nil {
			return o, err
		}
		o.UID = u.UID
	}
	if c.has('g') {
		g, err := c.stage.Owner(":" + c.value('g'))
		if err != nil {
			return o, err
		}
		o.GID = g.GID
	}
	return o, nil
}
