// Package event is how progress leaves the packages of the build: as values
// handed to one function, never as prints or logs.
package event

import "io"

// Phase names the part of the build an event comes from.
type Phase string

// The phases, in the order in which they usually start.
const (
	Resolve Phase = "resolve" // finding a base
	Compile Phase = "compile" // running the go command
	Run     Phase = "run"     // carrying out a RUN of a Dockerfile
	Layer   Phase = "layer"   // writing and compressing a layer
	Pull    Phase = "pull"    // downloading a base's layer
	Write   Phase = "write"   // writing an archive or a layout
	Push    Phase = "push"    // uploading to a registry
	Load    Phase = "load"    // streaming into an engine
	// Registry has messages only, of registries that are asked again.
	Registry Phase = "registry"
	// Cache has messages only, of a cache that cannot be used.
	Cache Phase = "cache"
)

// State says how far the subject of an event is.
type State string

// The states of a subject: Started comes first, Done or Failed last, Updated
// and Message any number of times in between. What there was nothing to do
// about is just Done.
const (
	Started State = "started"
	Updated State = "updated"
	Message State = "message"
	Done    State = "done"
	Failed  State = "failed"
)

// Event is one step of progress. Phase and Subject together name one thing
// being worked on. Events carry no time: whoever shows them has the clock.
type Event struct {
	Phase Phase `json:"phase"`
	// Subject is what is worked on: "alpine", "linux/amd64", "/app/server",
	// a digest, a file, a reference.
	Subject string `json:"subject"`
	State   State  `json:"state"`
	// Current and Total count bytes; Total is 0 where it is not known.
	Current int64 `json:"current,omitempty"`
	Total   int64 `json:"total,omitempty"`
	// Text explains: why it has to be done when Started, what came out when
	// Done ("cached", "exists", a digest), the cause when Failed, a line of the
	// go command when Message.
	Text string `json:"text,omitempty"`
}

// Func receives events, possibly from several goroutines at once. It must not
// block. A nil Func drops them.
type Func func(Event)

// Start reports that work on subject began and returns its task, whose methods
// report the rest. total is in bytes, 0 where it is not known.
func (f Func) Start(phase Phase, subject string, total int64) *Task {
	t := &Task{f: f, e: Event{Phase: phase, Subject: subject, Total: total}}
	t.send(Started, 0, "")
	return t
}

// StartBecause is Start with the reason why the work has to be done.
func (f Func) StartBecause(phase Phase, subject, why string) *Task {
	t := &Task{f: f, e: Event{Phase: phase, Subject: subject}}
	t.send(Started, 0, why)
	return t
}

// Skip reports that there was nothing to do about subject, and why.
func (f Func) Skip(phase Phase, subject, why string) {
	t := &Task{f: f, e: Event{Phase: phase, Subject: subject}}
	t.send(Done, 0, why)
}

// Task is one subject being worked on. Its methods are for one goroutine.
type Task struct {
	f       Func
	e       Event
	current int64
}

func (t *Task) send(s State, current int64, text string) {
	if t.f == nil {
		return
	}
	e := t.e
	e.State, e.Current, e.Text = s, current, text
	t.f(e)
}

// Add reports n more bytes.
func (t *Task) Add(n int64) {
	t.current += n
	t.send(Updated, t.current, "")
}

// Expect says how many bytes there are in all, where that was not known at the
// start; a negative number still is not.
func (t *Task) Expect(total int64) { t.e.Total = max(total, 0) }

// Message passes on one line of text, unchanged.
func (t *Task) Message(line string) { t.send(Message, t.current, line) }

// End reports the outcome: Failed with err where it is not nil, else Done with text.
func (t *Task) End(err error, text string) {
	if err != nil {
		t.send(Failed, t.current, err.Error())
		return
	}
	t.send(Done, t.current, text)
}

// Reader counts what is read from r.
func (t *Task) Reader(r io.Reader) io.Reader { return &counter{r: r, t: t} }

type counter struct {
	r io.Reader
	t *Task
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.t.Add(int64(n))
	}
	return n, err
}
