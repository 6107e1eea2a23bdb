package main

import (
	"strings"
	"time"

	"github.com/stagectl/stagectl/builder/event"
)

// The rules of the plain display, for logs and pipes:
//
//   - Every task ends with one line: "phase subject: outcome, size, time".
//   - Only what may take long has a line before that: compiling when it
//     starts, with the reason why, a transfer when its first bytes move. What turns out to be
//     there already has only its last line.
//   - A transfer says 25%, 50% and 75%, but is silent for quietPeriod after
//     each line, so that only a slow one does.

// quietPeriod is the shortest time between two lines about one transfer.
const quietPeriod = 2 * time.Second

// maxBacklog is how many bytes may wait for a slow reader before lines that
// only say how far a task is are left out.
const maxBacklog = 64 << 10

// plainView is the view that writes lines.
type plainView struct {
	tasks tasks
	said  map[*task]lastLine
	lines []byte // not yet written
}

// lastLine is what a task's last line said.
type lastLine struct {
	at      time.Time
	quarter int64 // of the transfer
}

func (v *plainView) event(now time.Time, e event.Event) {
	if e.State == event.Message {
		v.lines = appendMessage(v.lines, e.Text)
		return
	}
	t := v.tasks.update(now, e)
	switch e.State {
	case event.Started:
		if t.phase == event.Compile {
			v.line(t, strings.TrimSuffix("started, "+oneLine(e.Text), ", "))
		}
	case event.Updated:
		v.updated(now, t)
	case event.Done, event.Failed:
		v.line(t, plainOutcome(now, t, e)...)
		v.tasks.end(t)
		delete(v.said, t)
	}
}

// updated says that a transfer started, or that it came past a quarter.
func (v *plainView) updated(now time.Time, t *task) {
	switch t.phase {
	case event.Pull, event.Push, event.Load:
	default:
		return
	}
	var quarter int64
	if t.total > 0 {
		quarter = t.current * 4 / t.total
	}
	last, started := v.said[t]
	switch {
	case !started && t.total > 0:
		v.line(t, "started", formatSize(t.total))
	case !started:
		v.line(t, "started")
	case quarter <= last.quarter, quarter > 3, now.Sub(last.at) < quietPeriod, len(v.lines) > maxBacklog:
		return
	default:
		facts := []string{formatPercent(t.current, t.total), formatRatio(t.current, t.total)}
		if rate := t.rate(now); rate > 0 {
			facts = append(facts, formatRate(rate))
		}
		v.line(t, facts...)
	}
	if v.said == nil {
		v.said = map[*task]lastLine{}
	}
	v.said[t] = lastLine{now, quarter}
}

// plainOutcome returns what the last line of t says.
func plainOutcome(now time.Time, t *task, e event.Event) []string {
	facts := []string{"done"}
	switch {
	case e.State == event.Failed && canceled(e):
		facts[0] = "canceled"
	case e.State == event.Failed:
		facts[0] = "failed" // what with, the command says at its end
	case e.Text != "":
		facts[0] = shortDigests(oneLine(e.Text))
	}
	if size := t.size(); size > 0 && e.State == event.Done {
		facts = append(facts, formatSize(size))
	}
	if elapsed := now.Sub(t.started); elapsed >= frameInterval {
		facts = append(facts, formatElapsed(elapsed))
	}
	return facts
}

// line adds "phase subject: fact, fact".
func (v *plainView) line(t *task, facts ...string) {
	v.lines = append(v.lines, string(t.phase)+" "+shortDigests(oneLine(t.subject))+": "+strings.Join(facts, ", ")+"\n"...)
}

func (v *plainView) frame(time.Time, bool) []byte {
	lines := v.lines
	v.lines = nil
	return lines
}

// appendMessage adds a line of the go command as it is.
func appendMessage(b []byte, text string) []byte {
	b = append(b, text...)
	if !strings.HasSuffix(text, "\n") {
		b = append(b, '\n')
	}
	return b
}
