package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/stagectl/stagectl/builder/event"
)

// The rules of the progress display:
//
//   - It goes to standard error. Standard output is for the next command.
//   - The build never waits for it. Events change a small state under a lock;
//     one goroutine turns the state into text, at most once a tick.
//   - Lines of the go command (event.Message) come through unchanged, in order
//     and exactly once, however slow the terminal is.
//   - What lasts is written once. What moves is gone after Close.
//   - Text that is not for a terminal has no escape sequence, no carriage
//     return and no colour.

// progress shows the events of a build.
type progress interface {
	// Event takes one event. It is an event.Func: safe for several goroutines,
	// and it does not wait for the output.
	Event(event.Event)
	// Close writes what is left and takes away what is not to stay. Events
	// that come later are never shown. It may be called more than once.
	Close()
}

// progressOptions is what a progress display depends on besides its stream.
type progressOptions struct {
	// Quiet shows nothing at all, whatever the mode is.
	Quiet bool
	// Getenv reads TERM, NO_COLOR and the locale; nil is an empty environment.
	Getenv func(string) string
	// Now is the clock, by default time.Now.
	Now func() time.Time
	// Ticks says when to write, by default ten times a second.
	Ticks <-chan time.Time
	// Size returns the columns and rows of the terminal; by default it asks
	// the stream. It is called for each frame, because windows are resized.
	Size func() (width, height int, err error)
}

// frameInterval is the time between two frames.
const frameInterval = 100 * time.Millisecond

// newProgress returns the display that mode asks for: "tty" (a live region),
// "plain" (lines), "json" (an object a line), or "auto", which is tty on a
// terminal and plain elsewhere.
func newProgress(mode string, w io.Writer, o progressOptions) (progress, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Size == nil {
		o.Size = terminalSize(w)
	}
	if mode == "auto" {
		mode = "plain"
		if o.Size != nil && !dumb(o.Getenv) {
			mode = "tty"
		}
	}
	var v view
	switch mode {
	case "tty":
		if o.Size == nil && !o.Quiet {
			return nil, fmt.Errorf("--progress tty: standard error is not a terminal")
		}
		v = &ttyView{style: newStyle(true, o.Getenv), size: o.Size}
	case "plain":
		v = &plainView{}
	case "json":
		v = &jsonView{}
	default:
		return nil, fmt.Errorf("--progress %q: not one of auto, tty, plain, json", mode)
	}
	if o.Quiet {
		return quiet{}, nil
	}
	if o.Ticks == nil {
		o.Ticks = time.NewTicker(frameInterval).C
	}
	d := &display{now: o.Now, view: v, closing: make(chan struct{}), closed: make(chan struct{})}
	go d.run(w, o.Ticks)
	return d, nil
}

// isTerminal says whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalSize returns the function that asks the terminal w for its size, or
// nil where w is none.
func terminalSize(w io.Writer) func() (width, height int, err error) {
	if !isTerminal(w) {
		return nil
	}
	fd := int(w.(*os.File).Fd())
	return func() (int, int, error) { return term.GetSize(fd) }
}

// quiet is the progress that shows nothing.
type quiet struct{}

func (quiet) Event(event.Event) {}
func (quiet) Close()            {}

// view turns events into text. It does no I/O and has no clock; display calls
// one method at a time.
type view interface {
	event(now time.Time, e event.Event)
	// frame returns what to write now, nil for nothing. The last frame leaves
	// only what is to stay.
	frame(now time.Time, last bool) []byte
}

// display is the progress that writes the frames of a view.
type display struct {
	now func() time.Time

	mu   sync.Mutex
	view view // guarded by mu

	once    sync.Once
	closing chan struct{}
	closed  chan struct{}
}

func (d *display) Event(e event.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.view.event(d.now(), e)
}

func (d *display) Close() {
	d.once.Do(func() { close(d.closing) })
	<-d.closed
}

// run writes a frame at each tick until Close, and then the last one.
func (d *display) run(w io.Writer, ticks <-chan time.Time) {
	defer close(d.closed)
	for last := false; !last; {
		select {
		case <-ticks:
		case <-d.closing:
			last = true
		}
		if frame := d.frame(last); len(frame) > 0 {
			// A stream that cannot be written to is no reason to stop a
			// build, and there is no better place to say so.
			_, _ = w.Write(frame)
		}
	}
}

func (d *display) frame(last bool) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view.frame(d.now(), last)
}

// tasks are the subjects being worked on, in the order in which they started.
// The zero value has none.
type tasks struct {
	running []*task
	byKey   map[taskKey]*task
}

type taskKey struct {
	phase   event.Phase
	subject string
}

// task is one subject being worked on.
type task struct {
	taskKey
	started        time.Time
	current, total int64
	samples        []sample // of the last rateWindow, the oldest first
}

// sample says how many bytes were done at a time.
type sample struct {
	at    time.Time
	bytes int64
}

// The rate of a transfer is its average over a few seconds: long enough to
// read, short enough to show a stall.
const (
	rateWindow  = 3 * time.Second
	sampleEvery = 250 * time.Millisecond
)

// update brings the task of e up to date and returns it. A task that was never
// started starts here, so that no event is lost on a builder's mistake.
func (ts *tasks) update(now time.Time, e event.Event) *task {
	key := taskKey{e.Phase, e.Subject}
	t := ts.byKey[key]
	if t == nil {
		t = &task{taskKey: key, started: now, samples: []sample{{now, 0}}}
		if ts.byKey == nil {
			ts.byKey = map[taskKey]*task{}
		}
		ts.byKey[key] = t
		ts.running = append(ts.running, t)
	}
	t.current, t.total = e.Current, e.Total
	if now.Sub(t.samples[len(t.samples)-1].at) >= sampleEvery {
		t.samples = append(t.samples, sample{now, e.Current})
		for len(t.samples) > 1 && now.Sub(t.samples[0].at) > rateWindow {
			t.samples = t.samples[1:]
		}
	}
	return t
}

// end forgets t.
func (ts *tasks) end(t *task) {
	delete(ts.byKey, t.taskKey)
	ts.running = slices.DeleteFunc(ts.running, func(o *task) bool { return o == t })
}

// rate returns bytes a second, 0 where it is too early to say.
func (t *task) rate(now time.Time) int64 {
	d := now.Sub(t.samples[0].at)
	if d < 2*sampleEvery {
		return 0
	}
	return int64(math.Round(float64(max(0, t.current-t.samples[0].bytes)) / d.Seconds()))
}

// size returns the bytes the task was about: those moved, or else those found
// in their place already.
func (t *task) size() int64 {
	if t.current > 0 {
		return t.current
	}
	return t.total
}
