package builder

import (
	"bytes"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/plan"
)

// secretsOf are the lines of the secrets that a RUN is given, which are not to be
// seen in what it prints.
func (w *worker) secretsOf(run *plan.Run) [][]byte {
	var all [][]byte
	for _, m := range run.Mounts {
		if m.Type != plan.MountSecret {
			continue
		}
		for line := range bytes.Lines(w.Secrets[m.ID]) {
			if line = bytes.TrimSpace(line); len(line) >= leastSecret {
				all = append(all, bytes.Clone(line))
			}
		}
	}
	return all
}

// leastSecret is how short a line of a secret may be for it to be one: a brace of
// a JSON file is none.
const leastSecret = 4

// agentOf is the socket of the ssh agent that a RUN is given.
func (w *worker) agentOf(run *plan.Run) string {
	for _, m := range run.Mounts {
		if m.Type == plan.MountSSH && w.SSH[m.ID] != "" {
			return w.SSH[m.ID]
		}
	}
	return ""
}

// lines passes on what a RUN prints line by line, and keeps the end of it.
type lines struct {
	task    *event.Task
	secrets [][]byte
	rest    []byte
	tail    []byte
	wentOut bool
	// reused is set when what go build makes was made before.
	reused bool
}

// maxTail is how much of a failed RUN's output is shown.
const maxTail = 16 << 10

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.pass(line)
		l.rest = rest
	}
}

// pass shows a line, but for the secrets in it.
func (l *lines) pass(line []byte) {
	for _, secret := range l.secrets {
		line = bytes.ReplaceAll(line, secret, []byte("***"))
	}
	l.tail = append(append(l.tail, line...), '\n')
	if len(l.tail) > 2*maxTail {
		l.tail = append([]byte(nil), l.tail[len(l.tail)-maxTail:]...)
	}
	l.task.Message(string(line))
}

func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.pass(l.rest)
		l.rest = nil
	}
}
