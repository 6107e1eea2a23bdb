//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// place is a machine, as far as a build could tell one from another.
type place struct {
	name string
	env  []string
	// dir is where the checkout is, below a directory of its own.
	dir   string
	umask string
	args  []string
	// touch changes what is no content of the sources.
	touch func(t *testing.T, dir string)
	// cache is the name of the cache, for those that share one.
	cache string
}

func places() []place {
	return []place{
		{name: "as it comes"},
		{name: "cold cache", cache: "shared"},
		{name: "warm cache", cache: "shared"},
		{name: "warm cache, another checkout", cache: "shared", dir: "else where/ünï/checkout"},
		{name: "cache not looked at", cache: "shared", args: []string{"--no-cache"}},
		{name: "no cache", env: []string{"HOME=", "XDG_CACHE_HOME="}, cache: "-"},
		{name: "one CPU", env: []string{"GOMAXPROCS=1"}},
		{name: "eight CPUs", env: []string{"GOMAXPROCS=8"}},
		{name: "one job", args: []string{"-j", "1"}},
		{name: "a time zone", env: []string{"TZ=Pacific/Kiritimati"}},
		{name: "a locale", env: []string{"LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8"}},
		{name: "no locale", env: []string{"LANG=", "LC_ALL=C"}},
		{name: "a strict umask", umask: "077"},
		{name: "no umask", umask: "000"},
		{name: "file times", touch: func(t *testing.T, dir string) {
			walk(t, dir, func(name string, _ os.DirEntry) error {
				when := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
				return os.Chtimes(name, when, when)
			})
		}},
		{name: "times to come", touch: func(t *testing.T, dir string) {
			walk(t, dir, func(name string, _ os.DirEntry) error {
				when := time.Date(2101, 2, 3, 4, 5, 6, 7, time.UTC)
				return os.Chtimes(name, when, when)
			})
		}},
	}
}

func walk(t *testing.T, dir string, do func(name string, d os.DirEntry) error) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return do(name, d)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkout makes the sources, with modes that are not those of the umask: a COPY
// of a Dockerfile keeps them.
func checkout(t *testing.T, dir string) {
	t.Helper()
	for _, sub := range []string{"server", "conf/sub"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	writeFiles(t, dir, map[string]string{
		"go.mod":          "module example.com/m\n\ngo 1.21\n",
		"server/main.go":  "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(\"hello\\n\") }\n",
		"conf/I.conf":     strings.Repeat("some text\n", 1000),
		"conf/i.conf":     "i",
		"conf/sub/b.conf": "b",
		"conf/large":      strings.Repeat(noise(300<<10), 12), // more than one block of a compressor
		"Dockerfile": `FROM golang AS build
WORKDIR /src
COPY go.mod ./
COPY server ./server
RUN go build -trimpath -o /out/server ./server && date > /dev/null
FROM scratch
COPY --from=build /out/ /bin/
COPY conf /etc/conf
COPY --chmod=600 conf/i.conf /etc/secret
ENTRYPOINT ["/bin/server"]
`,
	})
	walk(t, dir, func(name string, d os.DirEntry) error {
		if d.IsDir() {
			return os.Chmod(name, 0o755)
		}
		return os.Chmod(name, 0o644)
	})
}

// TestMatrix builds the same sources at many places: the archive is the same,
// byte for byte.
func TestMatrix(t *testing.T) {
	goenv := append(hostGoEnv(t), "SOURCE_DATE_EPOCH=")
	builds := map[string][]string{
		"flags":      {"--copy", "conf:/etc/conf", "--platform", "linux/amd64,linux/arm64", "./server"},
		"zstd":       {"--base", "scratch", "--compression", "zstd", "--copy", "conf:/etc/conf", "./server"},
		"dockerfile": {"-f", "Dockerfile", "-t", "image", "."},
	}
	top := t.TempDir()
	for kind, args := range builds {
		var want string
		for _, p := range places() {
			t.Run(kind+"/"+p.name, func(t *testing.T) {
				top := filepath.Join(top, kind)
				dir := filepath.Join(t.TempDir(), "checkout", p.dir)
				checkout(t, dir)
				if p.touch != nil {
					p.touch(t, dir)
				}
				file := filepath.Join(t.TempDir(), "image.tar")
				all := append([]string{"build", "-q", "--offline", "-o", file}, p.args...)
				switch p.cache {
				case "-":
				case "":
					all = append(all, "--cache-dir", filepath.Join(t.TempDir(), "cache"))
				default:
					all = append(all, "--cache-dir", filepath.Join(top, p.cache))
				}
				umask := p.umask
				if umask == "" {
					umask = "022"
				}
				sh := append([]string{"-c", "umask " + umask + ` && exec stagectl "$@"`, "sh"}, append(all, args...)...)
				cmd := exec.CommandContext(t.Context(), "sh", sh...)
				cmd.Dir, cmd.Env = dir, append(append(os.Environ(), goenv...), p.env...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				got := sumOf(raw)
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("the archive is %s, want %s as at the first place", got, want)
				}
			})
		}
	}
}
