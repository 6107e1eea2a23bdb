// Package output writes finished images: to archives, OCI layouts, registries
// and engines.
package output

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stagectl/stagectl/builder/registry"
)

// Written says what was written where.
type Written struct {
	// Kind is "archive", "layout", "registry" or the name of an engine.
	Kind string
	// Where is what the next command takes: a path, repository@digest, or
	// name:tag. It is empty for standard output.
	Where string
	// Size in bytes, where a file was written.
	Size int64
	// Unchanged says that all of it was there already.
	Unchanged bool
}

// FamiliarName is a tag as docker shows it: without docker.io and library/.
func FamiliarName(tag name.Tag) string {
	full := registry.Name(tag)
	if short, ok := strings.CutPrefix(full, "docker.io/"); ok {
		return strings.TrimPrefix(short, "library/")
	}
	return full
}

// explain says what err ended, unless it came of the end of ctx. Then the
// cause of that is all there is to say.
func explain(ctx context.Context, doing string, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
