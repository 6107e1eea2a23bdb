package script

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// start runs a program of the host in the directory cwd of the stage.
func (c *call) start(name string, args, env []string, cwd string) int {
	dir, err := c.stage.HostPath(cwd)
	if err != nil {
		return c.fail(err)
	}
	root, err := c.stage.HostPath("/")
	if err != nil {
		return c.fail(err)
	}
	back := c.backwards(root)
	stdout, stderr := &lineWriter{w: c.hc.Stdout, r: back}, &lineWriter{w: c.hc.Stderr, r: back}
	if c.host.AgentSocket != "" {
		env = append(env, agentVar+"="+c.host.AgentSocket)
	}
	err = c.host.Command(c.ctx, Call{
		Name: name, Args: args, Dir: dir, Root: root, Env: env, Stdin: c.hc.Stdin, Stdout: stdout, Stderr: stderr,
	})
	err = errors.Join(err, stdout.flush(), stderr.flush())
	if c.user.UID != 0 || c.user.GID != 0 {
		err = errors.Join(err, c.stage.Own("/", c.owner()))
	}
	var exit interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0 && c.ctx.Err() == nil:
		return exit.ExitCode()
	}
	c.fatal = err
	return 1
}

// backwards turns paths of the host into those of the stage.
func (c *call) backwards(root string) *strings.Replacer {
	pairs := []string{root + string(filepath.Separator), "/", root, "/"}
	dirs := slices.Clone(c.host.Dirs)
	slices.SortFunc(dirs, func(a, b Dir) int { return len(b.Host) - len(a.Host) })
	for _, d := range dirs {
		pairs = append(pairs, d.Host, d.Stage)
	}
	return strings.NewReplacer(pairs...)
}

// lineWriter replaces in whole lines, so that no path is torn.
type lineWriter struct {
	w    io.Writer
	r    *strings.Replacer
	rest []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	_, err := l.r.WriteString(l.w, string(l.rest[:end]))
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return len(p), err
}

func (l *lineWriter) flush() error {
	_, err := l.r.WriteString(l.w, string(l.rest))
	l.rest = nil
	return err
}

// caches are the paths of the stage that the host has directories for.
func (c *call) caches() []string {
	var all []string
	for _, d := range c.host.Dirs {
		all = append(all, d.Stage)
	}
	return all
}

// hostPath is the mapper of calls: a path of the stage, or the host's own
// directory in its place.
func (c *call) hostPath(p string) (string, error) {
	for _, d := range c.host.Dirs {
		if rest, ok := strings.CutPrefix(p, d.Stage); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join(d.Host, filepath.FromSlash(rest)), nil
		}
	}
	return c.stage.HostPath(p)
}

// gitEnv keeps git in the stage: its configuration, and where it looks for a
// repository.
func (c *call) gitEnv(home string) ([]string, error) {
	config, err := c.stage.HostPath(path.Join("/", home, ".gitconfig"))
	if err != nil {
		return nil, err
	}
	system, err := c.stage.HostPath("/etc/gitconfig")
	if err != nil {
		return nil, err
	}
	root, err := c.stage.HostPath("/")
	if err != nil {
		return nil, err
	}
	return append(c.netrc(home),
		"GIT_CEILING_DIRECTORIES="+filepath.Dir(root), "GIT_CONFIG_GLOBAL="+config, "GIT_CONFIG_SYSTEM="+system, "GIT_TERMINAL_PROMPT=0",
		// The configuration of a repository names programs, and a URL may name
		// any directory of the host.
		"GIT_ALLOW_PROTOCOL=https:http:ssh:git",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=core.fsmonitor", "GIT_CONFIG_VALUE_0=false", "GIT_CONFIG_KEY_1=core.hooksPath", "GIT_CONFIG_VALUE_1=/dev/null",
	), nil
}

// netrc has git and go find the credentials that the stage has in its user's
// home, as a secret that is mounted there.
func (c *call) netrc(home string) []string {
	name := path.Join("/", home, ".netrc")
	if !c.exists(name) {
		return nil
	}
	file, err := c.stage.HostPath(name)
	if err != nil {
		return nil
	}
	return []string{"HOME=" + filepath.Dir(file), "NETRC=" + file}
}

func runGo(c *call) int {
	verb := ""
	if len(c.args) > 0 {
		verb = c.args[0]
	}
	if c.args = keepCaches(c.args); verb == "clean" && len(c.args) == 1 {
		return 0
	}
	cwd := path.Clean(abs("/", filepath.ToSlash(c.hc.Dir)))
	mapped, err := mapGoArgs(c.args, cwd, c.hostPath)
	if err != nil {
		return c.fail(err)
	}
	for _, dir := range mapped.Dirs {
		if err := c.bring(dir); err != nil {
			return c.fail(err)
		}
	}
	vars := c.exported()
	env, err := mapGoEnv(vars, slices.Contains(goRuns, verb), cwd, c.caches(), c.hostPath)
	if err != nil {
		return c.fail(err)
	}
	git, err := c.gitEnv(vars["HOME"])
	if err != nil {
		return c.fail(err)
	}
	goenv, err := c.stage.HostPath(path.Join("/", vars["HOME"], ".config/go/env"))
	if err != nil {
		return c.fail(err)
	}
	env = append(append(env, git...), "GOENV="+goenv)
	slices.Sort(env)
	status := c.start("go", mapped.Args, env, cwd)
	if status == 0 && (verb == "install" || verb == "get") {
		if err := c.settleBin(vars); err != nil {
			return c.fail(err)
		}
	}
	return status
}

