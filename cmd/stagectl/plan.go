package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/script"
)

func newPlanCommand(a *app) *cobra.Command {
	o := &buildOptions{}
	var f planShow
	cmd := &cobra.Command{
		Use:   "plan [build's flags] [PACKAGE...] | -f DOCKERFILE [build's flags] [CONTEXT]",
		Short: "Show what build would do",
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.withoutCache(func() error { return a.plan(cmd.Context(), o, args, f) })
		},
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&f.json, "json", false, "show the plan of a Dockerfile as JSON, too")
	cmd.Flags().BoolVar(&f.dockerfile, "dockerfile", false, "print the Dockerfile by which Docker makes the same out of packages")
	cmd.SetHelpFunc(func(*cobra.Command, []string) { _, _ = io.WriteString(a.Stdout, planHelp) })
	return cmd
}

// planShow are the flags that say how a plan is shown.
type planShow struct{ json, dockerfile bool }

func (a *app) plan(ctx context.Context, o *buildOptions, patterns []string, show planShow) error {
	switch {
	case show.dockerfile && o.given():
		return usagef("--dockerfile is for packages: with -f there is a Dockerfile already")
	case show.dockerfile && show.json:
		return usagef("--dockerfile and --json exclude each other")
	}
	w, err := a.prepare(ctx, o, patterns)
	if err != nil {
		return err
	}
	defer w.close()
	w.progress.Close()
	if show.dockerfile {
		return a.printDockerfile(ctx, w)
	}
	if o.given() && !show.json {
		b := builder.Builder{AllowHostExec: o.allowHostExec, Secrets: w.secrets, SSH: w.ssh}
		return a.printFindings(b.Check(w.plan))
	}
	raw, err := json.MarshalIndent(w.plan, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%s\n", raw)
	return err
}

// printFindings has a line for each command of a Dockerfile: where it is, how it
// is carried out, and what it is. Why it cannot be is below it, with each hint
// where it is first of use.
func (a *app) printFindings(all []builder.Finding) error {
	t := table{align: "lll"}
	count := map[script.Class]int{}
	where := 0
	for _, f := range all {
		count[f.Class]++
		where = max(where, textWidth(f.Where()))
		t.add(f.Where(), string(f.Class), cutEnd(oneLine(f.Command), commandWidth, "..."))
	}
	var aligned bytes.Buffer
	if err := t.write(&aligned, ""); err != nil {
		return err
	}
	var b strings.Builder
	hinted := map[string]bool{}
	below := strings.Repeat(" ", where) + gap
	for i, line := range strings.SplitAfter(aligned.String(), "\n") {
		b.WriteString(line)
		if i >= len(all) || all[i].Reason == "" {
			continue
		}
		b.WriteString(below + all[i].Reason + "\n")
		if h := all[i].Hint; h != "" && !hinted[h] {
			hinted[h] = true
			b.WriteString(below + "hint: " + h + "\n")
		}
	}
	missing := ""
	if n := count[builder.Missing]; n > 0 {
		missing = fmt.Sprintf(", %d need a flag", n)
	}
	if n := count[script.Broken]; n > 0 {
		missing += fmt.Sprintf(", %d no scripts", n)
	}
	_, err := fmt.Fprintf(a.Stdout, "%s%d native, %d emulated, %d need a container%s\n",
		&b, count[script.Native], count[script.Emulated], count[script.Container], missing)
	return err
}

// commandWidth is how much of a command a line shows.
const commandWidth = 80
