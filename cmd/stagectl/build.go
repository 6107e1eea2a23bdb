package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/plan"
)

// buildOptions is what a build is told beyond the plan.
type buildOptions struct {
	commonFlags
	planFlags
	dockerFlags
	outputFlags
	noCache bool
}

func newBuildCommand(a *app) *cobra.Command {
	o := &buildOptions{}
	cmd := &cobra.Command{
		Use:   "build [flags] [PACKAGE...] | -f DOCKERFILE [flags] [CONTEXT]",
		Short: "Build images out of Go packages, or by a Dockerfile",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.toStdout() { // of which a part may be there already
				return a.build(cmd.Context(), o, args)
			}
			return o.withoutCache(func() error { return a.build(cmd.Context(), o, args) })
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
	o.dockerFlags.register(cmd)
	o.outputFlags.register(cmd)
	cmd.Flags().BoolVar(&o.noCache, "no-cache", false, "make every layer anew")
}

func (a *app) build(ctx context.Context, o *buildOptions, patterns []string) error {
	w, err := a.prepare(ctx, o, patterns)
	if err != nil {
		return err
	}
	defer w.close()
	b := builder.Builder{
		Compiler: w.compiler, Bases: w.bases, Cache: w.cache,
		Go: w.golang, AllowHostExec: o.allowHostExec, Offline: o.offline,
		NoCache: o.noCache, Jobs: o.jobs, Files: w.client,
		Secrets: w.secrets, SSH: w.ssh, Progress: w.progress.Event,
	}
	result, err := b.Build(ctx, w.plan, w.outputs...)
	if re := (*builder.RunError)(nil); o.quiet && errors.As(err, &re) {
		_, _ = a.Stderr.Write(re.Output) // which otherwise was there already
	}
	if err != nil {
		return err
	}
	left, err := leftBehindOf(w.plan, w.sizes, result.Images[0].Images[0])
	if err != nil {
		return err
	}
	if err := o.writeFiles(result, left); err != nil {
		return err
	}
	w.progress.Close()
	if !o.quiet && o.progress != "json" {
		if err := a.summarize(result, w.plan, left); err != nil {
			return err
		}
	}
	if o.toStdout() {
		return nil // an archive is all that may be there
	}
	return a.printWritten(result.Written)
}

// printWritten tells the next command what there is.
func (a *app) printWritten(written []output.Written) error {
	for _, w := range written {
		if _, err := fmt.Fprintln(a.Stdout, w.Where); err != nil {
			return fmt.Errorf("writing to standard output: %w", err)
		}
	}
	return nil
}

func (a *app) summarize(result *builder.Result, p *plan.Plan, left *leftBehind) error {
	o := summaryOptions{Left: left, Style: newStyle(isTerminal(a.Stderr), a.Getenv), Next: next(result.Written, p)}
	for _, w := range result.Written {
		out := summaryOutput{What: "wrote", Where: w.Where, Size: w.Size}
		if w.Unchanged {
			out.What = "unchanged:"
		}
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
	for _, step := range img.Final(img.Platforms[0]).Steps {
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