// keepCaches leaves out of go clean what would clean the host's own caches, which
// the image does not have.
func keepCaches(args []string) []string {
	if len(args) == 0 || args[0] != "clean" {
		return args
	}
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool {
		return slices.Contains([]string{"cache", "modcache", "testcache", "fuzzcache"}, strings.TrimLeft(a, "-"))
	})
}

// bring has a directory on the host, with the module that it is in and those
// beside it that the module is replaced with.
func (c *call) bring(dir string) error {
	if slices.ContainsFunc(c.caches(), func(p string) bool { return dir == p || strings.HasPrefix(dir, p+"/") }) {
		return nil
	}
	if c.exists(dir) && !c.isDir(dir, true) {
		dir = path.Dir(dir) // a file, which is there when its path is
	}
	top := dir
	for at := dir; ; at = path.Dir(at) {
		if c.exists(path.Join(at, "go.mod")) || c.exists(path.Join(at, "go.work")) {
			top = at
		}
		if at == "/" {
			break
		}
	}
	if top == "/" { // all of the image is not needed
		if _, err := c.stage.HostPath("/go.mod"); err != nil {
			return err
		}
		top = dir
	}
	if top == "/" || !c.exists(top) {
		_, err := c.stage.HostPath(top)
		return err
	}
	if _, err := c.stage.HostDir(top); err != nil {
		return err
	}
	return c.bringReplaced(top)
}

func (c *call) exists(p string) bool {
	_, err := c.stage.Stat(p)
	return err == nil
}

// bringReplaced has the directories on the host that a go.mod or go.work names.
func (c *call) bringReplaced(top string) error {
	for _, name := range []string{"go.mod", "go.work"} {
		raw, err := c.stage.ReadFile(path.Join(top, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for line := range strings.SplitSeq(string(raw), "\n") {
			_, to, ok := strings.Cut(line, "=>")
			if !ok {
				to = strings.TrimPrefix(strings.TrimSpace(line), "use ")
			}
			to = strings.Trim(strings.TrimSpace(to), `"`)
			if !strings.HasPrefix(to, "../") && !path.IsAbs(to) {
				continue
			}
			dir := path.Clean(abs(top, to))
			if dir == "/" || !c.isDir(dir, true) {
				continue
			}
			if _, err := c.stage.HostDir(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleBin moves what the go command of another system installed apart to where
// that of the stage's would have put it.
func (c *call) settleBin(vars map[string]string) error {
	p := c.host.Platform
	if goos := vars["GOOS"]; goos != "" && goos != p.OS {
		return nil
	}
	if arch := vars["GOARCH"]; arch != "" && arch != p.Architecture {
		return nil
	}
	gopath := vars["GOPATH"]
	if gopath == "" {
		gopath = path.Join("/", vars["HOME"], "go")
	}
	first, _, _ := strings.Cut(gopath, ":")
	from := path.Join(first, "bin", p.OS+"_"+p.Architecture)
	list, err := c.stage.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, info := range list {
		if err := c.stage.Rename(info.Path, path.Join(first, "bin", path.Base(info.Path))); err != nil {
			return err
		}
	}
	return c.stage.Remove(from)
}

func runGit(c *call) int {
	cwd := path.Clean(abs("/", filepath.ToSlash(c.hc.Dir)))
	args, err := c.gitArgs(cwd)
	if err != nil {
		return c.fail(err)
	}
	vars := c.exported()
	env, err := c.gitEnv(vars["HOME"])
	if err != nil {
		return c.fail(err)
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !slices.Contains(ownVariables, name) && (strings.HasPrefix(name, "GIT_AUTHOR_") || strings.HasPrefix(name, "GIT_COMMITTER_") || strings.HasSuffix(strings.ToUpper(name), "_PROXY")) {
			env = append(env, name+"="+vars[name])
		}
	}
	if err := c.bringRepository(cwd); err != nil {
		return c.fail(err)
	}
	return c.start("git", args, env, cwd)
}

// gitArgs maps the paths in the arguments of git.
func (c *call) gitArgs(cwd string) ([]string, error) {
	args := slices.Clone(c.args)
	clone, operands := false, 0
	for i, a := range args {
		p, prefix := "", ""
		name, value, given := strings.Cut(a, "=")
		switch {
		case i > 0 && (args[i-1] == "-C" || args[i-1] == "--git-dir" || args[i-1] == "--work-tree"):
			p = c.args[i]
		case given && (name == "--git-dir" || name == "--work-tree"):
			p, prefix = value, name+"="
		case a == "clone":
			clone = true
		case clone && !strings.HasPrefix(a, "-"):
			if operands++; path.IsAbs(a) {
				p = a
			}
		}
		if p == "" {
			continue
		}
		dir := path.Clean(abs(cwd, p))
		if err := c.bringRepository(dir); err != nil {
			return nil, err
		}
		mapped, err := c.stage.HostPath(dir)
		if err != nil {
			return nil, err
		}
		args[i] = prefix + mapped
	}
	return args, nil
}

// bringRepository has the repository that a directory is in on the host.
func (c *call) bringRepository(dir string) error {
	for at := dir; at != "/"; at = path.Dir(at) {
		if c.exists(path.Join(at, ".git")) {
			_, err := c.stage.HostDir(at)
			return err
		}
	}
	_, err := c.stage.HostPath(dir)
	return err
}

func runMake(c *call) int {
	cwd := path.Clean(abs("/", filepath.ToSlash(c.hc.Dir)))
	if err := c.bring(cwd); err != nil {
		return c.fail(err)
	}
	vars := c.exported()
	env, err := mapGoEnv(vars, true, cwd, c.caches(), c.hostPath)
	if err != nil {
		return c.fail(err)
	}
	git, err := c.gitEnv(vars["HOME"])
	if err != nil {
		return c.fail(err)
	}
	return c.start("make", slices.Clone(c.args), append(env, git...), cwd)
}
