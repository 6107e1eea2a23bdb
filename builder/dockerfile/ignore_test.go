package dockerfile_test

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/stagectl/stagectl/builder/dockerfile"
)

// project is a context with a bit of everything.
var project = projectFS()

func projectFS() fstest.MapFS {
	project := fstest.MapFS{}
	for name := range strings.FieldsSeq(`.dockerignore .git/HEAD .git/objects/a Dockerfile README.md app.go app_test.go
		docs/README.md docs/a.md docs/img/x.png vendor/a/a.go vendor/a/LICENSE vendor/b/b.go tmp/x tmp/keep/y tmp/keep/z.log
		node_modules/m/index.js sub/node_modules/m/index.js sub/app.log a[b]/c "x`) {
		project[name] = &fstest.MapFile{Data: []byte(name)}
	}
	return project
}

func parseIgnore(t testing.TB, text string) *dockerfile.Ignore {
	t.Helper()
	i, err := dockerfile.ParseIgnore(".dockerignore", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// left are the files of the project that are in the context.
func left(t *testing.T, i *dockerfile.Ignore) []string {
	t.Helper()
	var names []string
	if err := i.WalkDir(project, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

func TestIgnore(t *testing.T) {
	tests := []struct {
		name, text string
		want       string // what is left, of those that the case is about
		of         string
	}{
		{"nothing", "# .git\n\n", ".git/HEAD app.go docs/a.md", ".git/HEAD app.go docs/a.md"},
		{"directory", ".git\nvendor/\n", "app.go", ".git/HEAD .git/objects/a app.go vendor/a/a.go"},
		{"only at the root", "node_modules", "sub/node_modules/m/index.js", "node_modules/m/index.js sub/node_modules/m/index.js"},
		{"anywhere", "**/node_modules\n**/*.md", "app.go", "README.md docs/a.md app.go node_modules/m/index.js sub/node_modules/m/index.js"},
		{"wildcard of one level", "*.md", "docs/README.md docs/a.md", "README.md docs/README.md docs/a.md"},
		{"everything but", "*\n!app.go\n!docs", "app.go docs/README.md docs/a.md docs/img/x.png", "README.md app.go docs/README.md docs/a.md docs/img/x.png vendor/a/a.go"},
		{"exception in a directory", "tmp\n!tmp/keep", "tmp/keep/y tmp/keep/z.log", "tmp/x tmp/keep/y tmp/keep/z.log"},
		{"exception of an exception", "tmp\n!tmp/keep\ntmp/keep/*.log", "tmp/keep/y", "tmp/x tmp/keep/y tmp/keep/z.log"},
		{"exception anywhere", "vendor\n!**/LICENSE", "vendor/a/LICENSE", "vendor/a/a.go vendor/a/LICENSE vendor/b/b.go"},
		{"exception that is undone", "!app.go\n*.go", "README.md", "README.md app.go"},
		{"slashes around", "/docs/\n./tmp\nsub/../vendor", "app.go", "app.go docs/a.md tmp/x vendor/a/a.go"},
		{"characters", "app?test.go\na\\[b\\]\n\"x", "app.go", `app.go app_test.go a[b]/c "x`},
		{"blanks and BOM", "\xef\xbb\xbf  docs  \n ! docs/a.md ", "docs/a.md", "docs/a.md docs/README.md"},
		{"comment is only at the start", " # docs\ndocs", "", "docs/a.md"},
		{"root", ".", "app.go", "app.go"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := slices.DeleteFunc(left(t, parseIgnore(t, tt.text)), func(name string) bool {
				return !slices.Contains(strings.Fields(tt.of), name)
			})
			want := strings.Fields(tt.want)
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(strings.Join(want, " "), strings.Join(got, " ")); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
		})
	}
}

// Without an ignore file everything is there.
func TestNoIgnore(t *testing.T) {
	var i *dockerfile.Ignore
	if got := left(t, i); len(got) != len(project) {
		t.Errorf("left are %q", got)
	}
	if i.Excludes("x") || i.Prunes("x") {
		t.Error("something is excluded")
	}
}

// What is left out as a whole is not looked at.
func TestIgnorePrunes(t *testing.T) {
	i := parseIgnore(t, ".git\nvendor\ntmp\n!tmp/keep/y\n")
	for dir, want := range map[string]bool{
		".": false, ".git": true, ".git/objects": true, "docs": false, "tmp": false, "tmp/keep": false, "tmp/other": true, "vendor/": true,
	} {
		if got := i.Prunes(dir); got != want {
			t.Errorf("%s is pruned: %v, want %v", dir, got, want)
		}
	}
	var read []string
	err := i.WalkDir(project, ".", func(name string, d fs.DirEntry, _ error) error {
		if d.IsDir() {
			read = append(read, name)
		}
		return nil
	})
	want := []string{".", "a[b]", "docs", "docs/img", "node_modules", "node_modules/m", "sub", "sub/node_modules", "sub/node_modules/m", "tmp", "tmp/keep"}
	if diff := cmp.Diff(want, read); diff != "" || err != nil {
		t.Errorf("read %v (-want +got):\n%s", err, diff)
	}
	if i := parseIgnore(t, "vendor\n!**/LICENSE"); i.Prunes("vendor") {
		t.Error("a directory is pruned that an exception may be in")
	}
}

func TestIgnoreErrors(t *testing.T) {
	for text, want := range map[string]string{
		"a\n[\n!b[\n":   ".dockerignore: malformed pattern \"[\": syntax error in pattern\n.dockerignore: malformed pattern \"!b[\": syntax error in pattern",
		"a\n!\n":        `.dockerignore: malformed pattern "!": illegal exclusion pattern: "!"`,
		"a\n!!b\\p/c\n": `.dockerignore: malformed pattern "!!b\\p/c": syntax error in pattern`,
	} {
		_, err := dockerfile.ParseIgnore(".dockerignore", strings.NewReader(text))
		if err == nil || err.Error() != want {
			t.Errorf("got error\n%v, want\n%s", err, want)
		}
	}
	if _, err := dockerfile.ParseIgnore("x", iotest.ErrReader(fs.ErrPermission)); err == nil || err.Error() != "reading x: permission denied" {
		t.Errorf("got error %v", err)
	}
}

func TestFindIgnore(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	context := fstest.MapFS{".dockerignore": file("context"), "build/Dockerfile.dockerignore": file("own")}
	elsewhere := fstest.MapFS{"D.dockerignore": file("elsewhere"), ".dockerignore": file("wrong")}
	broken := fstest.MapFS{"D.dockerignore/x": file("")}
	tests := []struct {
		name, dockerfile string
		beside, context  fs.FS
		want, wantErr    string
	}{
		{name: "of the context", dockerfile: "Dockerfile", beside: context, context: context, want: "context"},
		{name: "of the Dockerfile", dockerfile: "build/Dockerfile", beside: context, context: context, want: "own"},
		{name: "beside a Dockerfile elsewhere", dockerfile: "D", beside: elsewhere, context: context, want: "elsewhere"},
		{name: "not beside a Dockerfile elsewhere", dockerfile: "E", beside: elsewhere, context: context, want: "context"},
		{name: "of standard input", context: context, want: "context"},
		{name: "none", dockerfile: "E", beside: elsewhere, context: fstest.MapFS{}},
		{name: "directory", dockerfile: "D", beside: broken, context: context, wantErr: "reading D.dockerignore: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i, err := dockerfile.FindIgnore(tt.beside, tt.dockerfile, tt.context)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("got error %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if i != nil {
				got = strings.Join(i.Patterns, " ")
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The files of a context are looked at by several goroutines.
func TestIgnoreConcurrently(t *testing.T) {
	i := parseIgnore(t, "**/*.md\n*.go\n!app.go")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if !i.Excludes("docs/a.md") || i.Excludes("app.go") || !i.Excludes("x.go") {
				t.Error("wrong")
			}
		})
	}
	wg.Wait()
}

// FuzzIgnore compares what is in the context with what moby's matcher says of
// each file, and what the walk finds with both.
func FuzzIgnore(f *testing.F) {
	for _, text := range []string{
		"", "*", "*\n!app.go", "**/node_modules\n", "tmp\n!tmp/keep\ntmp/keep/*.log", "vendor\n!**/LICENSE", ".\n", "/", "!", "[", "a\\", "docs/**\n!docs/img",
		"**", "**/\n!sub", "*/*\n!*/*.md", "!x\ny", "..", "../a", "d?cs/*\n!docs/[a-b].md", " \t\n#\n !a",
	} {
		f.Add(text, "docs/img/x.png")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		i, err := dockerfile.ParseIgnore("x", strings.NewReader(text))
		if err != nil {
			return
		}
		patterns, err := ignorefile.ReadAll(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		moby, err := patternmatcher.New(patterns)
		if err != nil {
			t.Fatalf("accepted %q: %v", text, err)
		}
		excluded := func(name string) bool {
			is, err := moby.MatchesOrParentMatches(name)
			if err != nil {
				t.Fatalf("accepted %q: %v", text, err)
			}
			return is
		}
		if clean := path.Clean(name); clean != "." && i.Excludes(name) != excluded(clean) {
			t.Errorf("%q: %q is excluded: %v, want %v", text, name, i.Excludes(name), excluded(clean))
		}
		found := left(t, i)
		for name := range project {
			if in := slices.Contains(found, name); in == excluded(name) {
				t.Errorf("%q: %s is found: %v", text, name, in)
			}
			for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
				if i.Prunes(dir) && !excluded(name) {
					t.Errorf("%q: %s is pruned, and %s is not excluded", text, dir, name)
				}
			}
		}
	})
}
