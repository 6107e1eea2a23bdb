package golang

import (
	"context"
	_ "embed" // for trim.sh
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/process"
	"github.com/stagectl/stagectl/builder/script"
)

// trim is a shell script.
//
//go:embed trim.sh
var trim string

// oldest is the first release whose go command knows -toolexec.
const oldest = "1.5"

// Stage says for what a program is run.
type Stage struct {
	// Release of Go that the stage's image has, as "1.6.4"; empty where it has
	// none, and the host's own is run.
	Release string
	// Toolchain is the value of GOTOOLCHAIN in the stage.
	Toolchain string
	// Platform of the stage, which is what its go command compiles for.
	Platform v1.Platform
	// Compiler says that the image has one for C.
	Compiler bool
	// Temp is a directory of the host for files that are no part of the stage.
	Temp string
	// Builds, unless nil, has what `go build` made when all was the same.
	Builds Builds
	// Checkout is a directory for as long as which there is something to remember.
	Checkout string
	// Reused is called where the go command did not have to run.
	Reused func()
}

// Builds remembers builds. *compile.Compiler is one.
type Builds interface {
	Around(ctx context.Context, call *compile.Call, run func(context.Context) error) (reused bool, err error)
}

// Run runs go, git or make for a stage. It is a script.Host's Command.
func (h *Host) Run(ctx context.Context, s Stage, c script.Call) error {
	env, err := h.environ(ctx, c, s)
	if err != nil {
		return err
	}
	if c.Name != "go" {
		env, _ = withoutCgo(s, c, env) // of git, it says nothing
		return start(ctx, c, c.Name, c.Args, env)
	}
	release, err := h.releaseOf(ctx, s)
	if err != nil {
		return err
	}
	if env, err = h.goEnv(ctx, c, env, release); err != nil {
		return err
	}
	program, env, err := h.goOf(ctx, s, env)
	if err != nil {
		return err
	}
	env, cgo := withoutCgo(s, c, env)
	check := func(ctx context.Context) error {
		if !cgo {
			return nil
		}
		return h.checkCgo(ctx, c, program, env, release)
	}
	run := func(ctx context.Context) error {
		args, err := h.goArgs(ctx, s, c, env, release)
		if err != nil {
			return err
		}
		if compiles(c) && !atLeast(release, cached) {
			with, gone, unlock := h.withStandard(ctx, c, program, args, env)
			defer unlock()
			if err := start(ctx, c, program, with, env); err == nil || !gone() {
				return err
			}
		}
		return start(ctx, c, program, args, env)
	}
	build := buildOf(c, env, release)
	if s.Builds == nil || build == nil {
		if err := check(ctx); err != nil {
			return err
		}
		return run(ctx)
	}
	if cgo {
		build.Check = check
	}
	build.Root, build.Go, build.Env, build.Checkout = c.Root, program, env, s.Checkout
	build.Downloading = func(line string) { _, _ = io.WriteString(c.Stderr, line+"\n") }
	reused, err := s.Builds.Around(ctx, build, run)
	if reused && s.Reused != nil {
		s.Reused()
	}
	return err
}

func start(ctx context.Context, c script.Call, program string, args, env []string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Dir, env, c.Stdin, c.Stdout, c.Stderr
	cmd.WaitDelay = 5 * time.Second
	defer process.KillTree(cmd)()
	return cmd.Run()
}

// releaseOf is the release of Go in a stage.
func (h *Host) releaseOf(ctx context.Context, s Stage) (string, error) {
	if s.Release != "" {
		return s.Release, nil
	}
	return h.local(ctx)
}

// compiling are the commands of the go command that compile.
var compiling = []string{"build", "install", "run", "test"}

func compiles(c script.Call) bool {
	return c.Name == "go" && len(c.Args) > 0 && slices.Contains(compiling, c.Args[0])
}

// passed are variables of the host that programs need to find their way there.
var passed = strings.Fields(`PATH HOME USER LOGNAME USERPROFILE APPDATA LOCALAPPDATA SYSTEMROOT WINDIR COMSPEC PATHEXT TMPDIR TMP TEMP
	SSL_CERT_FILE SSL_CERT_DIR NETRC XDG_CONFIG_HOME XDG_CACHE_HOME
	HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy`)

// environ is the environment of a program: what it needs of the host's, the
// settings of the host's user, what the stage says and, last, what decides.
func (h *Host) environ(ctx context.Context, c script.Call, s Stage) ([]string, error) {
	var env []string
	for _, kv := range h.Env {
		name, _, _ := strings.Cut(kv, "=")
		if slices.ContainsFunc(passed, func(p string) bool {
			return p == name || runtime.GOOS == "windows" && strings.EqualFold(p, name)
		}) {
			env = append(env, kv)
		}
	}
	if c.Name == "git" {
		return append(env, c.Env...), nil
	}
	for _, name := range settingNames {
		value, err := h.setting(ctx, name)
		if err != nil {
			return nil, err
		}
		if name != "GOVERSION" && name != "GOROOT" && name != "GOFLAGS" {
			env = append(env, name+"="+value)
		}
	}
	env = append(env, platformEnv(s.Platform)...)
	env = append(env, c.Env...)
	if h.Offline {
		env = append(env, "GOPROXY=off", "GONOPROXY=none")
	}
	toolchain, err := h.choose(ctx, s)
	return append(env, "GOTOOLCHAIN="+toolchain), err
}

