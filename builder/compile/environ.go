package compile

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// environ is an environment as KEY=VALUE, where the last value counts.
type environ []string

func (e environ) get(key string) string {
	for _, kv := range slices.Backward(e) {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			return v
		}
	}
	return ""
}

func (e environ) with(key, value string) environ {
	return append(e[:len(e):len(e)], key+"="+value)
}

// setting is what the go command takes for key: the variable or, where that is
// empty, what `go env -w` wrote to the user's file
// (https://pkg.go.dev/cmd/go#hdr-Environment_variables).
func (e environ) setting(key string) string {
	if v := e.get(key); v != "" {
		return v
	}
	raw, err := os.ReadFile(e.file())
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), key+"="); ok {
			return v
		}
	}
	return ""
}

// file is the one that `go env -w` writes, or empty
// (cmd/go/internal/cfg.EnvFile, os.UserConfigDir).
func (e environ) file() string {
	if name := e.get("GOENV"); name == "off" {
		return ""
	} else if name != "" {
		return name
	}
	var dir string
	switch runtime.GOOS {
	case "windows":
		dir = e.get("AppData")
	case "darwin", "ios":
		if dir = e.get("HOME"); dir != "" {
			dir = filepath.Join(dir, "Library", "Application Support")
		}
	default:
		if dir = e.get("XDG_CONFIG_HOME"); dir == "" && e.get("HOME") != "" {
			dir = filepath.Join(e.get("HOME"), ".config")
		}
	}
	if !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Join(dir, "go", "env")
}

func (c *Compiler) environment() environ {
	if c.Env == nil {
		return os.Environ()
	}
	return c.Env
}

// environ is the environment of the go command in dir for a platform. The
// variables that choose among an architecture's variants are set even where
// the platform has none, since the user's own would make a binary that does
// not run on every machine of the platform.
func (c *Compiler) environ(p v1.Platform, dir string) environ {
	env := c.environment().
		with("PWD", dir). // by the name it was given, which may lead through links
		with("GOOS", p.OS).
		with("GOARCH", p.Architecture)
	if key, value := variant(p); key != "" {
		env = env.with(key, value)
	}
	if env.setting("CGO_ENABLED") == "" {
		env = env.with("CGO_ENABLED", "0")
	}
	if env.setting("GO111MODULE") == "" && !inModule(env, dir) {
		env = env.with("GO111MODULE", "off")
	}
	if c.Offline {
		// Not even for the modules that GOPRIVATE says to fetch directly.
		env = env.with("GOPROXY", "off").with("GONOPROXY", "none")
	}
	return env
}

// variant is the variable with which the go command chooses among the variants
// of an architecture, and what it means where the platform names none.
func variant(p v1.Platform) (key, value string) {
	v := strings.TrimPrefix(p.Variant, "v")
	switch p.Architecture {
	case "386":
		return "GO386", "sse2"
	case "amd64":
		return "GOAMD64", "v" + or(v, "1")
	case "arm":
		return "GOARM", or(v, "7")
	case "arm64":
		return "GOARM64", "v" + or(v, "8.0")
	case "mips64", "mips64le":
		return "GOMIPS64", "hardfloat"
	case "ppc64", "ppc64le":
		return "GOPPC64", "power8"
	case "riscv64":
		return "GORISCV64", "rva20u64"
	}
	return "", ""
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// inModule tells whether the go command will find a go.mod or go.work for dir.
func inModule(env environ, dir string) bool {
	return findUp(dir, "go.mod") != "" || inWorkspace(env, dir)
}

func inWorkspace(env environ, dir string) bool {
	switch env.setting("GOWORK") {
	case "off":
		return false
	case "", "auto":
		return findUp(dir, "go.work") != ""
	}
	return true
}

// findUp returns the nearest directory at or above dir that has the file.
func findUp(dir, file string) string {
	for {
		if findIn(dir, file) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func findIn(dir, file string) bool {
	info, err := os.Stat(filepath.Join(dir, file))
	return err == nil && info.Mode().IsRegular()
}
