package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/event"
)

// ttyTest drives a view by hand: no goroutine, no clock but its own.
type ttyTest struct {
	*vterm
	view *ttyView
	now  time.Time
}

func newTTYTest(t *testing.T, width, height int, env ...string) *ttyTest {
	tt := &ttyTest{vterm: newVterm(t, width, height), now: testTime}
	getenv := testEnv(append([]string{"TERM=xterm", "LANG=C.UTF-8", "NO_COLOR=1"}, env...)...)
	size := func() (int, int, error) { return tt.width, tt.height, nil }
	tt.view = &ttyView{style: newStyle(true, getenv), size: size}
	return tt
}

func (tt *ttyTest) Event(e event.Event) { tt.view.event(tt.now, e) }

// frame lets d pass and draws. A frame is at most one Write.
func (tt *ttyTest) frame(d time.Duration) {
	tt.now = tt.now.Add(d)
	if b := tt.view.frame(tt.now, false); len(b) > 0 {
		_, _ = tt.Write(b)
	}
}

func (tt *ttyTest) close() { _, _ = tt.Write(tt.view.frame(tt.now, true)) }

func (tt *ttyTest) expect(want string) {
	tt.t.Helper()
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), tt.text()); diff != "" {
		tt.t.Errorf("screen (-want +got):\n%s", diff)
	}
}

func TestTTYBuild(t *testing.T) {
	tt := newTTYTest(t, 80, 24)
	f := event.Func(tt.Event)
	resolve := f.Start(event.Resolve, "alpine", 0)
	tt.frame(300 * time.Millisecond)
	resolve.End(nil, testDigest("1a"))
	f.Start(event.Pull, testDigest("ab"), 3_400_000).End(nil, "cached")
	compile := f.Start(event.Compile, "linux/amd64", 0)
	pull := f.Start(event.Pull, testDigest("cd"), 27_300_000)
	tt.frame(time.Second)
	pull.Add(12_300_000)
	compile.Message("go: downloading golang.org/x/sync v0.24.0")
	tt.frame(500 * time.Millisecond)
	if !tt.hidden {
		t.Error("the cursor shows while lines are live")
	}
	tt.expect(`
✓ resolve alpine                          sha256:1a1a1a1a1a1a              0.3s
✓ pull    sha256:abababababab                          cached    3.4 MB
go: downloading golang.org/x/sync v0.24.0
⠴ compile linux/amd64                                                      1.5s
⠴ pull    sha256:cdcdcdcdcdcd    ━━━━╸─────    12.3/27.3 MB    8.2 MB/s    1.5s
`)
	pull.Add(15_000_000)
	pull.End(nil, "")
	tt.frame(time.Second)
	compile.End(fmt.Errorf("go build: exit status 1"), "")
	f.Start(event.Write, "image.tar", 0)
	tt.frame(time.Second)
	tt.close()
	if tt.hidden {
		t.Error("the cursor is still hidden")
	}
	tt.expect(`
✓ resolve alpine                          sha256:1a1a1a1a1a1a              0.3s
✓ pull    sha256:abababababab                          cached    3.4 MB
go: downloading golang.org/x/sync v0.24.0
✓ pull    sha256:cdcdcdcdcdcd                                   27.3 MB    1.5s
✗ compile linux/amd64                                            failed    2.5s
`)
}

func TestTTYFastTaskLeavesOneLine(t *testing.T) {
	tt := newTTYTest(t, 80, 24)
	task := event.Func(tt.Event).Start(event.Layer, "/app/server", 0)
	tt.frame(frameInterval - 1)
	if tt.writes != 0 {
		t.Errorf("%d writes for a task that just started", tt.writes)
	}
	task.End(nil, "")
	tt.frame(frameInterval)
	tt.close()
	tt.expect("✓ layer   /app/server\n")
}

func TestTTYShortLineOverLongLine(t *testing.T) {
	tt := newTTYTest(t, 80, 24)
	f := event.Func(tt.Event)
	compile := f.Start(event.Compile, "linux/amd64", 0)
	tt.frame(time.Second)
	f.Start(event.Layer, "/app/server", 0).End(nil, "")
	tt.frame(time.Second)
	compile.End(nil, "")
	tt.close()
	tt.expect("✓ layer   /app/server\n✓ compile linux/amd64                                                      2.0s\n")
}

