package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/image"
)

// Engines are the command lines that can load an archive from their standard
// input, in the order in which they are looked for.
var Engines = []string{"docker", "podman", "nerdctl"}

// engineDelay is how long what an ended engine has started may keep its output
// open.
const engineDelay = 5 * time.Second

// errStopped is the cause where an engine was content with a part of the archive.
var errStopped = errors.New("it stopped reading before the end of the archive")

// Engine streams an archive into a container engine through its own command
// line, so that contexts, TLS and ssh work as the user has set them up.
type Engine struct {
	// Name is one of Engines, or empty for the first that is installed.
	Name string
	// Archive describes the stream; its Path, Writer, Docker and Progress are
	// not used.
	Archive Archive
	// Progress is told of the loading.
	Progress event.Func
}

// Check says early that the engine's command line is not there.
func (e *Engine) Check() error {
	_, err := e.find()
	return err
}

func (e *Engine) find() (string, error) {
	names := Engines
	if e.Name != "" {
		names = []string{e.Name}
	}
	for _, n := range names {
		if _, err := exec.LookPath(n); err == nil {
			return n, nil
		}
	}
	return "", fmt.Errorf("loading into an engine: no %s in $PATH", strings.Join(names, ", "))
}

// Write loads the results. The engine is started when all of the content is
// on this machine.
func (e *Engine) Write(ctx context.Context, results []image.Result) ([]Written, error) {
	engine, err := e.find()
	if err != nil {
		return nil, err
	}
	written, err := loaded(engine, results)
	if err != nil {
		return nil, err
	}
	archive := e.Archive
	archive.Docker = true
	c, err := gather(results, archive.Host)
	if err != nil {
		return nil, err
	}
	if err := c.fetch(ctx, archive.Jobs, true); err != nil {
		return nil, explain(ctx, "fetching layers", err)
	}
	task := e.Progress.Start(event.Load, engine, c.size())
	err = explain(ctx, "loading into "+engine, load(ctx, engine, func(ctx context.Context, w io.Writer) error {
		return archive.write(ctx, w, c, task)
	}))
	task.End(err, "")
	if err != nil {
		return nil, err
	}
	return written, nil
}

// loaded lists the tags as the engine shows them.
func loaded(engine string, results []image.Result) ([]Written, error) {
	var written []Written
	for _, r := range results {
		for _, t := range r.Tags {
			tag, err := name.NewTag(t)
			if err != nil {
				return nil, fmt.Errorf("reading image %s: %w", r.Name, err)
			}
			written = append(written, Written{Kind: engine, Where: FamiliarName(tag)})
		}
	}
	return written, nil
}

// load runs the engine on what write writes. If that fails, the engine is
// killed before its input ends, lest it take a part for the whole.
func load(ctx context.Context, engine string, write func(context.Context, io.Writer) error) error {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	cmd := exec.CommandContext(ctx, engine, "load")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Cancel = func() error { return errors.Join(cmd.Process.Kill(), stdin.Close()) }
	cmd.WaitDelay = engineDelay
	if err := cmd.Start(); err != nil {
		return err
	}
	pipe := &watched{w: stdin}
	if err := write(ctx, pipe); err != nil && pipe.err == nil {
		kill()
		_ = cmd.Wait()
		return err
	}
	err = errors.Join(stdin.Close(), cmd.Wait())
	if err == nil && pipe.err != nil {
		err = errStopped
	}
	if words := strings.TrimSpace(said.String()); err != nil && words != "" {
		return fmt.Errorf("%w: %s", err, words)
	}
	return err
}

// watched remembers whether it was the writer that failed.
type watched struct {
	w   io.Writer
	err error
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}
