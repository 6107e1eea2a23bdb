package image_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/image"
)

// Headers of the layers below. Their names are written as they are in a tar.

func dir(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }

func file(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }

func mode(m int64, h tar.Header) tar.Header {
	h.Mode = m
	return h
}

func symlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}
}

func hardlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
}

// layers are in the order in which they are applied.
type layers [][]tar.Header

// merge writes the layers as tars, reads them and merges them.
func (l layers) merge(t testing.TB) *image.Tree {
	t.Helper()
	all := make([][]image.Entry, len(l))
	for i, headers := range l {
		entries, err := image.ReadEntries(strings.NewReader(tarWith(nil, headers...)), nil)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = entries
	}
	return image.Merge(all)
}

// list has one line for each path of a tree: its type, its path, the layer it
// is from, and where its content is if that is elsewhere.
func list(tree *image.Tree) []string {
	var lines []string
	tree.Walk(func(e image.Entry) {
		line := fmt.Sprintf("%c %s %d", e.ModeString()[0], e.Path, e.Layer)
		if e.Type == tar.TypeSymlink {
			line += " -> " + e.Link
		}
		if e.ContentPath != "" {
			line += " from " + e.ContentPath
		}
		lines = append(lines, line)
	})
	return lines
}

func TestMerge(t *testing.T) {
	tests := []struct {
		name   string
		layers layers
		want   []string
	}{
		{"no layers", nil, nil},
		{"empty layer", layers{{}}, nil},
		{"names in every form", layers{{dir("./"), dir("./a/"), file("a//b"), file("/c"), file("d/./e")}},
			[]string{"d /a 0", "- /a/b 0", "- /c 0", "d /d 0", "- /d/e 0"}},
		{"names that lead out", layers{{file("../../a"), file("b/../../c"), hardlink("d", "../../../c")}},
			[]string{"- /a 0", "- /c 0", "- /d 0 from /c"}},
		{"siblings in the order of names", layers{{file("b"), file("a-b"), file("a/c"), file("a"), file("B")}},
			[]string{"- /B 0", "- /a 0", "- /a-b 0", "- /b 0"}},
		{"all types", layers{{
			file("f"), symlink("l", "f"), hardlink("h", "f"),
			{Name: "c", Typeflag: tar.TypeChar}, {Name: "b", Typeflag: tar.TypeBlock}, {Name: "p", Typeflag: tar.TypeFifo},
		}}, []string{"b /b 0", "c /c 0", "- /f 0", "- /h 0 from /f", "l /l 0 -> f", "p /p 0"}},

		{"whiteout of a file", layers{{file("a/b"), file("a/c")}, {file("a/.wh.b")}},
			[]string{"d /a 0", "- /a/c 0"}},
		{"whiteout of a directory", layers{{file("a/b/c"), file("a/d")}, {file("a/.wh.b")}},
			[]string{"d /a 0", "- /a/d 0"}},
		{"whiteout of a link", layers{{file("a"), symlink("b", "a")}, {file(".wh.b")}},
			[]string{"- /a 0"}},
		{"whiteout of nothing", layers{{file("a")}, {file(".wh.b"), file("c/.wh.d")}},
			[]string{"- /a 0"}},
		{"whiteout below a file", layers{{file("a")}, {file("a/.wh.b"), file("a/.wh..wh..opq")}},
			[]string{"- /a 0"}},
		{"whiteout in the lowest layer", layers{{file(".wh.a"), file("b")}},
			[]string{"- /b 0"}},
		{"whiteout that is a directory", layers{{file("a")}, {dir(".wh.a/")}}, nil},
		{"whiteout, then the file again", layers{{file("a")}, {file(".wh.a"), file("a")}},
			[]string{"- /a 1"}},
		{"the file again, then whiteout", layers{{file("a")}, {file("a"), file(".wh.a")}},
			[]string{"- /a 1"}},
		{"whiteout, then the directory again", layers{{file("a/old")}, {file(".wh.a"), dir("a"), file("a/new")}},
			[]string{"d /a 1", "- /a/new 1"}},
		{"the directory again, then whiteout", layers{{file("a/old")}, {dir("a"), file("a/new"), file(".wh.a")}},
			[]string{"d /a 1", "- /a/new 1"}},
		{"a file below, then whiteout", layers{{file("a/old"), file("a/b/old")}, {file("a/b/new"), file(".wh.a")}},
			[]string{"d /a 1", "d /a/b 1", "- /a/b/new 1"}},
		{"whiteout, then a file below", layers{{file("a/old"), file("a/b/old")}, {file(".wh.a"), file("a/b/new")}},
			[]string{"d /a 1", "d /a/b 1", "- /a/b/new 1"}},
		{"whiteout, and again in the next layer", layers{{file("a")}, {file(".wh.a")}, {file("a")}},
			[]string{"- /a 2"}},
		{"whiteout of the parent", layers{{file("a/b")}, {file("a/.wh.."), file(".wh..."), file("a/.wh....")}},
			[]string{"d /a 0", "- /a/b 0"}},
		{"whiteout without a name", layers{{file("a")}, {file(".wh.")}},
			[]string{"- /a 0"}},
		{"whiteout through a link", layers{{file("run/x"), symlink("var/run", "/run")}, {file("var/run/.wh.x")}},
			[]string{"d /run 0", "d /var 0", "l /var/run 0 -> /run"}},
		{"whiteout through a link loop", layers{{symlink("a", "a"), file("b")}, {file("a/.wh.b")}},
			[]string{"l /a 0 -> a", "- /b 0"}},
		{"whiteout after a directory took the place of a link",
			layers{{file("run/x"), symlink("var/run", "/run")}, {dir("var/run"), file("var/run/.wh.x"), file("var/run/.wh..wh..opq")}},
			[]string{"d /run 0", "- /run/x 0", "d /var 0", "d /var/run 1"}},
		{"files of AUFS", layers{{dir(".wh..wh.plnk/"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs"), file("a")}},
			[]string{"- /a 0"}},

		{"opaque directory", layers{{file("a/b"), file("a/c/d"), file("e")}, {dir("a"), file("a/.wh..wh..opq"), file("a/f")}},
			[]string{"d /a 1", "- /a/f 1", "- /e 0"}},
		{"opaque marker after its siblings", layers{{file("a/b"), file("a/c")}, {file("a/b"), file("a/f"), file("a/.wh..wh..opq")}},
			[]string{"d /a 0", "- /a/b 1", "- /a/f 1"}},
		{"opaque marker after directories below", layers{{file("a/b/c"), file("a/d/e")}, {file("a/b/f"), file("a/.wh..wh..opq")}},
			[]string{"d /a 0", "d /a/b 1", "- /a/b/f 1"}},
		{"opaque marker twice", layers{{file("a/b")}, {file("a/.wh..wh..opq"), file("a/c"), file("a/.wh..wh..opq")}},
			[]string{"d /a 0", "- /a/c 1"}},
		{"opaque directories in two layers", layers{{file("a/b")}, {file("a/.wh..wh..opq"), file("a/c")}, {file("a/.wh..wh..opq"), file("a/d")}},
			[]string{"d /a 0", "- /a/d 2"}},
		{"opaque root", layers{{file("a/b"), file("c")}, {file(".wh..wh..opq"), file("d")}},
			[]string{"- /d 1"}},
		{"opaque directory that is not there", layers{{file("a")}, {file("b/.wh..wh..opq"), file("b/c")}},
			[]string{"- /a 0", "d /b 1", "- /b/c 1"}},

		{"directory over a file", layers{{file("a")}, {dir("a"), file("a/b")}},
			[]string{"d /a 1", "- /a/b 1"}},
		{"file over a directory", layers{{file("a/b")}, {file("a")}},
			[]string{"- /a 1"}},
		{"directory to file and back", layers{{file("a/b")}, {file("a")}, {file("a/c")}},
			[]string{"d /a 2", "- /a/c 2"}},
		{"directory over a directory keeps what is in it", layers{{file("a/b")}, {dir("a")}},
			[]string{"d /a 1", "- /a/b 0"}},
		{"link over a directory", layers{{file("a/b")}, {symlink("a", "c")}},
			[]string{"l /a 1 -> c"}},
		{"directory over a link", layers{{file("run/x"), symlink("var/run", "/run")}, {dir("var/run")}},
			[]string{"d /run 0", "- /run/x 0", "d /var 0", "d /var/run 1"}},
		{"a path twice", layers{{file("a"), symlink("a", "b"), dir("c"), file("c")}},
			[]string{"l /a 0 -> b", "- /c 0"}},
		{"directory twice keeps what is in it", layers{{dir("a"), file("a/b"), dir("a")}},
			[]string{"d /a 0", "- /a/b 0"}},

		{"hard link", layers{{file("a"), hardlink("b", "a")}},
			[]string{"- /a 0", "- /b 0 from /a"}},
		{"hard link into a lower layer", layers{{file("a")}, {hardlink("b", "./a")}},
			[]string{"- /a 0", "- /b 0 from /a"}},
		{"hard link, then another target", layers{{file("a"), hardlink("b", "a")}, {file("a")}},
			[]string{"- /a 1", "- /b 0 from /a"}},
		{"hard link, then no target", layers{{file("a"), hardlink("b", "a")}, {file(".wh.a")}},
			[]string{"- /b 0 from /a"}},
		{"hard link moved by a layer", layers{{file("a")}, {hardlink("b", "a"), file(".wh.a")}},
			[]string{"- /b 0 from /a"}},
		{"hard link to a hard link", layers{{file("a"), hardlink("b", "a")}, {hardlink("c", "b")}},
			[]string{"- /a 0", "- /b 0 from /a", "- /c 0 from /a"}},
		{"hard link back to the first path", layers{{file("a"), hardlink("b", "a")}, {file(".wh.a")}, {hardlink("a", "b")}},
			[]string{"- /a 0", "- /b 0 from /a"}},
		{"hard link to a later entry", layers{{hardlink("b", "a"), file("a")}},
			[]string{"- /a 0"}},
		{"hard link to nothing", layers{{file("b")}, {hardlink("b", "a"), hardlink("c", "d/e")}},
			[]string{"- /b 0"}},
		{"hard link to a directory", layers{{file("a/b"), hardlink("c", "a"), hardlink("d", "")}},
			[]string{"d /a 0", "- /a/b 0"}},
		{"hard link to itself", layers{{file("a"), hardlink("a", "a")}},
			[]string{"- /a 0"}},
		{"hard link to a symbolic link", layers{{symlink("a", "x"), hardlink("b", "a")}},
			[]string{"l /a 0 -> x", "l /b 0 -> x"}},
		{"hard link through a link", layers{{file("run/x"), symlink("var/run", "/run")}, {hardlink("y", "var/run/x")}},
			[]string{"d /run 0", "- /run/x 0", "d /var 0", "l /var/run 0 -> /run", "- /y 0 from /run/x"}},
		{"hard link through a link loop", layers{{symlink("a", "a"), hardlink("b", "a/c")}},
			[]string{"l /a 0 -> a"}},

		{"entry below a link", layers{{dir("run"), symlink("var/run", "/run")}, {file("var/run/x"), dir("var/run/d")}},
			[]string{"d /run 0", "d /run/d 1", "- /run/x 1 from /var/run/x", "d /var 0", "l /var/run 0 -> /run"}},
		{"entry below a relative link", layers{{dir("run"), symlink("var/run", "../run")}, {file("var/run/x")}},
			[]string{"d /run 0", "- /run/x 1 from /var/run/x", "d /var 0", "l /var/run 0 -> ../run"}},
		{"entry below a link to nothing", layers{{symlink("a", "b/c")}, {file("a/x")}},
			[]string{"l /a 0 -> b/c", "d /b 1", "d /b/c 1", "- /b/c/x 1 from /a/x"}},
		{"entry below a link that leads out", layers{{symlink("a", "../../..")}, {file("a/x")}},
			[]string{"l /a 0 -> ../../..", "- /x 1 from /a/x"}},
		{"entry below a link loop", layers{{symlink("a", "a")}, {file("a/x")}},
			[]string{"d /a 1", "- /a/x 1"}},
		{"entry below a link to a file", layers{{file("f"), symlink("a", "f")}, {file("a/x")}},
			[]string{"l /a 0 -> f", "d /f 1", "- /f/x 1 from /a/x"}},
		{"entry below a file", layers{{file("a")}, {file("a/b/c")}},
			[]string{"d /a 1", "d /a/b 1", "- /a/b/c 1"}},
		{"link itself replaced, not what it leads to", layers{{file("f"), symlink("a", "f")}, {file("a")}},
			[]string{"- /a 1", "- /f 0"}},

		{"root as a link", layers{{file("a"), symlink("/.", "/etc"), symlink("./", "x"), symlink("..", "y")}, {file("b")}},
			[]string{"- /a 0", "- /b 1"}},
		{"root as a file or a hard link", layers{{file("a"), file("."), hardlink("/", "a")}},
			[]string{"- /a 0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, list(tt.layers.merge(t))); diff != "" {
				t.Errorf("Merge (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeMetadata(t *testing.T) {
	owned := tar.Header{
		Name: "a", Typeflag: tar.TypeDir, Mode: 0o41777, Uid: 1, Gid: 2, Uname: "u", Gname: "g", Format: tar.FormatPAX,
	}
	tree := layers{
		{mode(0o700, dir("a")), file("a/b"), mode(0o555, dir("./"))},
		{owned, {Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, mode(0o4755, file("su")), hardlink("sudo", "su")},
	}.merge(t)
	want := []image.Entry{
		{Path: "/", Type: tar.TypeDir, Mode: 0o555},
		{Path: "/a", Type: tar.TypeDir, Mode: 0o1777, UID: 1, GID: 2, Uname: "u", Gname: "g", Layer: 1},
		{Path: "/a/b", Type: tar.TypeReg, Mode: 0o644},
		{Path: "/null", Type: tar.TypeChar, Mode: 0o666, DevMajor: 1, DevMinor: 3, Layer: 1},
		{Path: "/su", Type: tar.TypeReg, Mode: 0o4755, Layer: 1},
		{Path: "/sudo", Type: tar.TypeReg, Mode: 0o4755, Layer: 1, ContentPath: "/su"},
	}
	root, ok := tree.Lstat("/")
	if !ok {
		t.Error("no root")
	}
	got := []image.Entry{root}
	tree.Walk(func(e image.Entry) { got = append(got, e) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Walk (-want +got):\n%s", diff)
	}
}

func TestResolve(t *testing.T) {
	chain := []tar.Header{file("end")}
	for i := range 41 {
		to := fmt.Sprintf("l%d", i-1)
		if i == 0 {
			to = "end"
		}
		chain = append(chain, symlink(fmt.Sprintf("l%d", i), to))
	}
	tree := layers{append(chain,
		file("usr/bin/sh"), symlink("bin", "usr/bin"), symlink("abs", "/usr"), symlink("up", ".."),
		symlink("usr/out", "../../../../etc/passwd"), symlink("usr/self", "."), symlink("usr/root", "/"),
		symlink("loop", "loop"), symlink("ping", "pong"), symlink("pong", "ping"), symlink("deeper", "deeper/x"),
		symlink("dangling", "not/there"), symlink("slashes", "//usr///bin/"), symlink("empty", ""), file("etc/passwd"),
	)}.merge(t)
	tests := []struct {
		path, want string
		err        error
	}{
		{"/", "/", nil},
		{"", "/", nil},
		{".", "/", nil},
		{"/usr/bin/sh", "/usr/bin/sh", nil},
		{"usr//bin/./sh/", "/usr/bin/sh", nil},
		{"/bin/sh", "/usr/bin/sh", nil},
		{"/bin", "/usr/bin", nil},
		{"/abs/bin/sh", "/usr/bin/sh", nil},
		{"/abs/self/self/bin", "/usr/bin", nil},
		{"/abs/root/bin/sh", "/usr/bin/sh", nil},
		{"/bin/..", "/usr", nil},
		{"/bin/../bin/sh", "/usr/bin/sh", nil},
		{"/..", "/", nil},
		{"/../../usr", "/usr", nil},
		{"/up/up/usr", "/usr", nil},
		{"/usr/out", "/etc/passwd", nil},
		{"/slashes/sh", "/usr/bin/sh", nil},
		{"/empty/usr", "/usr", nil},
		{"/dangling", "/not/there", nil},
		{"/dangling/x", "/not/there/x", nil},
		{"/dangling/../../bin/sh", "/usr/bin/sh", nil},
		{"/nothing/here", "/nothing/here", nil},
		{"/nothing/../bin", "/usr/bin", nil},
		{"/l39", "/end", nil},
		{"/l40", "", image.ErrLoop},
		{"/loop", "", image.ErrLoop},
		{"/loop/x", "", image.ErrLoop},
		{"/ping", "", image.ErrLoop},
		{"/deeper", "", image.ErrLoop},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			got, err := tree.Resolve(tt.path)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Resolve gave %q, %v, want %q, %v", got, err, tt.want, tt.err)
			}
			e, ok, err := tree.Stat(tt.path)
			want, there := tree.Lstat(tt.want)
			if tt.err != nil {
				want, there = image.Entry{}, false
			}
			if !errors.Is(err, tt.err) || ok != there || e != want {
				t.Errorf("Stat gave %v, %v, %v, want %v, %v, %v", e, ok, err, want, there, tt.err)
			}
		})
	}
}

func TestLstatFollowsNothing(t *testing.T) {
	tree := layers{{file("usr/bin/sh"), symlink("bin", "usr/bin")}}.merge(t)
	if e, ok := tree.Lstat("bin"); !ok || e.Type != tar.TypeSymlink {
		t.Errorf("Lstat(bin) gave %v, %v, want the link", e, ok)
	}
	if e, ok := tree.Lstat("/bin/sh"); ok {
		t.Errorf("Lstat(/bin/sh) gave %v, want nothing", e)
	}
}

func TestReadDir(t *testing.T) {
	tree := layers{{file("a/z"), file("a/b/c"), symlink("a/l", "b"), symlink("l", "a"), file("f")}}.merge(t)
	tests := []struct {
		path string
		want []string
	}{
		{"/", []string{"/a", "/f", "/l"}},
		{"a", []string{"/a/b", "/a/l", "/a/z"}},
		{"/a/b/", []string{"/a/b/c"}},
		{"/l", nil},
		{"/f", nil},
		{"/none", nil},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			var got []string
			for _, e := range tree.ReadDir(tt.path) {
				got = append(got, e.Path)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ReadDir (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDeepTree has paths that no limit on a single name stops from becoming
// ever deeper.
func TestDeepTree(t *testing.T) {
	deep := strings.Repeat("d/", 2000)
	headers := []tar.Header{file(deep + "f")}
	for i := range 50 {
		to := deep
		if i > 0 {
			to = fmt.Sprintf("link%d/%s", i-1, deep)
		}
		headers = append(headers, symlink(fmt.Sprintf("link%d", i), to), file(fmt.Sprintf("link%d/%sx", i, deep)))
	}
	depth := 0
	layers{headers}.merge(t).Walk(func(e image.Entry) { depth = max(depth, strings.Count(e.Path, "/")) })
	if depth < 2000 || depth > 2048 {
		t.Errorf("the deepest path has %d elements, want 2000 to 2048", depth)
	}
}

// The last directory that is not too deep has nothing in it.
func TestDeepestDirectory(t *testing.T) {
	deep := strings.Repeat("d/", 2040)
	tree := layers{{dir(deep), symlink("l", deep), file("l/e/e/e/e/e/e/e/y"), file("l/e/e/e/e/e/e/e/e/x"), file("l/e/e/e/e/e/e/e/e/e/z")}}.merge(t)
	names := map[string]int{}
	tree.Walk(func(e image.Entry) { names[path.Base(e.Path)]++ })
	if diff := cmp.Diff(map[string]int{"d": 2040, "l": 1, "e": 8, "y": 1}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestManyWhiteouts takes very long if each marker looks at all there is.
func TestManyWhiteouts(t *testing.T) {
	var below, above []image.Entry
	for i := range 50_000 {
		below = append(below, image.Entry{Path: fmt.Sprintf("/d/%d", i), Type: tar.TypeReg})
		above = append(above, image.Entry{Path: fmt.Sprintf("/d/new%d", i), Type: tar.TypeReg},
			image.Entry{Path: "/d/.wh..wh..opq", Type: tar.TypeReg}, image.Entry{Path: "/.wh.d", Type: tar.TypeReg})
	}
	if got := len(image.Merge([][]image.Entry{below, above}).ReadDir("/d")); got != 50_000 {
		t.Errorf("%d files are left, want 50000", got)
	}
}

// checkTree fails for a tree that no file system could be.
func checkTree(t *testing.T, tree *image.Tree) {
	t.Helper()
	seen := map[string]byte{"/": tar.TypeDir}
	last := ""
	tree.Walk(func(e image.Entry) {
		if e.Path != path.Clean(e.Path) || !path.IsAbs(e.Path) || e.Path == "/" {
			t.Errorf("path %q is not clean", e.Path)
		}
		if seen[path.Dir(e.Path)] != tar.TypeDir {
			t.Errorf("%q comes before its directory", e.Path)
		}
		if _, twice := seen[e.Path]; twice {
			t.Errorf("%q is there twice", e.Path)
		}
		if slices.Compare(strings.Split(last, "/"), strings.Split(e.Path, "/")) >= 0 {
			t.Errorf("%q comes after %q", e.Path, last)
		}
		if strings.HasPrefix(path.Base(e.Path), ".wh.") || e.Type == tar.TypeLink {
			t.Errorf("%v is left", e)
		}
		seen[e.Path], last = e.Type, e.Path
	})
	for p := range seen {
		real, err := tree.Resolve(p)
		if err == nil && real != path.Clean("/"+real) {
			t.Errorf("Resolve(%q) gave %q", p, real)
		}
	}
}
