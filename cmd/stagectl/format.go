package main

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// How values look on the screen, the same in every command:
//
//   - Sizes count in thousands, as docker's do, and keep three or four digits.
//   - Time is cut, never rounded up: nothing claims to have taken longer than it did.
//   - A percentage says 0 or 100 only where that is exactly so.
//   - A digest is shown by its first twelve digits where a person scans it,
//     in full where it can be copied.
//   - Names from outside (files, references) cannot move the cursor: what does
//     not print is shown as "?".
//   - Colour and symbols repeat what the words say and never stand alone.

// unit is a unit of size and the number of decimals shown with it.
type unit struct {
	name     string
	bytes    int64
	decimals int
}

var units = []unit{{"B", 1, 0}, {"kB", 1e3, 1}, {"MB", 1e6, 1}, {"GB", 1e9, 2}, {"TB", 1e12, 2}, {"PB", 1e15, 2}}

// unitOf returns the smallest unit in which n, rounded, stays below a thousand.
func unitOf(n int64) unit {
	for _, u := range units {
		half := u.bytes / 2
		for range u.decimals {
			half /= 10
		}
		if n < 1000*u.bytes-half {
			return u
		}
	}
	return units[len(units)-1]
}

func (u unit) format(n int64) string {
	return strconv.FormatFloat(float64(n)/float64(u.bytes), 'f', u.decimals, 64)
}

// formatSize returns n bytes as "999 B", "1.2 kB", "27.3 MB" or "1.20 GB".
func formatSize(n int64) string {
	u := unitOf(n)
	return u.format(n) + " " + u.name
}

// formatRatio returns "1.4/27.3 MB": both sizes in the unit of the total, so
// that the text does not change its shape while current grows.
func formatRatio(current, total int64) string {
	u := unitOf(total)
	return u.format(current) + "/" + u.format(total) + " " + u.name
}

// formatRate returns bytes a second as "8.1 MB/s".
func formatRate(bytesPerSecond int64) string { return formatSize(bytesPerSecond) + "/s" }

// formatElapsed returns d as "0.3s", "12.4s", "1m02s" or "1h02m".
func formatElapsed(d time.Duration) string {
	switch {
	case d < time.Minute:
		tenths := max(0, d.Milliseconds()/100)
		return fmt.Sprintf("%d.%ds", tenths/10, tenths%10)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}

// formatPercent returns the share of part in whole as "11%". What is not
// nothing is at least "<1%", what is not all at most "99%".
func formatPercent(part, whole int64) string {
	switch {
	case part <= 0 || whole <= 0:
		return "0%"
	case part >= whole:
		return "100%"
	}
	percent := min(99, int64(float64(part)/float64(whole)*100+0.5))
	if percent == 0 {
		return "<1%"
	}
	return strconv.FormatInt(percent, 10) + "%"
}

var fullDigest = regexp.MustCompile(`\b(sha256:[0-9a-f]{12})[0-9a-f]{52}\b`)

// shortDigests cuts every digest in s to its first twelve digits.
func shortDigests(s string) string { return fullDigest.ReplaceAllString(s, "$1") }

// oneLine returns the first line of s with "?" for everything in it that does
// not print: escape sequences, tabs, marks that change the writing direction.
func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return visible(strings.TrimSpace(s))
}

// visible returns s with "?" for everything in it that does not print.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// runeWidth returns how many columns r takes at most. It would rather say two
// than one: too short a line is a blemish, too long a line breaks the display.
func runeWidth(r rune) int {
	switch {
	case r < 0x1100, // alphabets up to Georgian
		r >= 0x2010 && r < 0x2028, // dashes, quotation marks, ellipsis
		r >= 0x2500 && r < 0x25a0, // box drawing and blocks
		r >= 0x2800 && r < 0x2900, // Braille
		r == '✓', r == '✗':
		return 1
	default:
		return 2
	}
}

