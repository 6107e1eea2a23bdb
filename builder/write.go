package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/layer"
)

// made is what the cache knows of a layer.
type made struct {
	layer.Info
	Digest v1.Hash `json:"digest"`
	Size   int64   `json:"size"`
}

// write makes the layer, or finds it in the cache by what goes into it.
func (st *stacker) write(ctx context.Context, subject string, files []layer.File) (_ v1.Layer, err error) {
	var total int64
	for _, f := range files {
		total += f.Size
	}
	task := st.Progress.Start(event.Layer, subject, total)
	text := ""
	defer func() { task.End(err, text) }()
	compression := layer.Compression(st.plan.Compression)
	key, err := st.layerKey(ctx, files, compression)
	if err != nil {
		return nil, err
	}
	var known made
	if !st.NoCache && st.Cache.Record(layerRecords, key, &known) {
		if blob, err := st.cached(known.Digest); err == nil && blob.Size == known.Size {
			text = "cached"
			return layerOf(known.Info, blob)
		}
	}
	w, err := st.Cache.Create()
	if err != nil {
		return nil, err
	}
	defer w.Discard()
	for i, f := range files {
		if f.Open != nil {
			files[i].Open = func() (io.ReadCloser, error) {
				rc, err := f.Open()
				if err != nil {
					return nil, err
				}
				return struct {
					io.Reader
					io.Closer
				}{task.Reader(rc), rc}, nil
			}
		}
	}
	place := st.plan.Dir + " " + st.target.key() + " " + subject
	info, err := layer.Write(ctx, w, files, layer.Options{
		Compression: compression, Epoch: st.plan.Epoch, Jobs: st.Jobs, Reuse: st.earlier(place).reuse,
	})
	if err != nil {
		return nil, err
	}
	blob, err := w.Commit()
	if err != nil {
		return nil, err
	}
	if err := st.Cache.SetRecord(layerRecords, key, made{info, blob.Digest, blob.Size}); err != nil {
		return nil, err
	}
	if err := st.remember(place, blob.Digest, info.Blocks); err != nil {
		return nil, err
	}
	return layerOf(info, blob)
}

// cached opens a layer. Its bytes are checked as they are read, if they are:
// most often the registry or the archive has the layer already.
func (s *session) cached(digest v1.Hash) (*cache.Blob, error) {
	if s.verify {
		return s.Cache.Verified(digest)
	}
	return s.Cache.Blob(digest)
}

func layerOf(info layer.Info, blob *cache.Blob) (v1.Layer, error) {
	return layer.New(layer.Blob{Info: info, Digest: blob.Digest, Size: blob.Size, Open: blob.Open})
}

// layerKey sums up all that decides the bytes of a layer.
func (st *stacker) layerKey(ctx context.Context, files []layer.File, c layer.Compression) (string, error) {
	type entry struct {
		Path, Link, Content string
		Mode                fs.FileMode
		UID, GID            int
	}
	key := struct {
		Format      int
		Compression layer.Compression
		Epoch       int64
		Files       []entry
	}{Format: FormatVersion, Compression: c, Epoch: st.plan.Epoch.Unix()}
	for _, f := range files {
		e := entry{Path: f.Path, Link: f.Link, Mode: f.Mode, UID: f.UID, GID: f.GID}
		if e.Content = f.Digest; e.Content == "" && f.Open != nil {
			var err error
			if e.Content, err = contentDigest(ctx, f); err != nil {
				return "", fmt.Errorf("reading %s: %w", f.Path, err)
			}
		}
		key.Files = append(key.Files, e)
	}
	raw, err := json.Marshal(key)
	if err != nil {
		return "", err
	}
	return string(raw), nil
}

func contentDigest(ctx context.Context, f layer.File) (_ string, err error) {
	rc, err := f.Open()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		n, err := rc.Read(buf)
		h.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
}
