package compile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagectl/stagectl/builder/plan"
)

// BenchmarkUnchanged is what a build of what has not changed costs the compile
// package: 500 files of 4 kB are looked at, and no go command runs.
func BenchmarkUnchanged(b *testing.B) {
	const packages, files = 50, 10
	dir := b.TempDir()
	var imports strings.Builder
	write := func(name, text string) {
		name = filepath.Join(dir, name)
		check(os.MkdirAll(filepath.Dir(name), 0o755))
		check(os.WriteFile(name, []byte(text), 0o644))
	}
	for p := range packages {
		fmt.Fprintf(&imports, "import _ \"example.com/m/p%d\"\n", p)
		for f := range files {
			write(fmt.Sprintf("p%d/f%d.go", p, f), fmt.Sprintf("package p%d\n\n// %s\n", p, strings.Repeat("x", 4000)))
		}
	}
	write("go.mod", "module example.com/m\n\ngo 1.24\n")
	write("main.go", "package main\n\n"+imports.String()+"\nfunc main() {}\n")
	c := compiler()
	c.Records, c.Outputs = &records{}, b.TempDir()
	build := func() {
		pkgs, err := c.List(b.Context(), dir, amd64, plan.GoSettings{}, []string{"."})
		check(err)
		out, err := c.Build(b.Context(), amd64, []plan.Compile{{Dir: pkgs[0].Dir, Package: pkgs[0].ImportPath, Binary: pkgs[0].Binary}})
		check(err)
		out.Close()
	}
	build()
	b.ReportAllocs()
	for b.Loop() {
		build()
	}
}
