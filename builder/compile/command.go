package compile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"time"

	"github.com/stagectl/stagectl/builder/process"
)

// defaultGrace is how long an interrupted go command has to clean up, and its
// children to close its output.
const defaultGrace = 3 * time.Second

// output is what the go command wrote.
type output struct {
	stdout, stderr []byte
}

// eachLine calls f with the lines of stderr.
func (o output) eachLine(f func(string)) {
	for line := range bytes.Lines(o.stderr) {
		f(string(bytes.TrimSuffix(line, []byte("\n"))))
	}
}

// run runs the go command. Lines that tell of a download are passed on at
// once, and are not part of the output. When ctx ends the error is its cause,
// and neither the go command nor a child of it goes on.
func (c *Compiler) run(ctx context.Context, dir string, env environ, downloading func(line string), args ...string) (output, error) {
	cmd := exec.CommandContext(ctx, or(c.Go, "go"), args...)
	cmd.Dir, cmd.Env = dir, env
	var stdout bytes.Buffer
	stderr := &lineWriter{downloading: downloading}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	if cmd.WaitDelay = c.grace; c.grace == 0 {
		cmd.WaitDelay = defaultGrace
	}
	reap := process.KillTree(cmd)
	err := cmd.Run()
	reap()
	// All is well where only something in the background has the output open.
	if err == nil || ctx.Err() == nil && errors.Is(err, exec.ErrWaitDelay) {
		return output{stdout.Bytes(), stderr.rest()}, nil
	}
	if ctx.Err() != nil {
		return output{}, context.Cause(ctx)
	}
	out := output{stdout.Bytes(), stderr.rest()}
	var exit *exec.ExitError
	switch {
	case tooOld.Match(out.stderr):
		err = ErrTooOld
	case errors.As(err, &exit):
		err = fmt.Errorf("go %s: %w", args[0], err)
	}
	return out, err
}

// tooOld matches what go commands say to a flag of list.go or flags.go that
// they do not know, or to fields of -json where they know that as a switch.
var tooOld = regexp.MustCompile(`\A(flag provided but not defined: -(trimpath|buildvcs)\n|invalid boolean value .* for -json: )`)

// lineWriter passes on download messages and keeps all else.
type lineWriter struct {
	downloading func(line string)
	// partial is a line that has not ended.
	partial, kept []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.partial = append(w.partial, p...)
	for {
		line, rest, ok := bytes.Cut(w.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if bytes.HasPrefix(line, []byte("go: downloading ")) {
			w.downloading(string(line))
		} else {
			w.kept = append(append(w.kept, line...), '\n')
		}
		w.partial = rest
	}
}

// rest is all that was not passed on.
func (w *lineWriter) rest() []byte { return append(w.kept, w.partial...) }