// goOf returns the go command of a stage. It is run as the host's one runs another
// release, which that does not do outside of modules (cmd/go/internal/toolchain).
func (h *Host) goOf(ctx context.Context, s Stage, env []string) (string, []string, error) {
	toolchain, err := h.choose(ctx, s)
	if err != nil || toolchain != "go"+s.Release {
		return h.program(), env, err
	}
	root, err := h.root(ctx, s.Release)
	if err != nil {
		return "", nil, err
	}
	bin := filepath.Join(root, "bin")
	env = append(env, "GOROOT="+root, "PATH="+bin+string(filepath.ListSeparator)+lookup(env, "PATH"))
	return filepath.Join(bin, "go"), env, nil
}

// choose returns the GOTOOLCHAIN that makes of the host's go command the image's,
// and has a Dockerfile's own GOTOOLCHAIN mean what it means there.
func (h *Host) choose(ctx context.Context, s Stage) (string, error) {
	switch {
	case s.Release == "":
		return "local", nil
	case !atLeast(s.Release, oldest):
		return "", fmt.Errorf("the image has Go %s: the oldest release that can be run is %s", s.Release, oldest)
	}
	own, err := h.toolchain(ctx, s.Release)
	name, rest, _ := strings.Cut(s.Toolchain, "+")
	switch {
	case name == "auto" || rest == "auto" && name == "local":
		return own + "+auto", err
	case strings.HasPrefix(name, "go"):
		return s.Toolchain, err
	}
	return own, err
}

// platformEnv has a stage's go command compile for the stage, whatever the host is.
func platformEnv(p v1.Platform) []string {
	env := []string{"GOOS=" + p.OS, "GOARCH=" + p.Architecture}
	v := strings.TrimPrefix(p.Variant, "v")
	switch {
	case p.Architecture == "arm" && v != "":
		env = append(env, "GOARM="+v)
	case p.Architecture == "amd64" && v != "":
		env = append(env, "GOAMD64=v"+v)
	case p.Architecture == "arm64" && v != "":
		env = append(env, "GOARM64=v"+v)
	}
	return env
}

// goEnv adds the host's own flags, and says where there is no module.
func (h *Host) goEnv(ctx context.Context, c script.Call, env []string, release string) ([]string, error) {
	flags, err := h.setting(ctx, "GOFLAGS")
	if err != nil {
		return nil, err
	}
	if own := lookup(env, "GOFLAGS"); atLeast(release, "1.18") && flags != "" { // older ones do not know all flags
		env = append(env, "GOFLAGS="+strings.TrimSpace(flags+" "+own))
	}
	if outside(c, env) && atLeast(release, "1.11") {
		env = append(env, "GO111MODULE=off")
	}
	return sharedModules(c, env, release), nil
}

// sharedModules has releases that know no GOMODCACHE use the host's all the same,
// where it is in the first directory of a GOPATH. Those before 1.13 would put its
// name into programs. Others of the commands write to GOPATH, or look there.
func sharedModules(c script.Call, env []string, release string) []string {
	first, ok := strings.CutSuffix(lookup(env, "GOMODCACHE"), filepath.FromSlash("/pkg/mod"))
	switch {
	case !ok, !atLeast(release, "1.13"), atLeast(release, "1.15"), outside(c, env), len(c.Args) == 0:
	case slices.Contains([]string{"build", "mod", "list", "vet"}, c.Args[0]):
		return append(env, "GOPATH="+first+string(filepath.ListSeparator)+lookup(env, "GOPATH"))
	}
	return env
}

// outside tells whether what is built is in no module.
func outside(c script.Call, env []string) bool {
	mode := lookup(env, "GO111MODULE")
	return mode == "off" || mode == "" && moduleOf(c) == "" && !remote(c.Args)
}

// goArgs adds what keeps the host out of binaries.
func (h *Host) goArgs(ctx context.Context, s Stage, c script.Call, env []string, release string) (_ []string, err error) {
	args := slices.Clone(c.Args)
	if !compiles(c) {
		return args, nil
	}
	at := 1 // -C comes first
	if len(args) > 1 && (strings.HasPrefix(args[1], "-C=") || strings.HasPrefix(args[1], "--C=")) {
		at = 2
	}
	if args[0] == "build" && ofFiles(args) && atLeast(release, "1.13") {
		args = withoutBuildID(args)
	} else if args[0] == "build" && outside(c, env) {
		if args, err = h.byFiles(ctx, s, c.Dir, args, env, atLeast(release, "1.13")); err != nil {
			return nil, err
		}
	}
	if atLeast(release, "1.10") { // the build cache knows what has changed
		args = slices.DeleteFunc(args, func(a string) bool { return a == "-a" || a == "--a" })
	}
	switch {
	case !atLeast(release, "1.13"):
		var toolexec string
		if toolexec, err = h.toolexec(ctx, release, s.Temp, c.Root); err != nil {
			return nil, err
		}
		args = slices.Insert(args, at, "-toolexec="+toolexec)
	default:
		args = slices.Insert(args, at, "-trimpath")
	}
	if atLeast(release, "1.18") && !slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "-buildvcs") }) {
		// As in an image without git, and so that the same files make the same program.
		args = slices.Insert(args, at, "-buildvcs=false")
	}
	return args, nil
}

