package main

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stagectl/stagectl/builder/event"
)

// The rules of the terminal display:
//
//   - The last lines of the screen are live: one for each running task, the
//     oldest first. Above them, each finished task has left one line, and each
//     message of the go command is as the go command wrote it.
//   - A frame is one Write. It overwrites rather than clears, so that nothing
//     flickers, and it is not written at all where it changes nothing.
//   - The cursor rests on the empty line below the live ones, hidden. A "^C"
//     that the terminal echoes there is overwritten by the next frame.
//   - Less than half of the rows are live. Above them there is something to read,
//     and when a narrower window wraps each of them, they still fit the screen:
//     what has scrolled off it cannot be taken back.
//   - No line of ours reaches the last column, where terminals differ in when
//     they wrap. The size is asked for each frame; in a window made narrower,
//     the lines drawn before have wrapped, and the frame starts as many rows
//     higher.
//   - A task shows up after one frame interval: what is faster only leaves its
//     last line.
//   - Columns depend on the width of the screen alone, so that bars and
//     numbers stand below each other.

const (
	phaseWidth   = 7 // "resolve"
	prefixWidth  = 2 + phaseWidth + 1
	percentWidth = 4  // "100%"
	bytesWidth   = 8  // "999.9 kB"
	ratioWidth   = 14 // "999.9/999.9 kB"
	rateWidth    = 10 // "999.9 kB/s"
	elapsedWidth = 6  // "59m59s"
	gap          = "  "

	maxLineWidth    = 100
	subjectWidth    = 20 // what bars and rates leave to the subject; a digest has 19
	minSubjectWidth = 8  // what all numbers together leave to it
)

// The escape sequences of the display.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearLine  = "\x1b[K" // from the cursor on
	clearRow   = "\x1b[2K"
)

// ttyView is the view that keeps live lines at the bottom of a terminal.
type ttyView struct {
	style style
	size  func() (width, height int, err error)

	tasks tasks
	above []lasting // not yet written
	drawn []string  // the live lines on the screen
	width int       // of the screen when they were drawn
}

// lasting is something that stays on the screen: the end of a task, or a
// message where task is nil.
type lasting struct {
	task    *task
	end     event.Event
	elapsed time.Duration
}

func (v *ttyView) event(now time.Time, e event.Event) {
	if e.State == event.Message {
		v.above = append(v.above, lasting{end: e})
		return
	}
	t := v.tasks.update(now, e)
	if e.State == event.Done || e.State == event.Failed {
		v.tasks.end(t)
		v.above = append(v.above, lasting{t, e, now.Sub(t.started)})
	}
}

func (v *ttyView) frame(now time.Time, last bool) []byte {
	width, height, err := v.size()
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	var live []string
	if !last {
		live = v.live(now, min(width-1, maxLineWidth), (height-1)/2)
	}
	if len(v.above) == 0 && width == v.width && slices.Equal(live, v.drawn) {
		return nil
	}
	var b []byte
	if len(live) > 0 && len(v.drawn) == 0 {
		b = append(b, hideCursor...)
	}
	b = v.rewind(b, width, len(live))
	for _, l := range v.above {
		if l.task == nil {
			b = appendMessage(b, l.end.Text)
		} else {
			b = append(b, v.ended(l, min(width-1, maxLineWidth))+clearLine+"\n"...)
		}
	}
	for _, line := range live {
		b = append(b, line+clearLine+"\n"...)
	}
	if len(live) == 0 && len(v.drawn) > 0 {
		b = append(b, showCursor...)
	}
	v.above, v.drawn, v.width = nil, live, width
	return b
}

// rewind moves the cursor to the first of the lines drawn before, which what
// lasts and the next live lines then overwrite. Rows that they would not cover
// completely are cleared on the way up, one by one: some terminals take
// clearing the whole screen for a reason to move it into the scrollback.
func (v *ttyView) rewind(b []byte, width, live int) []byte {
	if len(v.drawn) == 0 {
		return b
	}
	b = append(b, "\r"+clearLine...)
	rows := 0
	for _, line := range v.drawn {
		rows += (textWidth(line) + width - 1) / width
	}
	wraps := func(l lasting) bool { return l.task == nil }
	if width == v.width && len(v.above)+live >= rows && !slices.ContainsFunc(v.above, wraps) {
		return append(b, "\x1b["+strconv.Itoa(rows)+"A"...)
	}
	return append(b, strings.Repeat("\x1b[A"+clearRow, rows)...)
}

// live returns at most height lines about the running tasks.
func (v *ttyView) live(now time.Time, width, height int) []string {
	if height <= 0 || width <= 0 {
		return nil
	}
	shown := slices.DeleteFunc(slices.Clone(v.tasks.running), func(t *task) bool {
		return now.Sub(t.started) < frameInterval
	})
	more := 0
	if len(shown) > height && height > 1 {
		more = len(shown) - height + 1
	}
	shown = shown[:min(len(shown)-more, height)]
	var lines []string
	for _, t := range shown {
		lines = append(lines, v.running(now, t, width))
	}
	if more > 0 {
		text := cutEnd(v.style.ellipsis+" and "+strconv.Itoa(more)+" more", width-2, "")
		lines = append(lines, gap+v.style.paint(dim, text))
	}
	return lines
}

