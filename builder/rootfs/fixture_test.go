package rootfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/rootfs"
)

// tree is a lower tree in memory. It counts what is read.
type tree struct {
	infos    map[string]rootfs.Info
	contents map[string]string
	opened   []string
	asked    int
}

// lower makes a tree of lines as "-rw-r--r-- 0:0 /etc/passwd content",
// "drwxr-xr-x 1:2 /srv" and "lrwxrwxrwx 0:0 /bin -> usr/bin". Directories above
// are implied.
func lower(lines ...string) *tree {
	t := &tree{infos: map[string]rootfs.Info{"/": {Path: "/", Mode: fs.ModeDir | 0o755}}, contents: map[string]string{}}
	for _, line := range lines {
		info, content := parseLine(line)
		for dir := path.Dir(info.Path); t.infos[dir].Path == ""; dir = path.Dir(dir) {
			t.infos[dir] = rootfs.Info{Path: dir, Mode: fs.ModeDir | 0o755}
		}
		t.infos[info.Path], t.contents[info.Path] = info, content
	}
	return t
}

func parseLine(line string) (rootfs.Info, string) {
	fields := strings.SplitN(line, " ", 4)
	info := rootfs.Info{Path: fields[2]}
	if _, err := fmt.Sscanf(fields[1], "%d:%d", &info.UID, &info.GID); err != nil {
		panic(line)
	}
	rest := ""
	if len(fields) == 4 {
		rest = fields[3]
	}
	for i, bit := range []byte(fields[0][1:]) {
		if bit == '-' {
			continue
		}
		if bit != 'S' && bit != 'T' {
			info.Mode |= 0o400 >> i
		}
		switch bit {
		case 's', 'S':
			info.Mode |= map[int]fs.FileMode{2: fs.ModeSetuid, 5: fs.ModeSetgid}[i]
		case 't', 'T':
			info.Mode |= fs.ModeSticky
		}
	}
	switch fields[0][0] {
	case 'd':
		info.Mode |= fs.ModeDir
	case 'l':
		info.Mode |= fs.ModeSymlink
		info.Link = strings.TrimPrefix(rest, "-> ")
	case 'p':
		info.Mode |= fs.ModeNamedPipe
	case 'c':
		info.Mode |= fs.ModeDevice | fs.ModeCharDevice
		info.DevMajor, info.DevMinor = 1, 3
	default:
		info.Size = int64(len(rest))
	}
	return info, rest
}

func (t *tree) Lstat(p string) (rootfs.Info, error) {
	t.asked++
	info, ok := t.infos[p]
	if !ok {
		return info, &fs.PathError{Op: "lstat", Path: p, Err: fs.ErrNotExist}
	}
	return info, nil
}

func (t *tree) ReadDir(p string) ([]rootfs.Info, error) {
	t.asked++
	var list []rootfs.Info
	for _, name := range slices.Sorted(maps.Keys(t.infos)) {
		if name != "/" && path.Dir(name) == p {
			list = append(list, t.infos[name])
		}
	}
	return list, nil
}

func (t *tree) Open(p string) (io.ReadCloser, error) {
	t.opened = append(t.opened, p)
	if !t.infos[p].Mode.IsRegular() || t.infos[p].Path == "" {
		return nil, errors.New("no such content: " + p)
	}
	return io.NopCloser(strings.NewReader(t.contents[p])), nil
}

// newFS makes a stage over lower, which may be nil, in a directory of its own
// beside a file that nothing may touch.
func newFS(t *testing.T, lower rootfs.Tree) (*rootfs.FS, string) {
	t.Helper()
	outside := t.TempDir()
	upper := outside + "/upper"
	must(t, os.Mkdir(upper, 0o755))
	must(t, os.WriteFile(outside+"/secret", []byte("secret"), 0o600))
	f, err := rootfs.New(lower, upper)
	must(t, err)
	t.Cleanup(func() {
		f.Close()
		entries, err := os.ReadDir(outside)
		must(t, err)
		content, err := os.ReadFile(outside + "/secret")
		must(t, err)
		if len(entries) != 2 || string(content) != "secret" {
			t.Errorf("what is beside the stage's directory changed: %v, %q", entries, content)
		}
	})
	return f, upper
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// line is the form that lower reads.
func line(info rootfs.Info, content string) string {
	mode := []byte("-" + info.Mode.Perm().String()[1:])
	switch {
	case info.IsDir():
		mode[0] = 'd'
	case info.IsSymlink():
		mode[0] = 'l'
		content = "-> " + info.Link
	case info.Mode&fs.ModeNamedPipe != 0:
		mode[0] = 'p'
	case info.Mode&fs.ModeDevice != 0:
		mode[0] = 'c'
	}
	for _, special := range []struct {
		bit    fs.FileMode
		at     int
		letter byte
	}{{fs.ModeSetuid, 3, 's'}, {fs.ModeSetgid, 6, 's'}, {fs.ModeSticky, 9, 't'}} {
		if info.Mode&special.bit != 0 {
			if mode[special.at] == '-' {
				special.letter -= 'a' - 'A'
			}
			mode[special.at] = special.letter
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d:%d %s %s", mode, info.UID, info.GID, info.Path, content))
}

// list has a line for each path below dir.
func list(t *testing.T, f *rootfs.FS, dir string) []string {
	t.Helper()
	infos, err := f.ReadDir(dir)
	must(t, err)
	var lines []string
	for _, info := range infos {
		content := ""
		if info.Mode.IsRegular() {
			raw, err := f.ReadFile(info.Path)
			must(t, err)
			content = string(raw)
			if info.Size != int64(len(raw)) {
				t.Errorf("%s has size %d and %d bytes", info.Path, info.Size, len(raw))
			}
		}
		lines = append(lines, line(info, content))
		if info.IsDir() {
			lines = append(lines, list(t, f, info.Path)...)
		}
	}
	return lines
}

func wantList(t *testing.T, f *rootfs.FS, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, list(t, f, "/")); diff != "" {
		t.Errorf("files of the stage (-want +got):\n%s", diff)
	}
}

// changes has a line for each change: as line, or "deleted /path".
func changes(t *testing.T, f *rootfs.FS, since *rootfs.Snapshot) []string {
	t.Helper()
	var lines []string
	for c, err := range f.Changes(since) {
		must(t, err)
		switch {
		case c.Deleted:
			lines = append(lines, "deleted "+c.Path)
		case c.Open != nil:
			lines = append(lines, line(c.Info, readAll(t, c.Open)))
		default:
			lines = append(lines, line(c.Info, ""))
		}
	}
	return lines
}

func readAll(t *testing.T, open func() (io.ReadCloser, error)) string {
	t.Helper()
	r, err := open()
	must(t, err)
	defer r.Close()
	raw, err := io.ReadAll(r)
	must(t, err)
	return string(raw)
}

func wantChanges(t *testing.T, f *rootfs.FS, since *rootfs.Snapshot, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, changes(t, f, since)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}
