package builder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/layer"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/rootfs"
)

// stageRecords is the kind of the cache's records of what stages have come to.
const stageRecords = "stages"

// stageVersion changes when the same stage, of a plan, comes to something else.
const stageVersion = 1

// madeLayer is the layer of an instruction, or of a whole stage.
type madeLayer struct {
	// Layer is nil where an instruction changed no file.
	Layer *made `json:"layer,omitempty"`
	// CreatedBy is for the history of an image.
	CreatedBy string `json:"createdBy,omitempty"`
}

// layer makes a layer of what the steps of an instruction changed. Steps that
// come from no instruction of the Dockerfile itself leave no trace in the history.
func (w *worker) layer(ctx context.Context, steps []plan.Step, changes bool) error {
	createdBy := ""
	if pos := steps[0].Position; pos != nil && *pos != fromOf(w.b.Stage) {
		createdBy = pos.Text
		if f := steps[0].Files; f != nil && f.Add {
			createdBy = registry.Redact(createdBy) // what may be in a URL is not for those who get the image
		}
	}
	var files []layer.File
	if changes {
		var err error
		if files, err = changed(w.fs, w.since); err != nil {
			return at(steps[0], err)
		}
		if w.since, err = w.fs.Snapshot(); err != nil {
			return err
		}
	}
	if len(files) == 0 {
		if createdBy != "" {
			w.layers = append(w.layers, image.Layer{CreatedBy: createdBy})
			w.made = append(w.made, madeLayer{CreatedBy: createdBy})
		}
		return nil
	}
	if createdBy == "" {
		createdBy = "FROM " + w.b.Base
	}
	st := &stacker{session: w.session, target: w.target}
	subject := createdBy
	if len(w.target.image.Platforms) > 1 {
		subject += " " + w.target.platform.String()
	}
	l, err := st.write(ctx, subject, files)
	if err != nil {
		return at(steps[0], err)
	}
	m, err := madeOf(l)
	if err != nil {
		return err
	}
	w.layers = append(w.layers, image.Layer{Layer: l, CreatedBy: createdBy})
	w.made = append(w.made, madeLayer{Layer: m, CreatedBy: createdBy})
	return nil
}

// fromOf is the position of the FROM of a stage.
func fromOf(stage plan.Stage) plan.Position {
	if stage.Position == nil {
		return plan.Position{}
	}
	return *stage.Position
}

func madeOf(l v1.Layer) (_ *made, err error) {
	m := &made{}
	if m.Digest, err = l.Digest(); err != nil {
		return nil, err
	}
	if m.DiffID, err = l.DiffID(); err != nil {
		return nil, err
	}
	if m.Size, err = l.Size(); err != nil {
		return nil, err
	}
	m.MediaType, err = l.MediaType()
	return m, err
}

// changed are the files of the layer that leads from a state of a stage to the
// present one.
func changed(f *rootfs.FS, since *rootfs.Snapshot) ([]layer.File, error) {
	var files []layer.File
	real := false
	for c, err := range f.Changes(since) {
		if err != nil {
			return nil, err
		}
		if c.Deleted {
			files = append(files, layer.File{
				Path: c.Whiteout(), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(nil)), nil },
			})
			real = true
			continue
		}
		file := layer.File{Path: c.Path, Mode: c.Mode, UID: c.UID, GID: c.GID, Link: c.Link, Open: c.Open}
		if c.Mode.IsRegular() {
			file.Size = c.Size
		}
		real = true
		files = append(files, file)
	}
	if !real {
		return nil, nil
	}
	return files, nil
}

