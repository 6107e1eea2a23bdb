package compile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/stagectl/stagectl/builder/plan"
)

// unknown is the reason why what was made of some packages cannot be told from
// their files, so that the go command has to be asked each time.
type unknown struct{ why string }

func (u unknown) Error() string { return u.why }

// toolchain identifies the go command and its standard library, as the go
// command itself does in its build cache: a release by its VERSION file. The
// sizes and times of the programs are there for those who replace them.
// Which other release a go.mod switches to follows from that, the go.mod and
// GOTOOLCHAIN (https://go.dev/doc/toolchain).
func (c *Compiler) toolchain(env environ) ([]input, error) {
	name, err := exec.LookPath(or(c.Go, "go"))
	if err == nil {
		name, err = filepath.EvalSymlinks(name)
	}
	if err != nil {
		return nil, err
	}
	root := or(env.setting("GOROOT"), filepath.Dir(filepath.Dir(name)))
	version, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		return nil, unknown{"the go command is not in a GOROOT: " + name}
	}
	if !strings.HasPrefix(string(version), "go1") {
		return nil, unknown{"the go command is no release"}
	}
	ids := []input{{"toolchain", string(version)}}
	tools := filepath.Join(root, "pkg", "tool", runtime.GOOS+"_"+runtime.GOARCH)
	for _, file := range []string{name, filepath.Join(tools, "compile"), filepath.Join(tools, "link")} {
		// Not every distribution has the tools there.
		info, err := os.Stat(file)
		if err == nil {
			ids = append(ids, input{"toolchain's " + filepath.Base(file), fmt.Sprint(info.Size(), info.ModTime().UnixNano())})
		}
	}
	return append(ids, input{"go.env of the toolchain", sumOrAbsent(filepath.Join(root, "go.env"))}), nil
}

// harmless are flags that neither name a file that is an input nor change which
// packages are. All others in GOFLAGS make a build unknown.
var harmless = []string{
	"a", "asmflags", "buildmode", "buildvcs", "gcflags", "installsuffix", "ldflags", "mod", "modcacherw",
	"p", "tags", "trimpath", "v", "x",
}

// knowable tells why the go command has inputs that are not looked at.
func knowable(env environ, s plan.GoSettings) error {
	if env.setting("CGO_ENABLED") == "1" {
		return unknown{"cgo is on, and the C compiler and its libraries are no Go files"}
	}
	if strings.Contains(env.setting("GOTOOLCHAIN"), "path") {
		return unknown{"GOTOOLCHAIN has go commands on PATH looked for"}
	}
	goflags := env.setting("GOFLAGS")
	for _, word := range splitQuoted(goflags) {
		flag, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if !slices.Contains(harmless, flag) {
			return unknown{"GOFLAGS has -" + flag}
		}
	}
	for _, flags := range append(flagValues(goflags, "ldflags"), s.LDFlags) {
		if strings.Contains(flags, "linkmode") || strings.Contains(flags, "extld") {
			return unknown{"-ldflags has the C compiler link"}
		}
	}
	return nil
}

// settings are the variables that the go command reads, and the file that `go
// env -w` writes. Only sums of them are kept, as some hold credentials.
func (e environ) settings(root place) []input {
	values := map[string]string{}
	for _, kv := range e {
		key, value, _ := strings.Cut(kv, "=")
		if isSetting(key) {
			values[key] = value
		}
	}
	// The work directory is another one each time, and where the cache is says
	// nothing of what comes out.
	delete(values, "GOTMPDIR")
	delete(values, "GOCACHE")
	ids := []input{{"file of `go env -w`", sumOrAbsent(e.file())}}
	for key, value := range values {
		ids = append(ids, input{key, digestOf(root.hide(value))})
	}
	return ids
}

// isSetting tells the names of the go command's variables: GO and letters, with
// one exception, so that those of the CI called GoCD, GO_PIPELINE_COUNTER for
// one, and GOOGLE_… are none (cmd/go/internal/cfg.KnownEnv). HOME is where GOPATH
// is by default.
func isSetting(key string) bool {
	return strings.HasPrefix(key, "GO") && !strings.Contains(key, "_") || key == "GO_EXTLINK_ENABLED" ||
		strings.HasPrefix(key, "CGO_") || key == "HOME"
}
