// Command bench measures stagectl against its floor, the go command, and
// against ko where that is on PATH, and prints a table of goals and ratios:
//
//	go run ./testdata/bench
//	go run ./testdata/bench -pairs 9 -rows 'nothing changed'
//
// It builds cmd/stagectl and makes its workloads in a temporary directory,
// which takes some gigabytes for as long as it runs. All tools share one go
// build cache in there; what they write besides is their own. They take turns,
// A B A B, after a run each that warms the caches and is not counted. A row
// that could not be measured is listed with the reason. Goals that are missed
// are no failure: the exit code is 0 when there is a table. After Ctrl-C, the
// table has what was measured until then.
//
// Times are those of whole processes, from start to exit. The registry is part
// of this process, on the same machine, and keeps its blobs on disk. ko runs
// without its SBOM, which the others do not make, and with the same go flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
)

// options are the command line.
type options struct {
	Mains, Services, Pairs int
	Rows                   *regexp.Regexp
	Big                    string
	Keep                   bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, parseFlags())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseFlags() options {
	o := options{Rows: regexp.MustCompile("")}
	flag.IntVar(&o.Mains, "mains", 8, "make `N` mains that share packages")
	flag.IntVar(&o.Services, "services", 50, "make `N` small services")
	flag.IntVar(&o.Pairs, "pairs", 5, "run each tool `P` times, after one run to warm up")
	flag.Func("rows", "measure the rows that `REGEXP` matches (default all)", func(s string) (err error) {
		o.Rows, err = regexp.Compile(s)
		return err
	})
	flag.StringVar(&o.Big, "big", "k8s.io/client-go/kubernetes@v0.37.2",
		"import `PACKAGE[@VERSION]` into the mains, for binaries that are really big")
	flag.BoolVar(&o.Keep, "keep", false, "keep the temporary directory")
	flag.Parse()
	if o.Mains < 1 || o.Services < 1 || o.Pairs < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	return o
}

// run makes the tools and the workloads, measures, and prints the report.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "stagectl-bench-")
	if err != nil {
		return err
	}
	if o.Keep {
		fmt.Fprintln(os.Stderr, "keeping", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	t, err := newTools(ctx, dir)
	if err != nil {
		return err
	}
	defer t.close()
	works, unmeasured, err := makeWorkloads(ctx, t, o)
	if err != nil {
		return err
	}
	r := &report{Unmeasured: unmeasured}
	for _, g := range groups(t, works, o) {
		g = g.only(o.Rows)
		g.measure(ctx, o.Pairs, r)
	}
	r.Unmeasured = append(r.Unmeasured, "docker build: no goal is relative to it")
	r.Machine = machine()
	return errors.Join(r.write(os.Stdout), ctx.Err())
}

// newTools builds stagectl, looks for ko and starts the registry.
func newTools(ctx context.Context, dir string) (*tools, error) {
	t := &tools{dir: dir, stagectl: filepath.Join(dir, "bin", "stagectl"+exeSuffix())}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w",
		"-o", t.stagectl, "github.com/stagectl/stagectl/cmd/stagectl")
	if _, err := output(build); err != nil {
		return nil, fmt.Errorf("building stagectl: %w", err)
	}
	// The environment is that of all tools: nothing of the caller's may make
	// one of them do other work than the rest.
	t.env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "KOCACHE=",
		"GOCACHE="+filepath.Join(dir, "go-build"))
	var err error
	if t.ko, err = exec.LookPath("ko"); err != nil {
		t.noKo = "it is not on PATH"
	}
	return t, t.serve(ctx)
}

func exeSuffix() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}
