package output_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
)

// Layers are closed, and not opened when it is too late for that.
func TestArchiveOpensLayers(t *testing.T) {
	opens, closes := 0, 0
	l := opened{newLayer(t, "server", 1000), func(l v1.Layer) (io.ReadCloser, error) {
		opens++
		rc, err := l.Compressed()
		return closing{rc, func() { closes++ }}, err
	}}
	results := single(t, l)
	archive(t, output.Archive{}, results...)
	if opens != 2 || closes != 2 {
		t.Errorf("the layer was opened %d times, to fetch and to write it, and closed %d times", opens, closes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&output.Archive{Writer: io.Discard}).Write(ctx, results); !errors.Is(err, context.Canceled) || opens != 2 {
		t.Errorf("the layer was opened %d times, %v", opens-2, err)
	}
}

type closing struct {
	io.ReadCloser
	closed func()
}

func (c closing) Close() error {
	c.closed()
	return c.ReadCloser.Close()
}

// Whatever fails, the old file stays, and nothing beside it.
func TestArchiveFails(t *testing.T) {
	l := newLayer(t, "server", 600_000)
	digest := digestOf(t, l).String()
	size, err := l.Size()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancelled, end := context.WithCancelCause(t.Context())
	end(errBoom)
	tests := []struct {
		name  string
		ctx   context.Context //nolint:containedctx // one case
		layer v1.Layer
		want  string
	}{
		{"in the middle of a layer", t.Context(), reader(l, failingAfter(300_000)), "writing FILE: reading " + digest + ": boom"},
		{
			"layer too short", t.Context(),
			reader(l, func(r io.Reader) io.Reader { return io.LimitReader(r, size-1) }),
			fmt.Sprintf("writing FILE: reading %s: it does not have the %d bytes that it is listed with", digest, size),
		},
		{
			"layer too long", t.Context(),
			reader(l, func(r io.Reader) io.Reader { return io.MultiReader(r, strings.NewReader("x")) }),
			fmt.Sprintf("writing FILE: reading %s: it does not have the %d bytes that it is listed with", digest, size),
		},
		{
			"layer that can't be had", t.Context(),
			opened{l, func(v1.Layer) (io.ReadCloser, error) { return nil, errBoom }},
			"fetching layers: reading " + digest + ": boom",
		},
		{
			"layer that can't be had any more", t.Context(),
			secondTime(l, func(io.ReadCloser) (io.ReadCloser, error) { return nil, errBoom }),
			"writing FILE: reading " + digest + ": boom",
		},
		{
			"close of a layer", t.Context(),
			secondTime(l, func(rc io.ReadCloser) (io.ReadCloser, error) { return failingClose{rc}, nil }),
			"writing FILE: reading " + digest + ": boom",
		},
		{"cancelled in the middle", ctx, reader(l, calling(func() { cancel(errBoom) })), "boom"},
		{"cancelled before", cancelled, l, "boom"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "image.tar")
			writeFile(t, file, "old")
			var events recorder
			a := &output.Archive{Path: file, Docker: true, Progress: events.Event}
			written, err := a.Write(tt.ctx, single(t, tt.layer))
			wantError(t, err, strings.ReplaceAll(tt.want, "FILE", file))
			if !errors.Is(err, errBoom) && strings.Contains(tt.want, "boom") || written != nil {
				t.Errorf("written %v, %v", written, err)
			}
			if got := readFile(t, file); got != "old" {
				t.Errorf("the file has now %d bytes", len(got))
			}
			if diff := cmp.Diff([]string{"image.tar"}, tree(t, dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			for _, line := range events.summary() {
				if !strings.Contains(line, "failed") {
					t.Errorf("event %s", line)
				}
			}
		})
	}
}

// secondTime is a layer that is opened with f the second time, after it was
// fetched.
func secondTime(l v1.Layer, f func(io.ReadCloser) (io.ReadCloser, error)) v1.Layer {
	opens := 0
	return opened{l, func(l v1.Layer) (io.ReadCloser, error) {
		rc, err := l.Compressed()
		if opens++; opens == 2 && err == nil {
			return f(rc)
		}
		return rc, err
	}}
}

type failingClose struct{ io.ReadCloser }

func (f failingClose) Close() error { return errors.Join(errBoom, f.ReadCloser.Close()) }

type failingWriter struct {
	n int
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n < 0 {
		return 0, errBoom
	}
	return len(p), nil
}

func TestArchiveWriterFails(t *testing.T) {
	results := single(t, newLayer(t, "server", 600_000))
	whole := len(archive(t, output.Archive{}, results...))
	for _, n := range []int{0, 1000, 300_000, whole - 1} {
		a := &output.Archive{Writer: &failingWriter{n}}
		if _, err := a.Write(t.Context(), results); err == nil || err.Error() != "writing standard output: boom" {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if _, err := (&output.Archive{Writer: &failingWriter{whole}}).Write(t.Context(), results); err != nil {
		t.Errorf("all %d bytes: %v", whole, err)
	}
}

// A write that blocks does not keep the archive from being given up.
func TestArchiveWriterBlocks(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	release := make(chan struct{})
	defer close(release)
	a := &output.Archive{Writer: writerFunc(func([]byte) (int, error) {
		cancel(errBoom)
		<-release
		return 0, io.ErrClosedPipe
	})}
	_, err := a.Write(ctx, single(t))
	wantError(t, err, "boom")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestArchiveMalformed(t *testing.T) {
	r := single(t)[0]
	r.Tags = []string{"no tag"}
	_, err := (&output.Archive{Writer: io.Discard}).Write(t.Context(), []image.Result{r})
	if err == nil || !strings.HasPrefix(err.Error(), "reading image server: repository can only contain the characters") {
		t.Errorf("got %v", err)
	}
	wantError(t, (&output.Archive{}).Check(), "writing standard output: it has neither a path nor a writer")
	if err := (&output.Archive{Writer: io.Discard}).Check(); err != nil {
		t.Error(err)
	}
}