// known returns what a stage came to the last time that it was the same. The
// content of its layers is only looked at where something copies from it.
func (c *carrier) known(b *built, below func() (rootfs.Tree, error), chain bool) (*outcome, bool) {
	var all []madeLayer
	if c.NoCache || b.key == "" || !c.Cache.Record(stageRecords, c.recordKey(b, chain), &all) {
		return nil, false
	}
	var layers []image.Layer
	for _, m := range all {
		if m.Layer == nil {
			layers = append(layers, image.Layer{CreatedBy: m.CreatedBy})
			continue
		}
		blob, err := c.cached(m.Layer.Digest)
		if err != nil || blob.Size != m.Layer.Size {
			return nil, false
		}
		l, err := layerOf(m.Layer.Info, blob)
		if err != nil {
			return nil, false
		}
		layers = append(layers, image.Layer{Layer: l, CreatedBy: m.CreatedBy})
	}
	tree := sync.OnceValues(func() (rootfs.Tree, error) {
		tree, err := below()
		for _, l := range layers {
			if l.Layer == nil || err != nil {
				continue
			}
			var delta *deltaTree
			if err = c.whole(l.Layer); err != nil {
				break
			}
			if delta, err = c.over(tree, l.Layer, c.temp); err == nil {
				c.closes(delta.delta)
				tree = delta
			}
		}
		if tree == nil && err == nil {
			tree = c.session.imageTree(plan.Scratch, nil, c.temp)
		}
		return tree, err
	})
	if !chain {
		return &outcome{tree: tree}, true
	}
	return &outcome{tree, layers}, true
}

// whole checks the bytes of a layer of the cache whose files are going to be
// looked at: what reads a tar stops before its end, or at the first damage.
func (s *session) whole(l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	_, err = s.Cache.Verified(digest)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", cache.ErrCorrupt, err) // the stage is carried out then
	}
	return err
}

// remember notes what a stage came to. Of one that only feeds others, that is
// one layer which nothing but the cache ever sees.
func (c *carrier) remember(b *built, w *worker) error {
	if b.key == "" {
		return nil
	}
	all := w.made
	if !w.chain {
		files, err := changed(w.fs, nil)
		if err != nil {
			return err
		}
		for _, f := range files {
			if f.Mode.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0 {
				return nil // what has devices is made anew each time
			}
		}
		m, err := c.keep(files)
		if err != nil {
			return err
		}
		all = []madeLayer{{Layer: m}}
	}
	return c.Cache.SetRecord(stageRecords, c.recordKey(b, w.chain), all)
}

// keep writes files as a layer into the cache, as fast as that goes.
func (c *carrier) keep(files []layer.File) (*made, error) {
	w, err := c.Cache.Create()
	if err != nil {
		return nil, err
	}
	defer w.Discard()
	info, err := layer.Write(context.Background(), w, files, layer.Options{
		Compression: layer.Compression{Algorithm: layer.None}, Epoch: c.plan.Epoch, Jobs: c.Jobs,
	})
	if err != nil {
		return nil, err
	}
	blob, err := w.Commit()
	if err != nil {
		return nil, err
	}
	return &made{info, blob.Digest, blob.Size}, nil
}

// recordKey adds to a stage's key what decides the bytes of the layers of an image.
func (c *carrier) recordKey(b *built, chain bool) string {
	key := c.recordKeyOf(b.key)
	if chain {
		key += fmt.Sprintf(" %v %d %s", c.plan.Compression, c.plan.Epoch.Unix(), b.platform)
	}
	return key
}

func (c *carrier) recordKeyOf(key string) string {
	return fmt.Sprintf("v%d.%d %s", stageVersion, FormatVersion, key)
}

// setKey adds to the key of what b is made on all that decides what it comes to.
func (c *carrier) setKey(ctx context.Context, b *built) error {
	if b.key == "" {
		return nil
	}
	h := sha256.New()
	note := func(v any) error {
		raw, err := json.Marshal(v)
		h.Write(append(raw, '\n'))
		return err
	}
	if err := note([]string{b.key, b.platform.String(), fmt.Sprint(c.plan.Epoch.Unix())}); err != nil {
		return err
	}
	for _, step := range b.Steps {
		texts, ok, err := c.inputs(ctx, step)
		if err != nil {
			return at(step, err)
		}
		if !ok {
			b.key = ""
			return nil
		}
		if err := note([]any{step, texts}); err != nil {
			return err
		}
		b.keys = append(b.keys, hex.EncodeToString(h.Sum(nil)))
	}
	b.key = hex.EncodeToString(h.Sum(nil))
	return nil
}

