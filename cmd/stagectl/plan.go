package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newPlanCommand(a *app) *cobra.Command {
	o := &buildOptions{}
	cmd := &cobra.Command{
		Use:   "plan [build's flags] [PACKAGE...]",
		Short: "Show as JSON what build would do",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.plan(cmd.Context(), o, args)
		},
	}
	o.register(cmd)
	cmd.SetHelpFunc(func(*cobra.Command, []string) { _, _ = io.WriteString(a.Stdout, planHelp) })
	return cmd
}

func (a *app) plan(ctx context.Context, o *buildOptions, patterns []string) error {
	w, err := a.prepare(ctx, o, patterns)
	if err != nil {
		return err
	}
	defer w.close()
	w.progress.Close()
	raw, err := json.MarshalIndent(w.plan, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%s\n", raw)
	return err
}
