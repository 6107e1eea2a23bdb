package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/imagetest"
)

// cmdSame compares what a container sees of images, platform by platform. What
// every build by a Dockerfile has, a PATH and a working directory, is left out.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same IMAGE IMAGE")
	}
	a, b := seen(ts, args[0]), seen(ts, args[1])
	if len(a) < 10 {
		ts.Fatalf("%s has too little in it to compare: %q", args[0], a)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		ts.Fatalf("-%s +%s\n%s", args[0], args[1], diff)
	}
}

func seen(ts *testscript.TestScript, name string) []string {
	f, err := image.Open(ts.MkAbs(name))
	ts.Check(err)
	defer f.Close()
	var lines []string
	for _, opened := range f.Images {
		for _, p := range opened.Images {
			files, err := imagetest.NewFS(p.Image)
			ts.Check(err)
			lines = append(lines, p.Platform.String())
			lines = append(lines, files.List()...)
			ts.Check(fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				content, err := files.ReadFile(name)
				lines = append(lines, fmt.Sprintf("%s %x", name, sha256.Sum256(content)))
				return err
			}))
			cf, err := p.Image.ConfigFile()
			ts.Check(err)
			lines = append(lines, configLines(cf.Config)...)
		}
	}
	return lines
}

func configLines(c v1.Config) []string {
	env := slices.DeleteFunc(slices.Clone(c.Env), func(kv string) bool { return strings.HasPrefix(kv, "PATH=") })
	var lines []string
	for _, v := range []any{
		c.Entrypoint, c.Cmd, env, c.User, strings.TrimSuffix(c.WorkingDir, "/"), c.ExposedPorts, c.Labels, c.Volumes, c.StopSignal, c.OnBuild, c.Shell,
	} {
		lines = append(lines, fmt.Sprintf("%T %q", v, v))
	}
	return append(lines, fmt.Sprintf("%+v", c.Healthcheck))
}

// cmdBuild runs a build that fails, with an exit code, on an output that it must
// not have begun.
func cmdBuild(ts *testscript.TestScript, neg bool, args []string) {
	if !neg || len(args) < 2 {
		ts.Fatalf("usage: ! build CODE FLAG...")
	}
	dir := ts.MkAbs(".")
	before, err := os.ReadDir(dir)
	ts.Check(err)
	err = ts.Exec("stagectl", append([]string{"build"}, args[1:]...)...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("stagectl build ends with %v, not exit code %s", err, args[0])
	}
	after, err := os.ReadDir(dir)
	ts.Check(err)
	if diff := cmp.Diff(names(before), names(after)); diff != "" {
		ts.Fatalf("it leaves files (-before +after):\n%s", diff)
	}
}

func names(entries []os.DirEntry) []string {
	var list []string
	for _, e := range entries {
		if e.Name() != ".cache" { // which is the script's own
			list = append(list, e.Name())
		}
	}
	return list
}