// TestTTYResize lets lines wrap that are all overwritten by lines that last.
// They must not be joined again when the window gets wider.
func TestTTYResize(t *testing.T) {
	tt := newTTYTest(t, 80, 24)
	f := event.Func(tt.Event)
	tasks := []*event.Task{f.Start(event.Push, "a", 0), f.Start(event.Push, "b", 0)}
	tt.frame(time.Second)
	for _, name := range []string{"c", "d"} {
		tasks = append(tasks, f.Start(event.Push, name, 0))
	}
	tt.resize(60)
	for _, task := range tasks {
		task.End(nil, "exists")
	}
	tt.frame(0)
	tt.resize(80)
	tt.close()
	tt.expect(`
✓ push    a                        exists              1.0s
✓ push    b                        exists              1.0s
✓ push    c                        exists
✓ push    d                        exists
`)
}

func TestTTYWritesOnlyChanges(t *testing.T) {
	tt := newTTYTest(t, 80, 24)
	event.Func(tt.Event).Start(event.Compile, "linux/amd64", 0)
	tt.frame(time.Second)
	tt.frame(0)
	if tt.writes != 1 {
		t.Errorf("%d writes of the same frame, want 1", tt.writes)
	}
}

func TestTTYNarrow(t *testing.T) {
	tt := newTTYTest(t, 40, 24)
	f := event.Func(tt.Event)
	f.Start(event.Pull, testDigest("ab"), 3_400_000).End(nil, "cached")
	resolve := f.Start(event.Resolve, "registry.example.com/library/alpine", 0)
	pull := f.Start(event.Pull, testDigest("cd"), 27_300_000)
	f.Start(event.Push, "registry.example.com/team/server:v1", 27_300_000)
	pull.Add(12_300_000)
	tt.now = tt.now.Add(time.Second)
	resolve.End(nil, testDigest("1a"))
	tt.frame(time.Second)
	tt.expect(`
✓ pull    sha256:abababababab    3.4 MB
✓ resolve registry.…ry/alpine      1.0s
⠋ pull    cdcdcdcdcdcd      45%    2.0s
⠋ push    registr…rver:v1    0%    2.0s
`)
}

// TestTTYInterrupt checks that what the terminal echoes does not stay.
func TestTTYInterrupt(t *testing.T) {
	tt := newTTYTest(t, 80, 24)
	task := event.Func(tt.Event).Start(event.Compile, "linux/amd64", 0)
	tt.frame(time.Second)
	_, _ = tt.Write([]byte("^C"))
	task.End(context.Canceled, "")
	tt.close()
	tt.expect("✗ compile linux/amd64                                          canceled    1.0s\n")
}

func TestTTYOverflow(t *testing.T) {
	tests := []struct{ height, lines, more int }{
		{1, 0, 0}, {2, 0, 0}, {3, 1, 0}, {5, 1, 29}, {24, 10, 20}, {60, 28, 2}, {61, 30, 0}, {62, 30, 0},
	}
	for _, tc := range tests {
		t.Run(strconv.Itoa(tc.height), func(t *testing.T) {
			tt := newTTYTest(t, 80, tc.height)
			for i := range 30 {
				event.Func(tt.Event).Start(event.Push, fmt.Sprint("image-", i), 0)
			}
			tt.frame(time.Second)
			want := ""
			for i := range tc.lines {
				want += padRight(fmt.Sprint("⠋ push    image-", i), 73) + "  1.0s\n"
			}
			if tc.more > 0 {
				want += fmt.Sprintf("  … and %d more\n", tc.more)
			}
			tt.expect(want)
			tt.close()
			tt.expect("")
		})
	}
}

func TestTTYFitsAnyWidth(t *testing.T) {
	subjects := []string{
		"registry.example.com/a/very/long/path/to/an/image/server@" + testDigest("ab"),
		"/srv/データベース/サーバー" + strings.Repeat("長", 50),
		"\x1b[2J\x1b[H\r\n\tevil\u202e", testDigest("cd"), "",
	}
	for width := 4; width <= 130; width++ {
		for _, ends := range []struct {
			err  error
			text string
		}{{nil, ""}, {nil, "cached"}, {nil, "docker.io/" + subjects[0]}, {fmt.Errorf("PUT %s:\n\x1b[1mdenied", subjects[1]), ""}} {
			tt := newTTYTest(t, width, 24, "NO_COLOR=")
			var tasks []*event.Task
			for _, s := range subjects {
				task := event.Func(tt.Event).Start(event.Push, s, 999_900_000)
				task.Add(499_900_000)
				tasks = append(tasks, task)
			}
			tt.frame(time.Second)
			tt.frame(59 * time.Minute)
			for _, task := range tasks {
				task.End(ends.err, ends.text)
			}
			tt.close()
			if got := strings.Count(tt.text(), "\n"); got != len(subjects) {
				t.Fatalf("width %d: %d lines, want %d:\n%s", width, got, len(subjects), tt.text())
			}
			for _, row := range tt.rows {
				if len(row.cells) >= width {
					t.Fatalf("width %d: a line reaches the last column: %q", width, string(row.cells))
				}
			}
		}
	}
}

