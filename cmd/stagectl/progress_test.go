package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/event"
)

// testTime is the time at which tests start.
var testTime = time.Date(2024, 5, 17, 12, 0, 0, 0, time.UTC)

// testEnv returns the lookup of an environment of KEY=VALUE, the last one winning.
func testEnv(env ...string) func(string) string {
	return func(key string) string {
		value := ""
		for _, e := range env {
			if k, v, _ := strings.Cut(e, "="); k == key {
				value = v
			}
		}
		return value
	}
}

// testDigest returns a digest that repeats two digits.
func testDigest(digits string) string { return "sha256:" + strings.Repeat(digits, 32) }

func TestNewProgressModes(t *testing.T) {
	terminal := func() (int, int, error) { return 80, 24, nil }
	tests := []struct {
		name, mode string
		o          progressOptions
		want       string // the type of the view
		err        string
	}{
		{name: "auto, terminal", mode: "auto", o: progressOptions{Size: terminal, Getenv: testEnv("TERM=xterm")}, want: "*main.ttyView"},
		{name: "auto, dumb terminal", mode: "auto", o: progressOptions{Size: terminal, Getenv: testEnv("TERM=dumb")}, want: "*main.plainView"},
		{name: "auto, no TERM", mode: "auto", o: progressOptions{Size: terminal}, want: "*main.plainView"},
		{name: "auto, pipe", mode: "auto", o: progressOptions{Getenv: testEnv("TERM=xterm")}, want: "*main.plainView"},
		{name: "tty, terminal", mode: "tty", o: progressOptions{Size: terminal, Getenv: testEnv("TERM=dumb")}, want: "*main.ttyView"},
		{name: "tty, pipe", mode: "tty", err: "--progress tty: standard error is not a terminal"},
		{name: "plain", mode: "plain", o: progressOptions{Size: terminal}, want: "*main.plainView"},
		{name: "json", mode: "json", want: "*main.jsonView"},
		{name: "quiet", mode: "tty", o: progressOptions{Quiet: true}, want: "main.quiet"},
		{name: "unknown", mode: "fancy", o: progressOptions{Quiet: true}, err: `--progress "fancy": not one of auto, tty, plain, json`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			p, err := newProgress(tc.mode, io.Discard, tc.o)
			if err != nil || tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			defer p.Close()
			got := fmt.Sprintf("%T", p)
			if d, ok := p.(*display); ok {
				got = fmt.Sprintf("%T", d.view)
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestQuietWritesNothing(t *testing.T) {
	var out bytes.Buffer
	p, err := newProgress("plain", &out, progressOptions{Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	task := event.Func(p.Event).Start(event.Compile, "linux/amd64", 0)
	task.Message("go: downloading")
	task.End(io.EOF, "")
	p.Close()
	if out.Len() > 0 {
		t.Errorf("wrote %q", out.String())
	}
}

// pipe is a stream whose reader decides when a Write returns.
type pipe struct {
	entered chan string   // what a Write was given
	leave   chan struct{} // lets it return
}

func (p pipe) Write(b []byte) (int, error) {
	p.entered <- string(b)
	<-p.leave
	return len(b), nil
}

func TestEventsDoNotWaitForASlowReader(t *testing.T) {
	out := pipe{make(chan string), make(chan struct{})}
	ticks := make(chan time.Time)
	p, err := newProgress("plain", out, progressOptions{Ticks: ticks, Now: func() time.Time { return testTime }})
	if err != nil {
		t.Fatal(err)
	}
	message := func(text string) { p.Event(event.Event{State: event.Message, Text: text}) }
	message("first")
	ticks <- testTime
	if got := <-out.entered; got != "first\n" {
		t.Errorf("first write is %q", got)
	}
	// The Write has not returned, and does not until all events are in.
	want := ""
	for i := range 1000 {
		message(fmt.Sprint("line ", i))
		want += fmt.Sprintf("line %d\n", i)
	}
	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	out.leave <- struct{}{}
	if diff := cmp.Diff(want, <-out.entered); diff != "" {
		t.Errorf("second write (-want +got):\n%s", diff)
	}
	out.leave <- struct{}{}
	<-closed
	message("too late")
	p.Close()
}

func TestWritesAreTickDriven(t *testing.T) {
	var out bytes.Buffer
	ticks := make(chan time.Time)
	p, err := newProgress("plain", &out, progressOptions{Ticks: ticks, Now: func() time.Time { return testTime }})
	if err != nil {
		t.Fatal(err)
	}
	p.Event(event.Event{State: event.Message, Text: "one"})
	ticks <- testTime
	ticks <- testTime // taken only after the frame of the first one was written
	if got := out.String(); got != "one\n" {
		t.Errorf("after the tick: %q", got)
	}
	p.Event(event.Event{State: event.Message, Text: "two"})
	p.Close()
	if got := out.String(); got != "one\ntwo\n" {
		t.Errorf("after Close: %q", got)
	}
}

// TestConcurrentTasks is for the race detector; and no event may be lost.
func TestConcurrentTasks(t *testing.T) {
	const workers, each = 16, 20
	for _, mode := range []string{"tty", "plain", "json"} {
		t.Run(mode, func(t *testing.T) {
			var out bytes.Buffer
			ticks, done := make(chan time.Time), make(chan struct{})
			p, err := newProgress(mode, &out, progressOptions{
				Ticks:  ticks,
				Size:   func() (int, int, error) { return 80, 24, nil },
				Getenv: testEnv("TERM=xterm"),
			})
			if err != nil {
				t.Fatal(err)
			}
			var work, ticker sync.WaitGroup
			for w := range workers {
				work.Go(func() {
					for i := range each {
						task := event.Func(p.Event).Start(event.Layer, fmt.Sprintf("<%d.%d>", w, i), 100)
						_, _ = io.Copy(io.Discard, task.Reader(strings.NewReader("some bytes")))
						task.Message(fmt.Sprintf("[%d.%d]", w, i))
						task.End(nil, "finished")
					}
				})
			}
			ticker.Go(func() {
				for {
					select {
					case ticks <- testTime:
					case <-done:
						return
					}
				}
			})
			work.Wait()
			p.Close()
			close(done)
			ticker.Wait()
			for _, text := range []string{"[0.0]", "[15.19]"} {
				if n := strings.Count(out.String(), text); n != 1 {
					t.Errorf("message %s is there %d times", text, n)
				}
			}
			if n := strings.Count(out.String(), "finished"); n != workers*each {
				t.Errorf("%d tasks finished, want %d", n, workers*each)
			}
		})
	}
}

func TestTaskRate(t *testing.T) {
	var ts tasks
	start := event.Event{Phase: event.Pull, Subject: "x", State: event.Started}
	task := ts.update(testTime, start)
	rates := []int64{}
	for i := range 100 { // 1 MB/s for five seconds, then 2 MB/s
		now := testTime.Add(time.Duration(i+1) * 100 * time.Millisecond)
		bytes := int64(100_000)
		if i >= 50 {
			bytes = 200_000
		}
		e := start
		e.State, e.Current = event.Updated, task.current+bytes
		ts.update(now, e)
		if i%20 == 1 {
			rates = append(rates, task.rate(now))
		}
	}
	// Too early, steady, steady, changing, steady again.
	want := []int64{0, 1_000_000, 1_000_000, 1_375_000, 2_000_000}
	if diff := cmp.Diff(want, rates); diff != "" {
		t.Errorf("rates (-want +got):\n%s", diff)
	}
	ts.update(testTime.Add(11*time.Second), start) // started over
	if rate := task.rate(testTime.Add(11 * time.Second)); rate != 0 {
		t.Errorf("rate %d after a restart", rate)
	}
	if len(task.samples) > int(rateWindow/sampleEvery)+1 {
		t.Errorf("%d samples kept", len(task.samples))
	}
}

// lines drives a view of lines with a clock that moves by hand.
type lines struct {
	view
	now time.Time
}

func (l *lines) Event(e event.Event) { l.event(l.now, e) }

func (l *lines) pass(d time.Duration) { l.now = l.now.Add(d) }

// TestBacklog checks that a reader who stopped reading costs no more memory
// than the lines that must not be lost.
func TestBacklog(t *testing.T) {
	for name, v := range map[string]view{"plain": &plainView{}, "json": &jsonView{}} {
		t.Run(name, func(t *testing.T) {
			l := &lines{v, testTime}
			f := event.Func(l.Event)
			for i := range 10_000 {
				task := f.Start(event.Push, fmt.Sprint("server-", i%7), 100)
				l.pass(time.Minute)
				task.Add(20)
				l.pass(time.Minute)
				task.Add(20)
			}
			f.Start(event.Push, "last", 0).End(nil, "")
			got := string(l.frame(l.now, true))
			if updates := strings.Count(got, "40"); updates == 0 || updates > 2000 {
				t.Errorf("%d updates kept", updates)
			}
			if !strings.Contains(got, "last") {
				t.Error("the end of a task is lost")
			}
		})
	}
}

// vterm is the part of a terminal that the display relies on: rows that wrap,
// scroll and are wrapped anew when the width changes, and a few sequences.
type vterm struct {
	t             *testing.T
	width, height int
	rows          []vtermRow // the scrollback and the screen
	x, y          int        // y counts from the first row of the scrollback
	hidden        bool
	writes        int
}

type vtermRow struct {
	cells   []rune // a wide rune is followed by a 0
	wrapped bool   // continues in the next row
}

func newVterm(t *testing.T, width, height int) *vterm {
	return &vterm{t: t, width: width, height: height, rows: make([]vtermRow, 1)}
}

var (
	vtermSequence = regexp.MustCompile(`^\x1b\[(\??[0-9;]*)([A-Za-z])`)
	vtermSGR      = regexp.MustCompile(`\x1b\[[0-9;]*m`)
)

func (v *vterm) Write(p []byte) (int, error) {
	v.writes++
	for s := string(p); s != ""; {
		if s[0] == '\x1b' {
			if m := vtermSequence.FindStringSubmatch(s); m != nil {
				v.sequence(m[1], m[2])
				s = s[len(m[0]):]
				continue
			}
		}
		r, n := utf8.DecodeRuneInString(s)
		v.put(r)
		s = s[n:]
	}
	return len(p), nil
}

func (v *vterm) sequence(params, final string) {
	row := &v.rows[v.y]
	switch params + final {
	case "?25l":
		v.hidden = true
	case "?25h":
		v.hidden = false
	case "K":
		// With a wrap pending, the cursor is still on the last column.
		row.cells = row.cells[:min(len(row.cells), v.x, v.width-1)]
	case "2K":
		*row = vtermRow{}
	default:
		switch n, err := strconv.Atoi("0" + params); {
		case final == "m":
		case final == "A" && err == nil:
			v.y = max(len(v.rows)-v.height, v.y-max(1, n), 0)
		default:
			v.t.Errorf("unexpected escape sequence %q", params+final)
		}
	}
}

func (v *vterm) put(r rune) {
	switch {
	case r == '\n': // the tty driver makes it a carriage return and a line feed
		v.x = 0
		v.down()
		return
	case r == '\r':
		v.x = 0
		return
	case r < ' ':
		v.t.Errorf("unexpected control character %q", r)
		return
	}
	cells := []rune{r}
	if r >= '一' && r <= '鿿' {
		cells = append(cells, 0)
	}
	if v.x+len(cells) > v.width {
		v.rows[v.y].wrapped = true
		v.x = 0
		v.down()
	}
	row := &v.rows[v.y]
	for len(row.cells) < v.x+len(cells) {
		row.cells = append(row.cells, ' ')
	}
	copy(row.cells[v.x:], cells)
	v.x += len(cells)
}

func (v *vterm) down() {
	if v.y++; v.y == len(v.rows) {
		v.rows = append(v.rows, vtermRow{})
	}
}

// resize wraps all lines anew, as tmux and most emulators do. The cursor has
// to be on the empty row below the text.
func (v *vterm) resize(width int) {
	var rows []vtermRow
	for y := 0; y < v.y; y++ {
		line := v.rows[y].cells
		for ; v.rows[y].wrapped; y++ {
			line = append(line[:len(line):len(line)], v.rows[y+1].cells...)
		}
		for len(line) > width {
			rows = append(rows, vtermRow{line[:width:width], true})
			line = line[width:]
		}
		rows = append(rows, vtermRow{slices.Clone(line), false})
	}
	rows = append(rows, vtermRow{})
	v.rows, v.width = rows, width
	v.x, v.y = 0, len(v.rows)-1
}

// text returns what was written, from the start of the scrollback to the row
// above the cursor.
func (v *vterm) text() string {
	v.t.Helper()
	var b strings.Builder
	for y := range v.y {
		row := v.rows[y]
		line := strings.ReplaceAll(string(row.cells), "\x00", "")
		if !row.wrapped {
			line = strings.TrimRight(line, " ") + "\n"
		}
		b.WriteString(line)
	}
	for _, row := range v.rows[v.y:] {
		if len(row.cells) > 0 {
			v.t.Errorf("below the cursor there is %q", string(row.cells))
		}
	}
	return b.String()
}