// textWidth returns the number of columns s takes, not counting the colours
// that style.paint put in.
func textWidth(s string) int {
	width := 0
	for i := 0; i < len(s); {
		if s[i] == '\x1b' {
			if end := strings.IndexByte(s[i:], 'm'); end >= 0 {
				i += end + 1
				continue
			}
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		width += runeWidth(r)
		i += n
	}
	return width
}

// cutEnd shortens s, which holds no colours, to width columns by its end.
func cutEnd(s string, width int, ellipsis string) string {
	if textWidth(s) <= width {
		return s
	}
	return head(s, max(0, width-textWidth(ellipsis))) + head(ellipsis, width)
}

// cutMiddle shortens s by its middle: of references and paths, both ends matter.
func cutMiddle(s string, width int, ellipsis string) string {
	keep := width - textWidth(ellipsis)
	if textWidth(s) <= width || keep < 2 {
		return cutEnd(s, width, ellipsis)
	}
	runes, tail := []rune(s), 0
	from := len(runes)
	for from > 0 && tail+runeWidth(runes[from-1]) <= keep/2 {
		from--
		tail += runeWidth(runes[from])
	}
	return head(s, keep-tail) + ellipsis + string(runes[from:])
}

// head returns the longest beginning of s that takes at most width columns.
func head(s string, width int) string {
	for i, r := range s {
		if width -= runeWidth(r); width < 0 {
			return s[:i]
		}
	}
	return s
}

// padRight fills s up to width columns.
func padRight(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-textWidth(s)))
}

// padLeft moves s to the right end of width columns.
func padLeft(s string, width int) string {
	return strings.Repeat(" ", max(0, width-textWidth(s))) + s
}

// style says what a stream can show.
type style struct {
	color bool
	glyphs
}

// glyphs are the symbols of a stream. Each takes one column but the ellipsis.
type glyphs struct {
	spinner           []string
	done, failed      string
	ellipsis          string
	barFull, barHalf  string // progress, done
	barRest           string // progress, to come
	basePart, ownPart string // summary, a layer's share
	sliver            string // summary, a share too small to draw
	rule              string
}

var (
	unicodeGlyphs = glyphs{
		spinner: strings.Split("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", ""),
		done:    "✓", failed: "✗", ellipsis: "…",
		barFull: "━", barHalf: "╸", barRest: "─",
		basePart: "░", ownPart: "█", sliver: "▏", rule: "─",
	}
	asciiGlyphs = glyphs{
		spinner: strings.Split(`|/-\`, ""),
		done:    "+", failed: "x", ellipsis: "..",
		barFull: "=", barHalf: "-", barRest: ".",
		basePart: "-", ownPart: "#", sliver: ":", rule: "-",
	}
)

// newStyle decides by the environment. Colour needs a terminal that is not
// dumb and no NO_COLOR (https://no-color.org); symbols beyond ASCII need a
// UTF-8 locale.
func newStyle(terminal bool, getenv func(string) string) style {
	s := style{color: terminal && !dumb(getenv) && getenv("NO_COLOR") == "", glyphs: asciiGlyphs}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		locale := strings.ToUpper(getenv(name))
		if strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8") {
			s.glyphs = unicodeGlyphs
		}
		if locale != "" {
			break // the first one that is set decides, as in setlocale(3)
		}
	}
	return s
}

// dumb says whether escape sequences are out of place. Like git, it takes an
// unset TERM for a dumb one, which is also right for the Windows console.
func dumb(getenv func(string) string) bool {
	term := getenv("TERM")
	return term == "" || term == "dumb"
}

// The colours, as parameters of the "select graphic rendition" sequence.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

// paint returns text in the colour, or as it is where there is none to see.
func (s style) paint(color, text string) string {
	if !s.color || color == "" || strings.TrimSpace(text) == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// table lays out cells in columns, which may hold painted text.
type table struct {
	align string // one letter a column: r for right, anything else for left
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write writes the rows behind indent, without trailing spaces.
func (t *table) write(w io.Writer, indent string) error {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], textWidth(cell))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		line := indent
		for i, cell := range row {
			if i > 0 {
				line += "  "
			}
			if i < len(t.align) && t.align[i] == 'r' {
				line += padLeft(cell, widths[i])
			} else {
				line += padRight(cell, widths[i])
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
