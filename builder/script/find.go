package script

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stagectl/stagectl/builder/rootfs"
)

func runFind(c *call) int {
	f := &finder{call: c, maxDepth: -1}
	args := c.args
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "(" && args[0] != "!" {
		f.paths = append(f.paths, args[0])
		args = args[1:]
	}
	if len(f.paths) == 0 {
		f.paths = []string{"."}
	}
	t, rest, err := f.or(args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unexpected %s", rest[0])
	}
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	if !f.acts {
		t = both(t, f.print("\n"))
	}
	for _, p := range f.paths {
		info, err := c.stage.Lstat(c.path(p))
		if err != nil {
			f.status = c.fail(err)
			continue
		}
		f.visit(p, info, 0, t)
	}
	return f.status
}

func (f *finder) visit(p string, info rootfs.Info, depth int, t test) {
	prune := false
	look := func() {
		if depth >= f.minDepth {
			_, prune = t(p, info)
		}
	}
	if !f.depth {
		look()
	}
	if info.IsDir() && !prune && (f.maxDepth < 0 || depth < f.maxDepth) && f.fatal == nil {
		list, err := f.stage.ReadDir(f.path(p))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.status = f.fail(err)
		}
		for _, child := range list {
			f.visit(strings.TrimSuffix(p, "/")+"/"+path.Base(child.Path), child, depth+1, t)
		}
	}
	if f.depth {
		look()
	}
}

func both(a, b test) test {
	return func(p string, info rootfs.Info) (bool, bool) {
		ok, prune := a(p, info)
		if !ok {
			return false, prune
		}
		ok, more := b(p, info)
		return ok, prune || more
	}
}

func yes(string, rootfs.Info) (bool, bool) { return true, false }

// or, and, not read an expression by the precedence of its operators.
func (f *finder) or(args []string) (test, []string, error) {
	t, args, err := f.and(args)
	for err == nil && len(args) > 0 && (args[0] == "-o" || args[0] == "-or") {
		var next test
		left := t
		if next, args, err = f.and(args[1:]); err != nil {
			break
		}
		t = func(p string, info rootfs.Info) (bool, bool) {
			ok, prune := left(p, info)
			if ok {
				return true, prune
			}
			ok, more := next(p, info)
			return ok, prune || more
		}
	}
	return t, args, err
}

func (f *finder) and(args []string) (test, []string, error) {
	t := test(yes)
	for len(args) > 0 && !slices.Contains([]string{"-o", "-or", ")"}, args[0]) {
		if args[0] == "-a" || args[0] == "-and" {
			args = args[1:]
			continue
		}
		next, rest, err := f.not(args)
		if err != nil {
			return nil, nil, err
		}
		t, args = both(t, next), rest
	}
	return t, args, nil
}

func (f *finder) not(args []string) (test, []string, error) {
	switch args[0] {
	case "!", "-not":
		if len(args) == 1 {
			return nil, nil, fmt.Errorf("nothing follows %s", args[0])
		}
		t, rest, err := f.not(args[1:])
		return func(p string, info rootfs.Info) (bool, bool) {
			ok, prune := t(p, info)
			return !ok, prune
		}, rest, err
	case "(":
		t, rest, err := f.or(args[1:])
		if err == nil && (len(rest) == 0 || rest[0] != ")") {
			err = errors.New("a parenthesis is not closed")
		}
		if err != nil {
			return nil, nil, err
		}
		return t, rest[1:], nil
	}
	return f.primary(args)
}

func (f *finder) primary(args []string) (test, []string, error) {
	name := args[0]
	if name == "-exec" || name == "-execdir" {
		return f.exec(args[1:])
	}
	if !findTakes[name] {
		t, err := f.plain(name)
		return t, args[1:], err
	}
	if len(args) == 1 {
		return nil, nil, fmt.Errorf("nothing follows %s", name)
	}
	t, err := f.valued(name, args[1])
	return t, args[2:], err
}

