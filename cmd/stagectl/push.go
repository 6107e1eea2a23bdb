package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/registry"
)

func newPushCommand(a *app) *cobra.Command {
	f := &commonFlags{}
	cmd := &cobra.Command{
		Use:   "push [flags] ARCHIVE|LAYOUT REF...",
		Short: "Push what an earlier step built",
		Long: `Push the image in an archive or an OCI layout under one or more references, as
it is: the digest stays the same. Where there are several images, the
references have {name} in them, which stands for the name of each.

Standard output gets one line a repository: repository@sha256:….`,
		Args: usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.push(cmd.Context(), f, args[0], args[1:])
		},
	}
	f.registerRegistry(cmd)
	return cmd
}

func (a *app) push(ctx context.Context, f *commonFlags, file string, refs []string) error {
	client, err := f.client()
	if err != nil {
		return err
	}
	opened, err := image.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }()
	results, err := pushResults(opened, refs)
	if err != nil {
		return err
	}
	p, err := a.display(f)
	if err != nil {
		return err
	}
	defer p.Close()
	client.Progress = p.Event
	to := &output.Registry{Client: client, Jobs: max(f.jobs, 4), Progress: p.Event}
	written, err := to.Write(ctx, results)
	if err != nil {
		return err
	}
	p.Close()
	if !f.quiet && f.progress != "json" {
		if err := a.summarize(&builder.Result{Images: results, Written: written}, nil, nil); err != nil {
			return err
		}
	}
	return a.printWritten(written)
}

// pushResults are the images of the file under the references.
func pushResults(f *image.File, refs []string) ([]image.Result, error) {
	var results []image.Result
	for i, o := range f.Images {
		if len(o.Incomplete) > 0 {
			return nil, fmt.Errorf("pushing %s: %w", f.Path, o.Incomplete[0].Cause)
		}
		// An image of several names is in the file once for each.
		if i > 0 && o.Digest() == f.Images[i-1].Digest() {
			continue
		}
		r := image.Result{Name: openedName(o, i), Images: o.Images, Index: o.Index}
		for _, ref := range refs {
			if len(f.Images) > 1 && !strings.Contains(ref, nameHolder) {
				return nil, usageError{fmt.Errorf("%s holds %d images: %w", f.Path, len(f.Images), errNameNeeded)}
			}
			full := strings.ReplaceAll(ref, nameHolder, r.Name)
			if err := registry.CheckUserInfo(full); err != nil {
				return nil, usagef("malformed reference: %w", err)
			}
			if strings.Contains(full, "@") {
				return nil, usagef("malformed reference %q: a push needs a tag, not a digest", ref)
			}
			tag, err := name.NewTag(full)
			if err != nil {
				return nil, usagef("malformed reference %q: %w", full, err)
			}
			r.Tags = append(r.Tags, output.FamiliarName(tag))
		}
		results = append(results, r)
	}
	if len(results) == 0 {
		return nil, errors.New("there is no image in it")
	}
	return results, nil
}

// openedName is the last part of the repository's name.
func openedName(o image.Opened, i int) string {
	for _, n := range o.Names {
		if tag, err := name.NewTag(n); err == nil {
			return path.Base(tag.RepositoryStr())
		}
	}
	return fmt.Sprintf("image-%d", i+1)
}
