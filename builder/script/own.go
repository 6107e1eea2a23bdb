package script

import (
	"io/fs"
	"slices"
	"strings"

	"github.com/stagectl/stagectl/builder/rootfs"
)

var ownFlags = flagSpec{short: "RhfvcHLP", long: map[string]string{
	"recursive": "R", "no-dereference": "h", "verbose": "v", "changes": "c", "silent": "f", "quiet": "f",
}}

var ownCommands = map[string]command{
	"chmod": {run: runChmod, check: checkChmod},
	"chown": {run: runChown, flags: ownFlags},
	"chgrp": {run: runChgrp, flags: ownFlags},
}

// chmodArgs divides the arguments: a mode may start with a dash, as -w does.
func chmodArgs(args []word) (*flags, error) {
	var rest []word
	f := &flags{values: map[byte][]word{}}
	for i, a := range args {
		switch {
		case a.known && a.text == "--":
			f.operands = slices.Concat(rest, args[i+1:])
			return f, nil
		case a.known && strings.HasPrefix(a.text, "-") && len(rest) == 0 && strings.Trim(a.text[1:], "rwxXstugo,+=-") == "" && len(a.text) > 1 && !strings.HasPrefix(a.text, "--"):
			rest = append(rest, a)
		case a.known && strings.HasPrefix(a.text, "-") && len(a.text) > 1:
			g, err := ownFlags.parse([]word{a})
			if err != nil {
				return nil, err
			}
			for letter, v := range g.values {
				f.values[letter] = v
			}
		default:
			rest = append(rest, a)
		}
	}
	f.operands = rest
	return f, nil
}

func checkChmod(_ *checker, args []word) *refusal {
	f, err := chmodArgs(args)
	if err == nil && len(f.operands) > 0 && f.operands[0].known {
		_, err = rootfs.ParseMode(f.operands[0].text)
	}
	if err != nil {
		return &refusal{"chmod that knows more: " + err.Error(), ""}
	}
	return nil
}

func runChmod(c *call) int {
	f, err := chmodArgs(words(c.args))
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	c.flags = f
	args := f.args()
	if len(args) < 2 {
		return c.errorf(1, "missing operand")
	}
	mode, err := rootfs.ParseMode(args[0])
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	return c.each(args[1:], true, func(info rootfs.Info, top bool) error {
		if info.IsSymlink() && !top {
			return nil // a link has no mode of its own
		}
		return c.stage.Chmod(info.Path, mode.Apply(info.Mode, c.mask()))
	})
}

// each calls fn for the paths and, with -R, for what is below them.
func (c *call) each(paths []string, follow bool, fn func(info rootfs.Info, top bool) error) int {
	lookup := c.stage.Lstat
	if follow {
		lookup = c.stage.Stat
	}
	status := 0
	for _, p := range paths {
		info, err := lookup(c.path(p))
		if err == nil {
			err = c.walk(info, true, fn)
		}
		if err != nil {
			status = c.fail(err)
		}
	}
	return status
}

func (c *call) walk(info rootfs.Info, top bool, fn func(info rootfs.Info, top bool) error) error {
	if err := fn(info, top); err != nil {
		return err
	}
	if !info.IsDir() || !c.has('R') {
		return nil
	}
	list, err := c.stage.ReadDir(info.Path)
	if err != nil {
		return err
	}
	for _, child := range list {
		if err := c.walk(child, false, fn); err != nil {
			return err
		}
	}
	return nil
}

func runChown(c *call) int {
	args := c.flags.args()
	if len(args) < 2 {
		return c.errorf(1, "missing operand")
	}
	spec := args[0]
	if !strings.Contains(spec, ":") {
		if name, group, ok := strings.Cut(spec, "."); ok && c.unknownUser(spec) {
			spec = name + ":" + group // the form of old
		}
	}
	user, group, both := strings.Cut(spec, ":")
	var o rootfs.Owner
	var err error
	if user != "" {
		if o, err = c.stage.Owner(user); err != nil {
			return c.errorf(1, "%v", err)
		}
	}
	switch {
	case both && group == "" && user != "": // "user:" is the user's own group
		login, err := c.stage.Login(user)
		if err != nil {
			return c.errorf(1, "%v", err)
		}
		if login.Name != "" { // of a number that nobody has, it is the same number
			o.GID = login.GID
		}
	case group != "":
		g, err := c.stage.Owner(":" + group)
		if err != nil {
			return c.errorf(1, "%v", err)
		}
		o.GID = g.GID
	}
	return c.chown(args[1:], func(i rootfs.Info) rootfs.Owner {
		next := i.Owner()
		if user != "" {
			next.UID = o.UID
		}
		if both {
			next.GID = o.GID
		}
		return next
	})
}

func (c *call) unknownUser(name string) bool {
	_, err := c.stage.Owner(name)
	return err != nil
}

func runChgrp(c *call) int {
	args := c.flags.args()
	if len(args) < 2 {
		return c.errorf(1, "missing operand")
	}
	g, err := c.stage.Owner(":" + args[0])
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	return c.chown(args[1:], func(i rootfs.Info) rootfs.Owner { return rootfs.Owner{UID: i.UID, GID: g.GID} })
}

func (c *call) chown(paths []string, owner func(rootfs.Info) rootfs.Owner) int {
	// With -R, links below are changed themselves, and one that is named is not
	// followed.
	follow := !c.has('h') && !c.has('R')
	return c.each(paths, follow, func(info rootfs.Info, _ bool) error {
		if info.Mode&fs.ModeSymlink != 0 && !c.has('h') && !c.has('R') {
			return nil
		}
		return c.stage.Lchown(info.Path, owner(info))
	})
}
