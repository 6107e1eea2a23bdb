package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

// buildOptions is what a build is told beyond the plan.
type buildOptions struct {
	commonFlags
	planFlags
	outputFlags
	noCache bool
}

func newBuildCommand(a *app) *cobra.Command {
	o := &buildOptions{}
	cmd := &cobra.Command{
		Use:   "build [flags] [PACKAGE...]",
		Short: "Build images out of Go packages",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.build(cmd.Context(), o, args)
		},
	}
	o.register(cmd)
	cmd.SetHelpFunc(func(*cobra.Command, []string) { _, _ = io.WriteString(a.Stdout, buildHelp) })
	return cmd
}

// register adds all flags of build, which plan shares.
func (o *buildOptions) register(cmd *cobra.Command) {
	o.registerRegistry(cmd)
	o.registerPull(cmd)
	o.planFlags.register(cmd)
	o.outputFlags.register(cmd)
	cmd.Flags().BoolVar(&o.noCache, "no-cache", false, "make every layer anew")
}

// workshop is what builds and plans are made with.
type workshop struct {
	cache    *cache.Cache
	client   *registry.Client
	bases    *base.Resolver
	front    *frontEnd
	progress progress
	dir      string
	close    func()
}

// open sets up what o asks for. close ends the progress display and releases
// the cache.
func (a *app) open(o *buildOptions) (*workshop, error) {
	dir, err := a.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the working directory: %w", err)
	}
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	p, err := a.display(&o.commonFlags)
	if err != nil {
		return nil, err
	}
	c, release, err := a.openCache(o.cacheDir)
	if err != nil {
		p.Close()
		return nil, err
	}
	bases := &base.Resolver{Registry: client, Cache: c, Dir: dir, Progress: p.Event}
	return &workshop{
		cache: c, client: client, bases: bases, progress: p, dir: dir,
		front: &frontEnd{
			flags: &o.planFlags, dir: dir, getenv: a.Getenv,
			compiler: a.compiler(&o.commonFlags, c, p.Event), bases: bases,
		},
		close: func() { p.Close(); release() },
	}, nil
}

func (a *app) build(ctx context.Context, o *buildOptions, patterns []string) error {
	if err := o.check(); err != nil {
		return err
	}
	w, err := a.open(o)
	if err != nil {
		return err
	}
	defer w.close()
	outputs, err := o.outputs(a, w)
	if err != nil {
		return err
	}
	p, err := w.front.plan(ctx, patterns)
	if err != nil {
		return err
	}
	if err := o.checkPlan(p); err != nil {
		return err
	}
	b := builder.Builder{
		Compiler: w.front.compiler, Bases: w.bases, Cache: w.cache,
		NoCache: o.noCache, Jobs: o.jobs, Progress: w.progress.Event,
	}
	result, err := b.Build(ctx, p, outputs...)
	if err != nil {
		return err
	}
	if err := o.writeFiles(result); err != nil {
		return err
	}
	w.progress.Close()
	if !o.quiet && o.progress != "json" {
		if err := a.summarize(result, p); err != nil {
			return err
		}
	}
	return a.printWritten(o, result.Written)
}

// printWritten tells the next command what there is. An archive on standard
// output is all that may be there.
func (a *app) printWritten(o *buildOptions, written []output.Written) error {
	if o.toStdout() {
		return nil
	}
	for _, w := range written {
		if _, err := fmt.Fprintln(a.Stdout, w.Where); err != nil {
			return fmt.Errorf("writing to standard output: %w", err)
		}
	}
	return nil
}

func (a *app) summarize(result *builder.Result, p *plan.Plan) error {
	o := summaryOptions{Style: newStyle(isTerminal(a.Stderr), a.Getenv), Next: next(result.Written, p)}
	for _, w := range result.Written {
		out := summaryOutput{What: "wrote", Where: w.Where, Size: w.Size}
		switch w.Kind {
		case "registry":
			out.What = "pushed"
		case "archive", "layout":
			if w.Where == "" {
				out.Where = "standard output"
			}
		default:
			out.What, out.Where = "loaded", w.Where+" into "+w.Kind
		}
		o.Outputs = append(o.Outputs, out)
	}
	return writeSummary(a.Stderr, result.Images, o)
}

// next is the command that someone who just built an image most likely wants.
func next(written []output.Written, p *plan.Plan) string {
	if len(written) != 1 || written[0].Where == "" {
		return ""
	}
	w := written[0]
	if p == nil {
		return "docker run --rm " + w.Where
	}
	img := p.Images[0]
	run := "run --rm" + publish(img) + " " + familiar(img.Tags[0])
	switch w.Kind {
	case "archive":
		load := "docker load < " + w.Where
		if len(p.Images) > 1 {
			return load
		}
		return load + " && docker " + run
	case "layout":
		return "skopeo copy oci:" + w.Where + " docker://registry.example.com/" + img.Name
	case "registry":
		return "docker run --rm" + publish(img) + " " + w.Where
	}
	return w.Kind + " " + run
}

// publish is the -p flags for the ports that the image declares.
func publish(img plan.Image) string {
	var b strings.Builder
	for _, step := range img.Final().Steps {
		if step.Config == nil || len(step.Config.Ports) > 4 {
			continue
		}
		for _, p := range step.Config.Ports {
			port := strings.TrimSuffix(p, "/tcp")
			number, _, _ := strings.Cut(port, "/")
			b.WriteString(" -p " + number + ":" + port)
		}
	}
	return b.String()
}

var (
	errPushNeedsTag = errors.New("--push needs -t: the default name {name}:latest is of no registry of yours")
	errNameNeeded   = errors.New("several images are built, and their -t has no {name}")
)