func (f *finder) plain(name string) (test, error) {
	switch name {
	case "-print":
		f.acts = true
		return f.print("\n"), nil
	case "-print0":
		f.acts = true
		return f.print("\x00"), nil
	case "-delete":
		f.acts, f.depth = true, true
		return func(p string, _ rootfs.Info) (bool, bool) {
			if err := f.stage.Remove(f.path(p)); err != nil && p != "." {
				f.status = f.fail(err)
				return false, false
			}
			return true, false
		}, nil
	case "-empty":
		return func(p string, info rootfs.Info) (bool, bool) {
			if info.Mode.IsRegular() {
				return info.Size == 0, false
			}
			list, err := f.stage.ReadDir(f.path(p))
			return info.IsDir() && err == nil && len(list) == 0, false
		}, nil
	case "-prune":
		return func(string, rootfs.Info) (bool, bool) { return true, true }, nil
	case "-false":
		return func(string, rootfs.Info) (bool, bool) { return false, false }, nil
	case "-depth":
		f.depth = true
		return yes, nil
	case "-true", "-xdev", "-mount", "-L", "-P", "-H":
		return yes, nil
	}
	return nil, fmt.Errorf("unknown expression %s", name)
}

func (f *finder) print(end string) test {
	return func(p string, _ rootfs.Info) (bool, bool) {
		f.printf("%s%s", p, end)
		return true, false
	}
}

func (f *finder) valued(name, value string) (test, error) {
	var err error
	switch name {
	case "-maxdepth":
		f.maxDepth, err = strconv.Atoi(value)
		return yes, err
	case "-mindepth":
		f.minDepth, err = strconv.Atoi(value)
		return yes, err
	case "-type":
		types := map[string]fs.FileMode{"f": 0, "d": fs.ModeDir, "l": fs.ModeSymlink, "p": fs.ModeNamedPipe, "s": fs.ModeSocket}
		want, ok := types[value]
		if !ok {
			return nil, fmt.Errorf("unknown type %q", value)
		}
		return func(_ string, info rootfs.Info) (bool, bool) { return info.Mode.Type() == want, false }, nil
	}
	re, err := compileRegex(globRegex(value), true, name == "-iname")
	if err != nil {
		return nil, err
	}
	whole := name == "-path" || name == "-wholename"
	return func(p string, _ rootfs.Info) (bool, bool) {
		if !whole {
			p = path.Base(p)
		}
		return re.MatchString(p), false
	}, nil
}

// globRegex is a pattern of find, in which * and ? match slashes, too.
func globRegex(glob string) string {
	var b strings.Builder
	b.WriteString("^")
	for i := 0; i < len(glob); i++ {
		switch ch := glob[i]; ch {
		case '*':
			b.WriteString("(.|\n)*")
		case '?':
			b.WriteString("(.|\n)")
		case '[':
			if end := strings.IndexByte(glob[i+1:], ']'); end > 0 {
				b.WriteString(strings.Replace(glob[i:i+end+2], "[!", "[^", 1))
				i += end + 1
				continue
			}
			b.WriteString(`\[`)
		case '\\':
			if i++; i < len(glob) {
				b.WriteString(`\` + string(glob[i]))
			}
		default:
			if strings.IndexByte(".+(){}|^$", ch) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(ch)
		}
	}
	return b.String() + "$"
}

// exec reads a command up to ; or +. With +, it runs once for each path, too:
// only how often cannot be told.
func (f *finder) exec(args []string) (test, []string, error) {
	end := slices.IndexFunc(args, func(a string) bool { return a == ";" || a == "+" })
	if end < 1 {
		return nil, nil, errors.New("-exec has no command, or no ; at its end")
	}
	f.acts = true
	cmd := args[:end]
	return func(p string, _ rootfs.Info) (bool, bool) {
		call := make([]string, len(cmd))
		for i, a := range cmd {
			call[i] = strings.ReplaceAll(a, "{}", p)
		}
		status := f.nested(call, nil)
		if args[end] == "+" && status != 0 {
			f.status = 1
		}
		return status == 0, f.fatal != nil
	}, args[end+1:], nil
}
