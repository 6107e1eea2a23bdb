package golang

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/stagectl/stagectl/builder/script"
)

// Releases before 1.10 have no build cache, and -a has them compile the standard
// library each time, to the same archives. These are kept, one directory for all
// that decides what they are.

// cached is the first release that has a build cache.
const cached = "1.10"

// standard is a directory with archives of the standard library.
type standard struct {
	dir    string
	unlock func()
	about  standardAbout
}

// standardAbout is what is noted of the archives when they are all there.
type standardAbout struct {
	// Fetched is when the release was put on this machine. The go command takes
	// what is older for stale.
	Fetched string `json:"fetched"`
	// Sums of the files, by their paths in the directory.
	Sums map[string]string `json:"sums"`
}

// standardFlags are the flags of go build that say nothing of the standard library.
var standardFlags = []string{"a", "o", "v", "p", "ldflags", "toolexec", "pkgdir"}

// withStandard has a go build take the standard library out of what is kept, where
// that can be, and what is missing of it be compiled before. Without, args stay
// as they are. What is kept may be deleted at any time, and be gone.
func (h *Host) withStandard(ctx context.Context, c script.Call, program string, args, env []string) (with []string, gone func() bool, unlock func()) {
	none, never := func() {}, func() bool { return false }
	flags, packages := splitArgs(args[1:])
	if h.Packages == "" || args[0] != "build" || hasFlag(flags, "pkgdir") || hasFlag(flags, "i") || hasFlag(flags, "n") {
		return args, never, none
	}
	root := lookup(env, "GOROOT")
	std, err := h.openStandard(root, standardKey(flags, env))
	if err != nil {
		return args, never, none
	}
	if err := std.complete(ctx, c, program, root, flags, packages, env); err != nil {
		std.unlock()
		return args, never, none
	}
	flags = slices.DeleteFunc(flags, func(f string) bool { return f == "-a" || f == "--a" })
	gone = func() bool { return !isDir(std.dir) }
	return slices.Concat(args[:1], []string{"-pkgdir=" + std.dir}, flags, packages), gone, std.unlock
}

// standardKey is what decides about the standard library, but for the release.
func standardKey(flags, env []string) []string {
	var key []string
	for _, f := range divideFlags(flags) {
		if !slices.Contains(standardFlags, f.name) {
			key = append(key, f.words...)
		}
	}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if slices.Contains([]string{"GOOS", "GOARCH", "GOARM", "GO386", "CGO_ENABLED", "GOEXPERIMENT"}, name) {
			key = append(key, name+"="+lookup(env, name))
		}
	}
	return key
}

// openStandard locks the archives, alone among all processes. What is damaged, or
// not known to be whole, goes.
func (h *Host) openStandard(root string, key []string) (*standard, error) {
	info, err := os.Stat(filepath.Join(root, "VERSION"))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", append([]string{root, trim}, key...)))
	s := &standard{dir: filepath.Join(h.Packages, "std-"+hex.EncodeToString(sum[:12]))}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	if s.unlock, err = lockedfile.MutexAt(s.dir + ".lock").Lock(); err != nil {
		return nil, err
	}
	fetched := info.ModTime().String()
	raw, err := os.ReadFile(s.dir + ".json")
	if err == nil {
		err = json.Unmarshal(raw, &s.about)
	}
	sums, sumErr := sumsIn(s.dir)
	if err != nil || sumErr != nil || s.about.Fetched != fetched || !equalSums(s.about.Sums, sums) {
		s.about = standardAbout{Fetched: fetched}
		if err := errors.Join(os.RemoveAll(s.dir), os.MkdirAll(s.dir, 0o700)); err != nil {
			s.unlock()
			return nil, err
		}
	}
	return s, nil
}

func equalSums(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, sum := range a {
		if b[name] != sum {
			return false
		}
	}
	return true
}

// sumsIn are the sums of all files in a directory.
func sumsIn(dir string) (map[string]string, error) {
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		rel, relErr := filepath.Rel(dir, name)
		sums[filepath.ToSlash(rel)] = hex.EncodeToString(h.Sum(nil))
		return errors.Join(err, f.Close(), relErr)
	})
	return sums, err
}

// complete compiles what packages need of the standard library and is not there.
func (s *standard) complete(ctx context.Context, c script.Call, program, root string, flags, packages, env []string) error {
	deps, err := dependencies(ctx, c, program, flags, packages, env)
	if err != nil {
		return err
	}
	var missing []string
	for _, dep := range deps {
		_, known := s.about.Sums[dep+".a"]
		if !known && dep != "unsafe" && dep != "C" && isDir(filepath.Join(root, "src", filepath.FromSlash(dep))) {
			missing = append(missing, dep)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var install []string
	for _, f := range divideFlags(flags) {
		if f.name == "toolexec" || !slices.Contains(standardFlags, f.name) {
			install = append(install, f.words...)
		}
	}
	install = slices.Concat([]string{"install", "-pkgdir=" + s.dir}, install, missing)
	if err := os.Remove(s.dir + ".json"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	quiet := c
	quiet.Stdout, quiet.Stderr = io.Discard, io.Discard
	if err := start(ctx, quiet, program, install, env); err != nil {
		return err
	}
	if s.about.Sums, err = sumsIn(s.dir); err != nil {
		return err
	}
	raw, err := json.Marshal(s.about)
	if err != nil {
		return err
	}
	return os.WriteFile(s.dir+".json", raw, 0o600)
}

// dependencies are the import paths of all that packages are made of.
func dependencies(ctx context.Context, c script.Call, program string, flags, packages, env []string) ([]string, error) {
	args := []string{"list", "-f", `{{join .Deps "\n"}}`}
	for _, f := range divideFlags(flags) {
		if f.name == "tags" {
			args = append(args, f.words...)
		}
	}
	cmd := exec.CommandContext(ctx, program, append(args, packages...)...)
	cmd.Dir, cmd.Env = c.Dir, env
	out, err := cmd.Output()
	return strings.Fields(string(out)), err
}
