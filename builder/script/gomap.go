package script

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// pathFlags are those of the go command whose value is a path that it reads.
var pathFlags = strings.Fields("modfile overlay pgo C coverprofile cpuprofile memprofile blockprofile mutexprofile trace outputdir pkgdir")

// goArgs are the arguments of a call of the go command with their paths mapped.
type goArgs struct {
	// Args for the host.
	Args []string
	// Dirs are directories of the stage that have to be on the host.
	Dirs []string
}

// mapper maps absolute paths of the stage to the host's.
type mapper func(p string) (string, error)

// mapGoArgs maps the paths in the arguments of the go command, which runs in dir
// of the stage: the values of flags that are paths, and packages and files that
// are named by an absolute path, or by one that leads out of dir. Others are
// relative to where it runs, on the host as in the stage.
func mapGoArgs(args []string, dir string, host mapper) (goArgs, error) {
	out := goArgs{Dirs: []string{dir}}
	if len(args) == 0 {
		return out, nil
	}
	out.Args = append(out.Args, args[0])
	cwd, value := dir, ""
	for i := 1; i < len(args); i++ {
		arg := args[i]
		name, text, given := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		isPath := strings.HasPrefix(arg, "-") && len(arg) > 1 && (slices.Contains(pathFlags, name) || name == "o" && goOutput(args[0]))
		switch {
		case !isPath && strings.HasPrefix(arg, "-"):
			out.Args = append(out.Args, arg)
			if !given && takesValue(name) && i+1 < len(args) {
				i++
				out.Args = append(out.Args, args[i])
			}
			continue
		case !isPath:
			mapped, err := out.operand(arg, cwd, host)
			if err != nil {
				return out, err
			}
			out.Args = append(out.Args, mapped)
			continue
		case given:
			value = text
		case i+1 < len(args):
			i++
			value = args[i]
		default:
			out.Args = append(out.Args, arg)
			continue
		}
		mapped, err := mapFlag(name, value, cwd, host)
		if err != nil {
			return out, err
		}
		if name == "C" { // what follows is relative to it
			cwd = path.Clean(abs(cwd, value))
			out.Dirs = append(out.Dirs, cwd)
		}
		out.Args = append(out.Args, "-"+name+"="+mapped)
	}
	return out, nil
}

// mapFlag maps the value of a flag, which may be a word that is no path.
func mapFlag(name, value, cwd string, host mapper) (string, error) {
	if value == "" || name == "pgo" && (value == "auto" || value == "off") {
		return value, nil
	}
	if name == "o" && value == "/dev/null" {
		return value, nil
	}
	mapped, err := host(path.Clean(abs(cwd, value)))
	if strings.HasSuffix(value, "/") && err == nil {
		mapped += "/" // a directory to write into
	}
	return mapped, err
}

// goOutput tells whether -o of a command of the go command is a path.
func goOutput(verb string) bool {
	return slices.Contains([]string{"build", "test", "mod", "get", "install", "vet", "run"}, verb)
}

// goValues are the other flags of the go command that have a value, which is no
// package though it may look like one.
var goValues = strings.Fields(`asmflags buildmode compiler covermode coverpkg exec f gccgoflags gcflags installsuffix ldflags mod p run skip tags toolexec
	vettool bench benchtime count cpu parallel timeout shuffle list fuzz fuzztime buildvcs go require replace droprequire exclude dropexclude retract reuse`)

func takesValue(name string) bool { return slices.Contains(goValues, name) }

// operand maps a package or a file.
func (g *goArgs) operand(arg, cwd string, host mapper) (string, error) {
	outside := arg == ".." || strings.HasPrefix(arg, "../")
	if !path.IsAbs(arg) && !outside {
		return arg, nil
	}
	p, rest := arg, ""
	if i := strings.Index(arg, "/..."); i >= 0 {
		p, rest = arg[:i], arg[i:]
	}
	p = path.Clean(abs(cwd, path.Clean(p+"/")))
	dir := p
	if strings.HasSuffix(p, ".go") {
		dir = path.Dir(p)
	}
	g.Dirs = append(g.Dirs, dir)
	mapped, err := host(p)
	return mapped + rest, err
}

// ownVariables are those of the stage that the host decides.
var ownVariables = strings.Fields(`PATH HOME PWD OLDPWD SHLVL TMPDIR HOSTNAME USER LOGNAME SHELL TERM _ GOROOT GOTOOLCHAIN GOENV GOTMPDIR
	GOLANG_VERSION GIT_CONFIG_GLOBAL GIT_CONFIG_SYSTEM GIT_DIR GIT_WORK_TREE LD_PRELOAD LD_LIBRARY_PATH DYLD_INSERT_LIBRARIES SSL_CERT_FILE SSL_CERT_DIR`)

// buildPrefixes are the beginnings of variables that compiling looks at.
var buildPrefixes = []string{"GO", "CGO_", "GIT_AUTHOR_", "GIT_COMMITTER_", "HTTP_", "HTTPS_", "NO_", "http_", "https_", "no_", "ALL_PROXY", "all_proxy", "SOURCE_DATE_EPOCH"}

// mapGoEnv maps the variables of a call of the go command. Those that are of no
// use to it are left out, unless it runs code of the project. caches are
// directories that the host has its own of.
func mapGoEnv(vars map[string]string, all bool, cwd string, caches []string, host mapper) ([]string, error) {
	env := map[string]string{}
	for name, value := range vars {
		if slices.Contains(ownVariables, name) || strings.HasPrefix(name, "GIT_CONFIG") || !all && slices.Contains(goPrograms, name) || !all && !slices.ContainsFunc(buildPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		var err error
		switch name {
		case "GOPATH":
			value, err = mapList(value, cwd, host)
		case "GOBIN", "GOCACHE", "GOMODCACHE", "GOWORK":
			if slices.Contains(caches, path.Clean(value)) && name != "GOBIN" {
				continue
			}
			if path.IsAbs(value) {
				value, err = host(path.Clean(value))
			}
		case "GOFLAGS":
			value, err = mapGoFlags(value, cwd, host)
		}
		if err != nil {
			return nil, err
		}
		env[name] = value
	}
	if env["GOPATH"] == "" {
		home := vars["HOME"]
		mapped, err := host(path.Join("/", home, "go"))
		if err != nil {
			return nil, err
		}
		env["GOPATH"] = mapped
	}
	return sortedEnv(env), nil
}

func sortedEnv(vars map[string]string) []string {
	var env []string
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

func mapList(value, cwd string, host mapper) (string, error) {
	var all []string
	for p := range strings.SplitSeq(value, ":") {
		if p == "" {
			continue
		}
		mapped, err := host(path.Clean(abs(cwd, p)))
		if err != nil {
			return "", err
		}
		all = append(all, mapped)
	}
	return strings.Join(all, string(filepath.ListSeparator)), nil
}

func mapGoFlags(value, cwd string, host mapper) (string, error) {
	flags := strings.Fields(value)
	for i, f := range flags {
		name, text, ok := strings.Cut(strings.TrimLeft(f, "-"), "=")
		if !ok || !slices.Contains(pathFlags, name) {
			continue
		}
		mapped, err := mapFlag(name, text, cwd, host)
		if err != nil {
			return "", err
		}
		flags[i] = "-" + name + "=" + mapped
	}
	return strings.Join(flags, " "), nil
}
