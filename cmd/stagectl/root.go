package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/registry"
)

// app is what commands get from the process. Nothing else in the program
// reads the environment, the clock or the working directory.
type app struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Environ        []string
	Getwd          func() (string, error)
	Now            func() time.Time
}

// errInterrupted stands for whatever failed because of a Ctrl-C or SIGTERM.
var errInterrupted = errors.New("interrupted; nothing half-written was left behind")

// usageError is an error of the caller's, with exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

const rootLong = `stagectl makes container images out of Go packages: what a multi-stage
Docker build makes, without Docker. No daemon, no root.

  stagectl build ./server                 image.tar, for docker load
  stagectl build --load ./server          into the engine that is here
  stagectl build --push -t registry.example.com/team/server:v1 ./server`

func (a *app) main(ctx context.Context, args []string) int {
	cmd := a.command()
	cmd.SetArgs(args)
	cmd.SetOut(a.Stdout)
	cmd.SetErr(a.Stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		err = errInterrupted
	}
	a.printError(err)
	if errors.As(err, &usageError{}) {
		return 2
	}
	return 1
}

func (a *app) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:                        "stagectl",
		Short:                      "Container images out of Go packages, without Docker",
		SuggestionsMinimumDistance: 2,
		Long:                       rootLong,
		SilenceErrors:              true,
		SilenceUsage:               true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				return usagef("unknown command %q: did you mean %s?", args[0], strings.Join(near, " or "))
			}
			return usagef("unknown command %q: `stagectl --help` lists them", args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w: `%s --help` lists the flags", err, cmd.CommandPath())
	})
	cmd.AddCommand(
		newBuildCommand(a), newPlanCommand(a), newPushCommand(a),
		newInspectCommand(a), newCacheCommand(a), newVersionCommand(a),
	)
	return cmd
}

// usageArgs makes the complaints of a cobra argument check usage errors.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%w: `%s --help` shows what it takes", err, cmd.CommandPath())
		}
		return nil
	}
}

// commonFlags are those that several commands have. Each registers the groups
// that it heeds.
type commonFlags struct {
	mirrors, insecure []string
	cacheDir          string
	jobs              int
	offline           bool
	progress          string
	quiet             bool
	// cacheTrouble is why the cache is not used, where that has come out.
	cacheTrouble error
}

// registerPull adds what reading from registries through the cache depends on.
func (f *commonFlags) registerPull(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.mirrors, "registry-mirror", nil, "pull from MIRROR first, as `HOST=MIRROR`, repeatable")
	flags.StringVar(&f.cacheDir, "cache-dir", "", "cache in `DIR` (default stagectl in the user's cache directory)")
	flags.BoolVar(&f.offline, "offline", false, "use no network: bases and modules come from the caches")
}

// registerRegistry adds what any talk with a registry depends on.
func (f *commonFlags) registerRegistry(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.insecure, "insecure-registry", nil, "use plain HTTP or any certificate with `HOST`, repeatable")
	flags.IntVarP(&f.jobs, "jobs", "j", 0, "do `N` things at once (default the number of CPUs)")
	flags.StringVar(&f.progress, "progress", "auto", "show progress on standard error as `MODE`: auto, tty, plain or json")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress and no summary")
	_ = cmd.RegisterFlagCompletionFunc("progress",
		cobra.FixedCompletions([]string{"auto", "tty", "plain", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// display shows progress as the flags say.
func (a *app) display(f *commonFlags) (progress, error) {
	p, err := newProgress(f.progress, a.Stderr, progressOptions{Quiet: f.quiet, Getenv: a.Getenv, Now: a.Now})
	if err != nil {
		return nil, usageError{err}
	}
	return p, nil
}

// client is the one connection to registries that a command has.
func (f *commonFlags) client() (*registry.Client, error) {
	if f.jobs < 0 {
		return nil, usagef("--jobs %d: it is at least 1", f.jobs)
	}
	c := &registry.Client{
		Keychain: authn.DefaultKeychain, Insecure: f.insecure,
		Jobs: f.jobs, UserAgent: "stagectl/" + version, Offline: f.offline,
	}
	for _, s := range f.mirrors {
		m, err := registry.ParseMirror(s)
		if err != nil {
			return nil, usagef("--registry-mirror: %w", err)
		}
		c.Mirrors = append(c.Mirrors, m)
	}
	for _, host := range f.insecure {
		if err := registry.ValidHost(host); err != nil {
			return nil, usagef("--insecure-registry: %w", err)
		}
	}
	return c, nil
}

// compiler returns the compiler with the process's environment. Where that
// has no home, the go command gets its own caches inside ours.
func (a *app) compiler(f *commonFlags, c *cache.Cache, progress event.Func) *compile.Compiler {
	env := a.Environ
	if _, err := userCacheDir(); err != nil && a.Getenv("GOCACHE") == "" {
		env = append(env[:len(env):len(env)], "GOCACHE="+filepath.Join(c.Dir(), "go-build"))
	}
	if homeless() && a.Getenv("GOPATH") == "" {
		env = append(env[:len(env):len(env)], "GOPATH="+filepath.Join(c.Dir(), "go"))
	}
	return &compile.Compiler{Env: env, Outputs: c.Links(), Records: c, Offline: f.offline, Progress: progress}
}
