package script

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"

	"github.com/stagectl/stagectl/builder/rootfs"
)

// plain tells whether a builtin can be run as a program: by xargs, or by its path.
func plain(name string) bool {
	return slices.Contains([]string{"true", "false", "echo", "printf", "test", "[", "pwd", ":"}, name)
}

func (c *call) plain(args []string) int {
	if args[0] == "pwd" {
		c.printf("%s\n", c.hc.Dir)
		return 0
	}
	err := c.hc.Builtin(c.ctx, args)
	if err == nil {
		return 0
	}
	var status interp.ExitStatus
	if s, err := strconv.Atoi(strings.TrimPrefix(err.Error(), "builtin exit status ")); err == nil {
		status = interp.ExitStatus(s)
	}
	return max(int(status), 1)
}

// builtin carries out what the interpreter is not to.
func (c *call) builtin() int {
	switch c.name {
	case "umask":
		return c.runUmask()
	case "pwd":
		p, err := c.stage.Resolve(c.path("."))
		if err != nil {
			return c.fail(err)
		}
		c.printf("%s\n", p)
		return 0
	case "echo":
		return c.runEcho()
	case "command":
		return c.runCommand()
	}
	return c.runType()
}

func (c *call) runUmask() int {
	args := slices.DeleteFunc(slices.Clone(c.args), func(a string) bool { return a == "-p" })
	symbolic := slices.Contains(args, "-S")
	args = slices.DeleteFunc(args, func(a string) bool { return a == "-S" })
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(args) == 0 && symbolic:
		m := ^c.umask & 0o777
		text := func(bits uint32) string {
			s := ""
			for i, letter := range "rwx" {
				if bits&(4>>i) != 0 {
					s += string(letter)
				}
			}
			return s
		}
		c.printf("u=%s,g=%s,o=%s\n", text(m>>6), text(m>>3), text(m))
	case len(args) == 0:
		c.printf("%04o\n", c.umask)
	default:
		mode, err := rootfs.ParseMode(args[0])
		if err != nil {
			return c.errorf(1, "%v", err)
		}
		if bits, octal := mode.Octal(); octal {
			c.umask = uint32(bits.Perm())
		} else { // symbolic is what is allowed
			c.umask = ^uint32(mode.Apply(fs.FileMode(^c.umask&0o777), 0).Perm()) & 0o777
		}
	}
	return 0
}

// runEcho is echo where the text has backslashes: dash, which is the sh of Debian,
// reads them always, the other shells only with -e.
func (c *call) runEcho() int {
	args, newline, escapes := c.args, true, false
	if c.dash() {
		escapes = true
		if len(args) > 0 && args[0] == "-n" {
			args, newline = args[1:], false
		}
	} else {
		for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.Trim(args[0][1:], "neE") == "" {
			newline = newline && !strings.Contains(args[0], "n")
			escapes = !strings.HasSuffix(strings.TrimRight(args[0], "n"), "E") && strings.ContainsAny(args[0], "eE") || escapes && !strings.Contains(args[0], "E")
			args = args[1:]
		}
	}
	text := strings.Join(args, " ")
	if escapes {
		before, _, stop := strings.Cut(text, `\c`)
		if stop {
			newline = false
		}
		text, _, _ = expand.Format(&expand.Config{Env: noEnv{}}, strings.ReplaceAll(before, "%", "%%"), nil)
	}
	if newline {
		text += "\n"
	}
	c.printf("%s", text)
	return 0
}

// dash tells whether the shell is Debian's.
func (c *call) dash() bool {
	switch path.Base(c.prog.shell) {
	case "dash":
		return true
	case "sh":
		p, err := c.stage.Resolve("/bin/sh")
		return err == nil && path.Base(p) == "dash"
	}
	return false
}

// runCommand is command -v and -V.
func (c *call) runCommand() int {
	verbose, args := false, c.args
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		verbose = verbose || strings.Contains(args[0], "V")
		if strings.Trim(args[0], "-pvV") != "" {
			return c.errorf(2, "unknown option %s", args[0])
		}
		args = args[1:]
	}
	status := 0
	for _, name := range args {
		p, ok := c.find(name)
		switch {
		case !ok && verbose:
			status = c.errorf(1, "%s: not found", name)
		case !ok:
			status = 1
		case verbose:
			c.printf("%s is %s\n", name, p)
		default:
			c.printf("%s\n", p)
		}
	}
	return status
}

func (c *call) runType() int {
	status := 0
	for _, name := range c.args {
		if strings.HasPrefix(name, "-") {
			continue
		}
		p, ok := c.find(name)
		switch {
		case !ok:
			status = c.errorf(127, "%s: not found", name)
		case p == name:
			c.printf("%s is a shell builtin\n", name)
		default:
			c.printf("%s is %s\n", name, p)
		}
	}
	return status
}

// find tells what a name of a command stands for: itself for a function or a
// builtin, or the path of a program. Programs that are emulated are there, even
// where the stage does not have them.
func (c *call) find(name string) (string, bool) {
	if c.functions[name] || interp.IsBuiltin(name) {
		return name, true
	}
	if strings.Contains(name, "/") {
		info, err := c.stage.Stat(c.path(name))
		return name, err == nil && info.Mode.IsRegular() && info.Mode&0o111 != 0
	}
	for dir := range strings.SplitSeq(c.env("PATH"), ":") {
		p := path.Join(c.path(dir), name)
		if info, err := c.stage.Stat(p); err == nil && info.Mode.IsRegular() && info.Mode&0o111 != 0 {
			return p, true
		}
	}
	if name == "go" {
		return "/usr/local/go/bin/go", true
	}
	_, ok := commandOf(name)
	return "/usr/bin/" + name, ok
}
