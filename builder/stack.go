package builder

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/layer"
	"github.com/stagectl/stagectl/builder/plan"
)

const (
	// appDir is where binaries go unless told otherwise. An entry for it is
	// always written, so that the base's tree need not be read for it.
	appDir = "/app"
	// treeRecords and layerRecords are kinds of cache records.
	treeRecords  = "entries"
	layerRecords = "layers"
	// treeVersion changes when a record of entries could be wrong, or has others.
	treeVersion = 1
)

// stacker makes the layers of one target.
type stacker struct {
	*session
	target   target
	base     *base.Image
	binaries *binaries
	// entries of the base's layers, read when first needed, then those made.
	entries [][]image.Entry
	loaded  bool
	// roots are the directories that files of the context are read from.
	roots []*os.Root
}

// stack makes one layer for each copy step of the last stage.
func (st *stacker) stack(ctx context.Context) ([]image.Layer, error) {
	defer func() {
		for _, root := range st.roots {
			_ = root.Close()
		}
	}()
	var layers []image.Layer
	for _, step := range st.target.final().Steps {
		if step.Copy == nil {
			continue
		}
		l, err := st.copy(ctx, step.Copy)
		if err != nil {
			return nil, fmt.Errorf("copying %s to %s: %w", step.Copy.Source, step.Copy.Dest, err)
		}
		layers = append(layers, *l)
	}
	return layers, nil
}

func (st *stacker) copy(ctx context.Context, c *plan.Copy) (*image.Layer, error) {
	var files []layer.File
	var err error
	if c.From == "" {
		files, err = st.contextFiles(c)
	} else {
		files, err = st.stageFiles(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	if files, err = st.place(files, c); err != nil {
		return nil, err
	}
	l, err := st.write(ctx, st.subject(c), files)
	if err != nil {
		return nil, err
	}
	st.entries = append(st.entries, entriesOf(files))
	return &image.Layer{Layer: l, CreatedBy: createdBy(c)}, nil
}

// subject names a layer in the progress: by its path, and by the image and the
// platform where that leaves it open.
func (st *stacker) subject(c *plan.Copy) string {
	subject := c.Dest
	if len(st.plan.Images) > 1 && c.From == "" {
		subject = st.target.image.Name + " " + subject
	}
	if len(st.target.image.Platforms) > 1 {
		subject += " " + st.target.platform.String()
	}
	return subject
}

func createdBy(c *plan.Copy) string {
	if c.From != "" {
		return fmt.Sprintf("COPY --from=%s %s %s", c.From, c.Source, c.Dest)
	}
	source := c.Source
	if filepath.IsAbs(source) {
		source = filepath.Base(source) // where it was is a fact of the host
	}
	return fmt.Sprintf("COPY %s %s", filepath.ToSlash(source), c.Dest)
}

// stageFiles is a binary that an earlier stage compiled.
func (st *stacker) stageFiles(ctx context.Context, c *plan.Copy) ([]layer.File, error) {
	b, err := st.binaries.wait(ctx, st.target, c.From, c.Source)
	if err != nil {
		return nil, err
	}
	if err := st.checkInterpreter(b); err != nil {
		return nil, err
	}
	mode, dest := fs.FileMode(0o755), path.Clean(c.Dest)
	if c.Mode != nil {
		mode = *c.Mode
	}
	if strings.HasSuffix(c.Dest, "/") {
		dest = path.Join(dest, path.Base(c.Source))
	}
	return []layer.File{{
		Path: dest, Mode: mode, UID: c.UID, GID: c.GID, Size: b.Size, Digest: b.Digest,
		Open: func() (io.ReadCloser, error) { return b.Open(ctx) },
	}}, nil
}

// DynamicError is returned for a binary that the base cannot start.
type DynamicError struct {
	// Interpreter that the binary asks for and the base does not have.
	Interpreter string
	Base        string
}

func (e *DynamicError) Error() string {
	return fmt.Sprintf("the binary is dynamically linked and needs %s, which base %s does not have", e.Interpreter, e.Base)
}

func (st *stacker) checkInterpreter(b compile.Binary) error {
	if b.Interpreter == "" || st.target.image.AllowDynamic {
		return nil
	}
	tree, err := st.tree()
	if err != nil {
		return err
	}
	e, ok, err := tree.Stat(b.Interpreter)
	if err != nil {
		return err
	}
	if !ok || e.Type != tar.TypeReg {
		return &DynamicError{Interpreter: b.Interpreter, Base: st.target.final().Base}
	}
	return nil
}
