package main

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/stagectl/stagectl/builder/event"
)

// The rules of the JSON display, for programs:
//
//   - One object a line: the event's own fields behind the time. Nothing is
//     shortened; digests and causes are complete.
//   - Started, message, done and failed events are all there. Of the updates
//     there are at most four a second for a task, and the last event carries
//     the final count.

// updateInterval is the shortest time between two updates of one task.
const updateInterval = 250 * time.Millisecond

// jsonView is the view that writes events as JSON.
type jsonView struct {
	said  map[taskKey]time.Time // when the running tasks last had a line
	lines bytes.Buffer          // not yet written
}

// jsonEvent is one line of output.
type jsonEvent struct {
	Time time.Time `json:"time"`
	event.Event
}

func (v *jsonView) event(now time.Time, e event.Event) {
	key := taskKey{e.Phase, e.Subject}
	switch e.State {
	case event.Updated:
		if now.Sub(v.said[key]) < updateInterval || v.lines.Len() > maxBacklog {
			return
		}
		v.say(key, now)
	case event.Started:
		v.say(key, now)
	case event.Done, event.Failed:
		delete(v.said, key)
	}
	enc := json.NewEncoder(&v.lines)
	enc.SetEscapeHTML(false) // "->" in a compiler's message is to stay readable
	_ = enc.Encode(jsonEvent{now.UTC(), e})
}

func (v *jsonView) say(key taskKey, now time.Time) {
	if v.said == nil {
		v.said = map[taskKey]time.Time{}
	}
	v.said[key] = now
}

func (v *jsonView) frame(time.Time, bool) []byte {
	lines := bytes.Clone(v.lines.Bytes())
	v.lines.Reset()
	return lines
}