// inputs sum up what a step takes from outside of its stage; false where that is
// not known before it is done.
func (c *carrier) inputs(ctx context.Context, step plan.Step) (sums []string, ok bool, err error) {
	switch {
	case step.Files != nil:
		f := step.Files
		for _, src := range f.Sources {
			if f.Add && isRepository(src) {
				commit, err := c.commitOf(ctx, src, f.Checksum)
				if err != nil {
					return nil, false, err
				}
				sums = append(sums, commit)
				continue
			}
			if f.Add && isURL(src) {
				if f.Checksum != "" {
					continue // nothing else comes of it
				}
				d, err := c.download(ctx, src, "")
				if err != nil {
					return nil, false, err
				}
				sums = append(sums, d.Blob.String())
				continue
			}
			sum, ok, err := c.inputSum(ctx, f.From, f.FromKind, src)
			if !ok || err != nil {
				return nil, ok, err
			}
			sums = append(sums, sum)
		}
	case step.Run != nil:
		host, err := c.golang.Key(ctx, golang.Release(step.Run.Env))
		if err != nil && golang.Release(step.Run.Env) != "" {
			return nil, false, err
		}
		sums = append(sums, host, fmt.Sprint(c.AllowHostExec))
		for _, m := range step.Run.Mounts {
			if m.FromKind == "" {
				continue
			}
			sum, ok, err := c.inputSum(ctx, m.From, m.FromKind, m.Source)
			if !ok || err != nil {
				return nil, ok, err
			}
			sums = append(sums, sum)
		}
	}
	return sums, true, nil
}

func (c *carrier) inputSum(ctx context.Context, from string, kind plan.FromKind, source string) (string, bool, error) {
	switch kind {
	case plan.FromStage:
		key := c.stageOf(from).key
		return key, key != "", nil
	case plan.FromImage:
		if from == plan.Scratch {
			return from, true, nil
		}
		img, err := c.Bases.Image(ctx, from, c.target.platform)
		if err != nil {
			return "", false, err
		}
		digest, err := img.Digest()
		return digest.String(), true, err
	}
	sum, err := c.contextSum(ctx, from, source)
	return sum, true, err
}

// contextSum is the sum of all that a source may stand for in a build context.
func (s *session) contextSum(ctx context.Context, called, source string) (string, error) {
	tree, err := s.contextTree(called)
	if err != nil {
		return "", err
	}
	top := path.Join("/", source)
	for strings.ContainsAny(top, `*?[\`) {
		top = path.Dir(top)
	}
	s.mu.Lock()
	known, ok := s.sums[called+" "+top]
	s.mu.Unlock()
	if ok {
		return known, nil
	}
	at, info, err := rootfs.Resolve(tree, top)
	if err != nil || info == nil {
		return "", err
	}
	h := sha256.New()
	if err := sumTree(ctx, h, tree, *info, at); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sums[called+" "+top] = sum
	return sum, nil
}

// sumTree sums up what is at p and below. A link leads where the sum of another
// path is, or where nothing is taken from: but for the top, none is followed.
func sumTree(ctx context.Context, h io.Writer, tree rootfs.Tree, info rootfs.Info, p string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, err := fmt.Fprintf(h, "%q %v %q %d\n", p, info.Mode, info.Link, info.Size); err != nil {
		return err
	}
	switch {
	case info.IsDir():
		list, err := tree.ReadDir(p)
		if err != nil {
			return err
		}
		for _, below := range list {
			if err := sumTree(ctx, h, tree, below, below.Path); err != nil {
				return err
			}
		}
	case info.Mode.IsRegular():
		digest, err := contentDigest(ctx, layer.File{Open: func() (io.ReadCloser, error) { return tree.Open(p) }})
		if err != nil {
			return err
		}
		_, err = io.WriteString(h, digest+"\n")
		return err
	}
	return nil
}

// allConfig are the changes of the configuration by the stages of the chain.
func (t target) allConfig() []plan.Config {
	var all []plan.Config
	for _, stage := range t.chain() {
		for _, step := range stage.Steps {
			if step.Config != nil {
				all = append(all, *step.Config)
			}
		}
	}
	return slices.Clip(all)
}