// running returns the live line of t.
func (v *ttyView) running(now time.Time, t *task, width int) string {
	elapsed := now.Sub(t.started)
	spinner := v.style.spinner[int(elapsed/frameInterval)%len(v.style.spinner)]
	numbers := gap + v.style.paint(dim, padLeft(formatElapsed(elapsed), elapsedWidth))
	if t.size() > 0 {
		numbers = gap + v.measures(now, t, width-prefixWidth-subjectWidth-len(gap)-textWidth(numbers)) + numbers
	}
	return v.line(width, row{mark: v.style.paint(cyan, spinner), task: t, numbers: numbers})
}

// row is what one line about a task consists of.
type row struct {
	mark    string // painted
	task    *task
	text    string
	color   string // of the words
	numbers string // painted
}

// line lays out r in width columns: the mark, the phase and the subject on the
// left, the text and the numbers on the right.
func (v *ttyView) line(width int, r row) string {
	room := width - prefixWidth - textWidth(r.numbers)
	if room < minSubjectWidth {
		room, r.numbers = width-prefixWidth, ""
	}
	subject, text := v.fit(shortDigests(oneLine(r.task.subject)), r.text, room)
	words := head(padRight(string(r.task.phase), phaseWidth)+" "+subject, width-2)
	line := r.mark + " " + v.style.paint(r.color, words) + v.style.paint(cmp.Or(r.color, dim), text) + r.numbers
	return strings.TrimRight(line, " ")
}

// fit makes subject and text fill room columns together. The subject has at
// least half of them or subjectWidth, and a text of which little could be shown
// is left out.
func (v *ttyView) fit(subject, text string, room int) (string, string) {
	if textWidth(subject) > room {
		subject = strings.TrimPrefix(subject, "sha256:") // the digits say more
	}
	if text != "" {
		left := cutMiddle(subject, max(room/2, subjectWidth, room-len(gap)-textWidth(text)), v.style.ellipsis)
		free := room - textWidth(left) - len(gap)
		if free >= min(textWidth(text), minSubjectWidth) {
			return left, gap + padLeft(cutEnd(text, free, v.style.ellipsis), free)
		}
	}
	return padRight(cutMiddle(subject, room, v.style.ellipsis), room), ""
}

// measures returns the numbers of a transfer, as many as fit width columns. A
// number that is not known leaves its column empty.
func (v *ttyView) measures(now time.Time, t *task, width int) string {
	percent, ratio, rate := "", formatSize(t.current), ""
	if t.total > 0 {
		percent, ratio = formatPercent(t.current, t.total), formatRatio(t.current, t.total)
	}
	if r := t.rate(now); r > 0 {
		rate = formatRate(r)
	}
	ratio, rate = padLeft(ratio, ratioWidth), padLeft(rate, rateWidth)
	for _, cells := range [][]string{
		{v.bar(t, 20), ratio, rate},
		{v.bar(t, 10), ratio, rate},
		{v.bar(t, 10), ratio},
		{ratio},
	} {
		if measures := strings.Join(cells, gap); textWidth(measures) <= width {
			return measures
		}
	}
	return padLeft(percent, percentWidth)
}

// bar returns width columns, filled by how much of t is done.
func (v *ttyView) bar(t *task, width int) string {
	if t.total <= 0 {
		return strings.Repeat(" ", width)
	}
	halves := int(float64(min(t.current, t.total)) / float64(t.total) * float64(2*width))
	done := strings.Repeat(v.style.barFull, halves/2) + strings.Repeat(v.style.barHalf, halves%2)
	return v.style.paint(cyan, done) + v.style.paint(dim, strings.Repeat(v.style.barRest, width-(halves+1)/2))
}

// canceled tells a task that failed because something else did, or because a
// person stopped it, from a failure of its own.
func canceled(e event.Event) bool { return strings.HasSuffix(e.Text, context.Canceled.Error()) }

// ended returns the line that a task leaves.
func (v *ttyView) ended(l lasting, width int) string {
	r := row{mark: v.style.paint(green, v.style.done), task: l.task, text: shortDigests(oneLine(l.end.Text))}
	switch {
	case l.end.State == event.Failed && canceled(l.end):
		r.mark, r.color, r.text = v.style.paint(dim, v.style.failed), dim, "canceled"
	case l.end.State == event.Failed:
		// What with, the command says at its end.
		r.mark, r.color, r.text = v.style.paint(red, v.style.failed), red, "failed"
	case r.text == "cached", r.text == "exists":
		r.mark, r.color = v.style.paint(dim, v.style.done), dim
	}
	size, elapsed := "", ""
	if n := l.task.size(); n > 0 {
		size = formatSize(n)
	}
	if l.elapsed >= frameInterval {
		elapsed = formatElapsed(l.elapsed)
	}
	switch {
	case l.end.State == event.Failed:
		r.numbers = gap + v.style.paint(dim, padLeft(elapsed, elapsedWidth))
	case width < prefixWidth+2*subjectWidth: // room for one number
		r.numbers = gap + v.style.paint(r.color, padLeft(cmp.Or(size, elapsed), bytesWidth))
	default:
		r.numbers = gap + v.style.paint(r.color, padLeft(size, bytesWidth)) + gap + v.style.paint(dim, padLeft(elapsed, elapsedWidth))
	}
	return v.line(width, r)
}
