package imagetest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stagectl/stagectl/builder/image"
)

// File is what a file should be like. Fields that are left zero are not checked.
type File struct {
	// Mode is all of the file's mode: 0o755 is a regular file,
	// fs.ModeDir|0o755 a directory, fs.ModeSetuid|0o755 runs as its owner.
	Mode fs.FileMode
	// Owner is user and group in numbers: "65532:65532".
	Owner string
	// Content of the whole file.
	Content string
	// Link is the target of a symbolic link. If it is set, the link itself is
	// checked, otherwise what it leads to.
	Link string
}

// WantFile checks that the image has a file or a directory, and how it is.
func (i *Image) WantFile(name string, want File) {
	i.t.Helper()
	fsys, inside := i.FS(), inImage(name)
	stat := fsys.Stat
	if want.Link != "" {
		stat = fsys.Lstat
	}
	info, err := stat(inside)
	if errors.Is(err, fs.ErrNotExist) {
		i.t.Errorf("%s is not in the image; %s", name, notThere(fsys, inside))
		return
	}
	if err != nil {
		i.t.Errorf("%s cannot be reached: %v", name, err)
		return
	}
	e := info.Sys().(*image.Entry)
	if want.Mode != 0 && info.Mode() != want.Mode {
		i.t.Errorf("%s has mode %v, want %v", name, info.Mode(), want.Mode)
	}
	if owner := fmt.Sprintf("%d:%d", e.UID, e.GID); want.Owner != "" && owner != want.Owner {
		i.t.Errorf("%s belongs to %s, want %s", name, owner, want.Owner)
	}
	if want.Link != "" && e.Link != want.Link {
		i.t.Errorf("%s is %v, want a link to %s", name, e, want.Link)
	}
	if want.Content != "" {
		i.wantContent(name, want.Content)
	}
}

// inImage returns the name that an FS has for an absolute path.
func inImage(path string) string { return cmp.Or(strings.TrimPrefix(image.CleanPath(path), "/"), ".") }

// notThere tells what is there instead of a file that is not.
func notThere(fsys *FS, name string) string {
	const most = 20
	dir := path.Dir(name)
	entries, err := fsys.ReadDir(dir)
	for err != nil && dir != "." {
		dir = path.Dir(dir)
		entries, err = fsys.ReadDir(dir)
	}
	var names []string
	for n, e := range entries {
		if n == most {
			names = append(names, fmt.Sprintf("and %d more", len(entries)-most))
			break
		}
		names = append(names, e.Name())
	}
	return fmt.Sprintf("in %s is: %s", image.CleanPath(dir), cmp.Or(strings.Join(names, " "), "nothing"))
}

// wantContent is for text, and does not print what is too long to read.
func (i *Image) wantContent(name, want string) {
	i.t.Helper()
	got, err := i.FS().ReadFile(inImage(name))
	switch {
	case err != nil:
		i.t.Errorf("%s cannot be read: %v", name, err)
	case string(got) == want:
	case len(got) > 1000 || len(want) > 1000:
		i.t.Errorf("%s has %d bytes that are not the %d wanted", name, len(got), len(want))
	default:
		i.t.Errorf("%s contains %q, want %q", name, got, want)
	}
}

// WantNoFile checks that there is nothing at name, not even a link.
func (i *Image) WantNoFile(name string) {
	i.t.Helper()
	info, err := i.FS().Lstat(inImage(name))
	switch {
	case err == nil:
		i.t.Errorf("%s should not be in the image, and is there: %v", name, info.Sys())
	case !errors.Is(err, fs.ErrNotExist):
		i.t.Errorf("%s cannot be looked for: %v", name, err)
	}
}

// WantPlatform checks the platform in the configuration, as "linux/arm/v7".
func (i *Image) WantPlatform(want string) {
	i.t.Helper()
	got := ""
	if p := i.config.Platform(); p != nil {
		got = p.String()
	}
	i.want("platform", got, want)
}

// WantEntrypoint checks the entrypoint, all of its words.
func (i *Image) WantEntrypoint(want ...string) {
	i.t.Helper()
	i.wantWords("entrypoint", i.config.Config.Entrypoint, want)
}

// WantCmd checks the command, all of its words; none for no command.
func (i *Image) WantCmd(want ...string) {
	i.t.Helper()
	i.wantWords("cmd", i.config.Config.Cmd, want)
}

// WantUser checks the user, as written: "nonroot" is not "65532".
func (i *Image) WantUser(want string) {
	i.t.Helper()
	i.want("user", i.config.Config.User, want)
}

// WantWorkingDir checks the working directory.
func (i *Image) WantWorkingDir(want string) {
	i.t.Helper()
	i.want("working directory", i.config.Config.WorkingDir, want)
}

// WantEnv checks an environment variable.
func (i *Image) WantEnv(key, want string) {
	i.t.Helper()
	env := map[string]string{}
	for _, kv := range i.config.Config.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	i.wantKey("environment variable", env, key, want)
}

// WantLabel checks a label.
func (i *Image) WantLabel(key, want string) {
	i.t.Helper()
	i.wantKey("label", i.config.Config.Labels, key, want)
}

// WantPorts checks that these ports are exposed and no other. "8080" stands
// for "8080/tcp".
func (i *Image) WantPorts(want ...string) {
	i.t.Helper()
	i.wantWords("ports", withProtocol(slices.Collect(maps.Keys(i.config.Config.ExposedPorts))), withProtocol(want))
}

func withProtocol(ports []string) []string {
	all := make([]string, len(ports))
	for n, p := range ports {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		all[n] = p
	}
	slices.Sort(all)
	return all
}

func (i *Image) want(what, got, want string) {
	i.t.Helper()
	if got != want {
		i.t.Errorf("%s is %q, want %q", what, got, want)
	}
}

func (i *Image) wantWords(what string, got, want []string) {
	i.t.Helper()
	if !slices.Equal(got, want) {
		i.t.Errorf("%s is %q, want %q", what, got, want)
	}
}

func (i *Image) wantKey(what string, all map[string]string, key, want string) {
	i.t.Helper()
	got, ok := all[key]
	if !ok {
		i.t.Errorf("%s %s is not set, want %q; set are: %s", what, key, want,
			strings.Join(slices.Sorted(maps.Keys(all)), " "))
		return
	}
	i.want(what+" "+key, got, want)
}
