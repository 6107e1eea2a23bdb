package golang

import (
	"debug/elf"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/script"
)

// buildOf describes a run of the go command that leaves nothing but programs, and
// of which all is known that decides what they are; nil for any other one. The
// package comment lists those.
func buildOf(c script.Call, env []string, release string) *compile.Call {
	if len(c.Args) == 0 {
		return nil
	}
	b := &compile.Call{Dir: c.Dir, Args: c.Args}
	o, ok := describe(b, c.Args)
	if !ok {
		return nil
	}
	none := outside(c, env)
	if none || !atLeast(release, "1.19") {
		b.Embeds = atLeast(release, "1.16")
		if !inTrees(b, c, env) {
			return nil
		}
	}
	switch {
	case c.Args[0] == "install":
		ok = o == "" && !none && b.Trees == nil
		b.OutDir = binDir(env)
	case o == "":
		ok = byItself(b, none, c)
	case o == os.DevNull:
		ok = b.Trees == nil
	case isDir(o) || strings.HasSuffix(o, "/") || os.IsPathSeparator(o[len(o)-1]):
		ok = b.Trees == nil
		b.OutDir = filepath.Clean(o)
	default:
		b.File = o
		ok = replaceable(o)
	}
	if !ok {
		return nil
	}
	return b
}

// decided are the flags whose values say all that they do. Those that `go list`
// has to know as well are true.
var decided = map[string]bool{
	"C": false, "a": false, "asmflags": false, "buildmode": false, "buildvcs": false, "gcflags": false, "installsuffix": false, "ldflags": false,
	"mod": true, "modcacherw": false, "o": false, "p": false, "pgo": false, "tags": true, "trimpath": false, "v": false,
}

// switches are those of them that have no value of their own.
var switches = []string{"a", "modcacherw", "trimpath", "v", "buildvcs"}

// describe notes what flags and packages say, and returns the value of -o.
func describe(b *compile.Call, args []string) (o string, ok bool) {
	if args[0] != "build" && args[0] != "install" {
		return "", false
	}
	flags, packages := splitArgs(args[1:])
	for i := 0; i < len(flags); i++ {
		name, value, given := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(flags[i], "-"), "-"), "=")
		list, known := decided[name]
		if !known {
			return "", false
		}
		if !given && !slices.Contains(switches, name) {
			if i++; i == len(flags) {
				return "", false
			}
			value = flags[i]
		}
		switch name {
		case "C": // which comes first
			b.Dir = value
		case "o":
			if o = value; o != "" && !filepath.IsAbs(o) {
				o = filepath.Join(b.Dir, o)
			}
		case "ldflags":
			b.LDFlags = value
		case "buildvcs":
			known = value == "false"
		case "buildmode":
			known = slices.Contains([]string{"default", "exe", "pie"}, value)
		case "pgo":
			known = value == "off" || value == "auto"
		}
		if !known {
			return "", false
		}
		if list {
			b.ListFlags = append(b.ListFlags, "-"+name+"="+value)
		}
	}
	b.Packages = packages
	return o, !slices.ContainsFunc(packages, func(p string) bool { return p == "" || strings.HasPrefix(p, "-") || strings.Contains(p, "@") })
}

// byItself finds where the program goes without -o: beside where one package is
// built. What is compiled of several is not kept.
func byItself(b *compile.Call, none bool, c script.Call) bool {
	switch {
	case none:
		b.File = filepath.Join(b.Dir, filepath.Base(b.Dir))
		return b.Dir != c.Root && (len(b.Packages) == 0 || slices.Equal(b.Packages, []string{"."})) && replaceable(b.File)
	case b.Trees != nil:
		return false
	case len(b.Packages) < 2 && !strings.Contains(strings.Join(b.Packages, ""), "..."), ofFiles(c.Args):
		b.OutDir = b.Dir
	}
	return true
}

// inTrees notes the directories that hold all that is compiled.
func inTrees(b *compile.Call, c script.Call, env []string) bool {
	root := moduleOf(c)
	if root == "" {
		root = b.Dir
	}
	for _, p := range b.Packages {
		if filepath.IsAbs(p) || p == ".." || strings.HasPrefix(p, "../") {
			return false
		}
	}
	b.Trees = []string{root}
	for _, p := range filepath.SplitList(lookup(env, "GOPATH")) {
		if strings.HasPrefix(p, c.Root) { // the host's is for modules alone
			b.Trees = append(b.Trees, filepath.Join(p, "src"))
		}
	}
	return root != filepath.Clean(c.Root) // which has more than a project
}

// binDir is where go install puts programs.
func binDir(env []string) string {
	if dir := lookup(env, "GOBIN"); dir != "" {
		return dir
	}
	first := filepath.SplitList(lookup(env, "GOPATH"))
	if len(first) == 0 {
		return ""
	}
	bin := filepath.Join(first[0], "bin")
	if goos, goarch := lookup(env, "GOOS"), lookup(env, "GOARCH"); goos != runtime.GOOS || goarch != runtime.GOARCH {
		bin = filepath.Join(bin, goos+"_"+goarch)
	}
	return bin
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// replaceable tells whether the go command would put a program at a path: where
// nothing is, or another program.
func replaceable(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return os.IsNotExist(err)
	}
	defer func() { _ = f.Close() }()
	magic := make([]byte, len(elf.ELFMAG))
	_, err = io.ReadFull(f, magic)
	return err == nil && string(magic) == elf.ELFMAG
}