// toolexec writes trim.sh, and returns what runs it.
func (h *Host) toolexec(ctx context.Context, release, temp, dir string) (string, error) {
	if runtime.GOOS == "windows" {
		return "", fmt.Errorf("the image has Go %s, which on Windows would put names of directories into programs: 1.13 is the oldest release there", release)
	}
	root, err := h.root(ctx, release)
	if err != nil {
		return "", err
	}
	name := filepath.Join(temp, "trim.sh")
	if err := os.WriteFile(name, []byte(trim), 0o600); err != nil {
		return "", err
	}
	for _, p := range []string{name, dir, root} {
		if strings.ContainsAny(p, " '\"\t\n") {
			return "", fmt.Errorf("compiling with Go %s, which cannot be told of a directory with blanks or quotes: %s", release, p)
		}
	}
	return strings.Join([]string{"sh", name, dir, root}, " "), nil
}

// byFiles names the files of the package that is built where it runs, and is in
// no module. Without that, the directory on the host would be its import path,
// which the program tells, and a part of its build ID.
func (h *Host) byFiles(ctx context.Context, s Stage, dir string, args, env []string, modern bool) ([]string, error) {
	flags, operands := splitArgs(args[1:])
	for _, f := range flags {
		if strings.HasPrefix(f, "-C") || strings.HasPrefix(f, "--C") {
			return args, nil
		}
	}
	if len(operands) > 1 || len(operands) == 1 && operands[0] != "." {
		return args, nil
	}
	var tags []string
	for i, f := range flags {
		if name := strings.TrimLeft(f, "-"); name == "tags" && i+1 < len(flags) {
			tags = append(tags, f, flags[i+1])
		} else if strings.HasPrefix(name, "tags=") {
			tags = append(tags, f)
		}
	}
	program, env, err := h.goOf(ctx, s, env)
	if err != nil {
		return nil, err
	}
	list := exec.CommandContext(ctx, program, append(append([]string{"list"}, tags...),
		"-f", `{{.ImportPath}}{{range .GoFiles}}{{"\n"}}{{.}}{{end}}`, ".")...)
	list.Dir, list.Env = dir, env
	out, _ := list.Output() // go build says what is wrong
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if !strings.HasPrefix(lines[0], "_") || len(lines) == 1 {
		return args, nil // it is in GOPATH
	}
	if !hasFlag(flags, "o") {
		flags = append(flags, "-o", filepath.Base(dir))
	}
	if modern { // what is done for the others by trim.sh
		flags = addLdflag(flags, "-buildid=")
	}
	return slices.Concat(args[:1], flags, lines[1:]), nil
}

// remote tells whether a package is named with its version, as no directory is.
func remote(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "@") && !strings.HasPrefix(a, "-") })
}

// moduleOf is the directory of the go.mod or go.work that the go command finds in
// the stage, or empty.
func moduleOf(c script.Call) string {
	dir := c.Dir
	for _, a := range c.Args {
		if value, ok := strings.CutPrefix(strings.TrimLeft(a, "-"), "C="); ok && strings.HasPrefix(a, "-") {
			dir = value
		}
	}
	root := filepath.Clean(c.Root)
	for {
		for _, name := range []string{"go.mod", "go.work"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
				return dir
			}
		}
		parent := filepath.Dir(dir)
		if dir == root || parent == dir {
			return ""
		}
		dir = parent
	}
}

// lookup returns the last value of a variable.
func lookup(env []string, name string) string {
	for _, kv := range slices.Backward(env) {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// Dirs are the caches of the host's go command, in the place of those that an
// image has.
func (h *Host) Dirs(ctx context.Context) ([]script.Dir, error) {
	var dirs []script.Dir
	for _, d := range []struct{ stage, setting string }{{"/go/pkg/mod", "GOMODCACHE"}, {"/root/.cache/go-build", "GOCACHE"}} {
		host, err := h.setting(ctx, d.setting)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, script.Dir{Stage: d.stage, Host: host})
	}
	return dirs, nil
}

// Key sums up what of the host decides what its go command makes in a stage.
func (h *Host) Key(ctx context.Context, release string) (string, error) {
	var parts []string
	for _, name := range []string{"GOVERSION", "GOFLAGS"} {
		v, err := h.setting(ctx, name)
		if err != nil {
			return "", err
		}
		parts = append(parts, strconv.Quote(v))
	}
	return strings.Join(append(parts, release), " "), nil
}
