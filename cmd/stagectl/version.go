package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder"
)

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Long: `Show the version of stagectl and that of its image format. Two versions of
stagectl with one format make the same digests out of the same sources.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.Stdout, "stagectl %s (image format %d, %s %s/%s)\n",
				version, builder.FormatVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
