package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/event"
)

func TestJSON(t *testing.T) {
	l := &lines{&jsonView{}, testTime}
	f := event.Func(l.Event)
	compile := f.Start(event.Compile, "linux/amd64", 0)
	push := f.Start(event.Push, "server:v1", 1000)
	for range 10 {
		l.pass(100 * time.Millisecond)
		push.Add(100)
	}
	compile.Message("./main.go:3:2: cannot use x (<-chan int) as \"y\" & z")
	compile.End(fmt.Errorf("go build: exit status 1"), "")
	push.End(nil, testDigest("ab"))
	want := `{"time":"2024-05-17T12:00:00Z","phase":"compile","subject":"linux/amd64","state":"started"}
{"time":"2024-05-17T12:00:00Z","phase":"push","subject":"server:v1","state":"started","total":1000}
{"time":"2024-05-17T12:00:00.3Z","phase":"push","subject":"server:v1","state":"updated","current":300,"total":1000}
{"time":"2024-05-17T12:00:00.6Z","phase":"push","subject":"server:v1","state":"updated","current":600,"total":1000}
{"time":"2024-05-17T12:00:00.9Z","phase":"push","subject":"server:v1","state":"updated","current":900,"total":1000}
{"time":"2024-05-17T12:00:01Z","phase":"compile","subject":"linux/amd64","state":"message","text":"./main.go:3:2: cannot use x (<-chan int) as \"y\" & z"}
{"time":"2024-05-17T12:00:01Z","phase":"compile","subject":"linux/amd64","state":"failed","text":"go build: exit status 1"}
{"time":"2024-05-17T12:00:01Z","phase":"push","subject":"server:v1","state":"done","current":1000,"total":1000,"text":"` + testDigest("ab") + `"}
`
	got := string(l.frame(l.now, true))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	for line := range strings.Lines(got) {
		var e event.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}
