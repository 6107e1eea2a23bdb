package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder/cache"
)

func newCacheCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Show or prune what builds have cached",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q of cache: there are du and prune", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	dir := cmd.PersistentFlags().String("cache-dir", "", "cache `DIR`, by default stagectl in the user's cache directory")
	cmd.AddCommand(newCacheDuCommand(a, dir), newCachePruneCommand(a, dir))
	return cmd
}

func newCacheDuCommand(a *app, dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "du",
		Short: "Show what the cache takes",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, release, err := a.openCache(cmd.Context(), *dir)
			if err != nil {
				return err
			}
			defer release()
			usage, err := c.Usage()
			if err != nil {
				return err
			}
			return a.printUsage(c, usage)
		},
	}
}

// parts explains the parts of a cache.
var parts = map[string]string{
	"blobs":   "layers, manifests and configs",
	"records": "what is known about them",
	"links":   "binaries, so that they are not linked again",
	"tmp":     "being written, or left by a build that was killed",
}

func (a *app) printUsage(c *cache.Cache, usage []cache.Usage) error {
	t := table{align: "lrrl"}
	var files int
	var bytes int64
	for _, u := range usage {
		t.add(u.Name, strconv.Itoa(u.Files), formatSize(u.Bytes), parts[u.Name])
		files, bytes = files+u.Files, bytes+u.Bytes
	}
	t.add("total", strconv.Itoa(files), formatSize(bytes), c.Dir())
	return t.write(a.Stdout, "")
}

func newCachePruneCommand(a *app, dir *string) *cobra.Command {
	var olderThan, keepSize string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what the cache does not need",
		Long: `Remove what was not used for a while or is more than the cache may take, the
longest unused first. Without flags, all of it. Nothing but time is lost.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			policy := cache.Policy{}
			if olderThan != "" {
				age, err := parseAge(olderThan)
				if err != nil {
					return err
				}
				policy = cache.Policy{UnusedSince: a.Now().Add(-age), KeepBytes: -1}
			}
			if keepSize != "" {
				n, err := parseSize(keepSize)
				if err != nil {
					return err
				}
				policy.KeepBytes = n
			}
			return a.prune(cmd.Context(), *dir, policy)
		},
	}
	cmd.Flags().StringVar(&olderThan, "older-than", "", "remove what was not used for `AGE`, as 36h or 30d")
	cmd.Flags().StringVar(&keepSize, "keep-size", "", "keep at most `SIZE`, as 500MB or 2GB")
	return cmd
}

// patience is how long a prune waits without a word.
const patience = time.Second

func (a *app) prune(ctx context.Context, dir string, policy cache.Policy) error {
	c, release, err := a.openCache(ctx, dir)
	if err != nil {
		return err
	}
	release() // Prune waits for whoever uses the cache
	notice := time.AfterFunc(patience, func() {
		_, _ = fmt.Fprintln(a.Stderr, "waiting for the end of the builds that use the cache")
	})
	policy.Locked = func() { notice.Stop() }
	defer notice.Stop()
	removed, err := c.Prune(ctx, policy)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "removed %d files, %s\n", removed.Files, formatSize(removed.Bytes))
	return err
}

func parseAge(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int64
		n, err = strconv.ParseInt(days, 10, 17) // 179 years, which a time.Duration holds
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < 0 {
		return 0, usagef("--older-than %q: it is an age as 36h or 30d", s)
	}
	return d, nil
}

func parseSize(s string) (int64, error) {
	units := []struct {
		name string
		size float64
	}{{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1}}
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if size := n * u.size; err != nil || !(size >= 0 && size <= 1e18) { // NaN is neither
			break
		}
		return int64(n * u.size), nil
	}
	return 0, usagef("--keep-size %q: it is a size as 500MB or 2GB", s)
}