func TestTTYMessagesAreUnchanged(t *testing.T) {
	long := "./main.go:7: " + strings.Repeat("x", 147) // exactly two rows of 80
	messages := []string{"# example.com/server", long, "", "  indented: 100% \u00e9", long + "y"}
	tt := newTTYTest(t, 80, 24)
	f := event.Func(tt.Event)
	compile := f.Start(event.Compile, "linux/amd64", 0)
	f.Start(event.Pull, "alpine", 0)
	tt.frame(time.Second)
	for _, m := range messages {
		compile.Message(m)
		tt.frame(time.Second)
	}
	tt.close()
	tt.expect(strings.Join(messages, "\n") + "\n")
}

func TestTTYCanceled(t *testing.T) {
	tt := newTTYTest(t, 80, 24, "NO_COLOR=")
	task := event.Func(tt.Event).Start(event.Push, "server:v1", 100)
	tt.now = tt.now.Add(time.Second)
	task.End(fmt.Errorf("writing blob: %w", context.Canceled), "")
	b := string(tt.view.frame(tt.now, true))
	if strings.Contains(b, "\x1b["+red+"m") {
		t.Errorf("a canceled task looks like a failure: %q", b)
	}
	_, _ = tt.Write([]byte(b))
	tt.expect("✗ push    server:v1                                            canceled    1.0s\n")
}

func TestTTYColor(t *testing.T) {
	tests := []struct {
		name  string
		env   []string
		color bool
		want  string
	}{
		{"color", []string{"NO_COLOR="}, true, "⠋ push    server:v1"},
		{"NO_COLOR", []string{"NO_COLOR=0"}, false, "⠋ push    server:v1"},
		{"dumb", []string{"NO_COLOR=", "TERM=dumb"}, false, "⠋ push    server:v1"},
		{"ASCII", []string{"LC_ALL=POSIX"}, false, "- push    server:v1"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			tt := newTTYTest(t, 80, 24, tc.env...)
			event.Func(tt.Event).Start(event.Push, "server:v1", 0)
			tt.now = tt.now.Add(time.Second)
			b := tt.view.frame(tt.now, false)
			if got := vtermSGR.Match(b); got != tc.color {
				t.Errorf("color = %v, want %v: %q", got, tc.color, b)
			}
			_, _ = tt.Write(b)
			if !strings.HasPrefix(tt.text(), tc.want) {
				t.Errorf("got %q, want %q...", tt.text(), tc.want)
			}
		})
	}
}

// TestTTYRandomBuilds runs many builds in windows that change all the time. In
// the end, exactly the lasting lines are there, in order.
func TestTTYRandomBuilds(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test that can be repeated
		tt := newTTYTest(t, 60, 24)
		var running []*event.Task
		var names, want []string
		for step := range 200 {
			switch i := rnd.IntN(max(1, len(running))); rnd.IntN(6) {
			case 0, 1:
				names = append(names, fmt.Sprintf("task-%d", step))
				running = append(running, event.Func(tt.Event).Start(event.Push, names[len(names)-1], rnd.Int64N(2)*1e6))
			case 2:
				if len(running) > 0 {
					running[i].End(nil, "")
					want = append(want, names[i])
					running, names = slices.Delete(running, i, i+1), slices.Delete(names, i, i+1)
				}
			case 3:
				if len(running) > 0 {
					running[i].Add(1e5)
				}
			case 4:
				if rnd.IntN(8) == 0 {
					want = append(want, fmt.Sprintf("message-%d-%s", step, strings.Repeat("m", rnd.IntN(200))))
					tt.Event(event.Event{State: event.Message, Text: want[len(want)-1]})
				}
			case 5:
				if rnd.IntN(4) == 0 {
					tt.resize(52 + rnd.IntN(50)) // no line wraps into three rows
				}
			}
			tt.frame(time.Duration(rnd.IntN(300)) * time.Millisecond)
		}
		tt.close()
		var got []string
		for line := range strings.Lines(tt.text()) {
			got = append(got, regexp.MustCompile(`task-[0-9]+|message-[0-9]+-m*|$`).FindString(line))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: lasting lines (-want +got):\n%s", seed, diff)
		}
	}
}
