package event_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/event"
)

func ExampleFunc_Start() {
	var progress event.Func = func(e event.Event) {
		fmt.Printf("%s %s: %s %q\n", e.Phase, e.Subject, e.State, e.Text)
	}
	task := progress.Start(event.Compile, "linux/amd64", 0)
	task.Message("go: downloading golang.org/x/sync v0.24.0")
	task.End(nil, "2 packages")
	// Output:
	// compile linux/amd64: started ""
	// compile linux/amd64: message "go: downloading golang.org/x/sync v0.24.0"
	// compile linux/amd64: done "2 packages"
}

func ExampleTask_Reader() {
	var progress event.Func = func(e event.Event) {
		fmt.Println(e.State, e.Current, "of", e.Total)
	}
	blob := strings.NewReader("a layer")
	task := progress.Start(event.Pull, "sha256:1a2b", blob.Size())
	_, err := io.Copy(io.Discard, task.Reader(blob))
	task.End(err, "")
	// Output:
	// started 0 of 7
	// updated 7 of 7
	// done 7 of 7
}

func TestTask(t *testing.T) {
	tests := []struct {
		name string
		use  func(*event.Task)
		want []event.Event
	}{
		{"done", func(task *event.Task) { task.End(nil, "cached") }, []event.Event{
			{State: event.Done, Text: "cached"},
		}},
		{"failed, text is dropped", func(task *event.Task) { task.End(io.ErrUnexpectedEOF, "cached") }, []event.Event{
			{State: event.Failed, Text: "unexpected EOF"},
		}},
		{"bytes add up", func(task *event.Task) { task.Add(3); task.Add(4); task.End(nil, "") }, []event.Event{
			{State: event.Updated, Current: 3}, {State: event.Updated, Current: 7}, {State: event.Done, Current: 7},
		}},
		{"message is unchanged", func(task *event.Task) { task.Message("\t./main.go:1:2: \r\n") }, []event.Event{
			{State: event.Message, Text: "\t./main.go:1:2: \r\n"},
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var got []event.Event
			tc.use(event.Func(func(e event.Event) { got = append(got, e) }).Start(event.Push, "server:v1", 9))
			want := append([]event.Event{{State: event.Started}}, tc.want...)
			for i := range want {
				want[i].Phase, want[i].Subject, want[i].Total = event.Push, "server:v1", 9
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNilFuncDropsEvents(t *testing.T) {
	task := event.Func(nil).Start(event.Write, "image.tar", 0)
	task.Add(1)
	task.Message("line")
	if got, err := io.ReadAll(task.Reader(strings.NewReader("bytes"))); err != nil || string(got) != "bytes" {
		t.Errorf("read %q, %v", got, err)
	}
	task.End(errors.New("disk full"), "")
}

func TestReaderCountsWhatWasRead(t *testing.T) {
	broken := errors.New("connection reset")
	var last event.Event
	task := event.Func(func(e event.Event) { last = e }).Start(event.Pull, "sha256:1a2b", 100)
	r := task.Reader(io.MultiReader(iotest.OneByteReader(strings.NewReader("12345")), iotest.ErrReader(broken)))
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if last.State != event.Updated || last.Current != 5 {
		t.Errorf("last event %+v", last)
	}
}

func TestJSON(t *testing.T) {
	tests := []struct {
		e    event.Event
		want string
	}{
		{event.Event{Phase: event.Compile, Subject: "linux/amd64", State: event.Started}, `{"phase":"compile","subject":"linux/amd64","state":"started"}`},
		{event.Event{Phase: event.Load, Subject: "docker", State: event.Failed, Current: 1, Total: 2, Text: "no"}, `{"phase":"load","subject":"docker","state":"failed","current":1,"total":2,"text":"no"}`},
	}
	for _, tc := range tests {
		got, err := json.Marshal(tc.e)
		if err != nil || string(got) != tc.want {
			t.Errorf("got %s, %v, want %s", got, err, tc.want)
		}
	}
}
