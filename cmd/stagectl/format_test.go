package main

import (
	"strings"
	"testing"
	"time"
)

func TestFormatSize(t *testing.T) {
	tests := []struct {
		n    int64
		want string
	}{
		{0, "0 B"}, {1, "1 B"}, {999, "999 B"}, {1000, "1.0 kB"}, {1234, "1.2 kB"}, {1250, "1.2 kB"},
		{999_949, "999.9 kB"}, {999_950, "1.0 MB"}, {27_300_000, "27.3 MB"}, {999_949_999, "999.9 MB"},
		{999_950_000, "1.00 GB"}, {1_204_000_000, "1.20 GB"}, {999_994_999_999, "999.99 GB"},
		{999_995_000_000, "1.00 TB"}, {1 << 62, "4611.69 PB"},
	}
	for _, tc := range tests {
		if got := formatSize(tc.n); got != tc.want {
			t.Errorf("formatSize(%d) = %q, want %q", tc.n, got, tc.want)
		}
	}
}

func TestFormatRatio(t *testing.T) {
	tests := []struct {
		current, total int64
		want           string
	}{
		{0, 27_300_000, "0.0/27.3 MB"}, {1_400_000, 27_300_000, "1.4/27.3 MB"}, {12, 999, "12/999 B"},
		{500, 1_200_000_000, "0.00/1.20 GB"}, {28_000_000, 27_300_000, "28.0/27.3 MB"},
	}
	for _, tc := range tests {
		if got := formatRatio(tc.current, tc.total); got != tc.want {
			t.Errorf("formatRatio(%d, %d) = %q, want %q", tc.current, tc.total, got, tc.want)
		}
	}
	if got := formatRate(8_100_000); got != "8.1 MB/s" {
		t.Errorf("formatRate = %q", got)
	}
}

func TestFormatElapsed(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0.0s"}, {0, "0.0s"}, {99 * time.Millisecond, "0.0s"}, {300 * time.Millisecond, "0.3s"},
		{12_470 * time.Millisecond, "12.4s"}, {time.Minute - 1, "59.9s"}, {time.Minute, "1m00s"},
		{62_900 * time.Millisecond, "1m02s"}, {time.Hour - 1, "59m59s"}, {time.Hour, "1h00m"},
		{25*time.Hour + 2*time.Minute, "25h02m"},
	}
	for _, tc := range tests {
		if got := formatElapsed(tc.d); got != tc.want {
			t.Errorf("formatElapsed(%v) = %q, want %q", tc.d, got, tc.want)
		}
	}
}

func TestFormatPercent(t *testing.T) {
	tests := []struct {
		part, whole int64
		want        string
	}{
		{0, 0, "0%"}, {5, 0, "0%"}, {0, 100, "0%"}, {1, 1000, "<1%"}, {5, 1000, "1%"}, {114, 1000, "11%"},
		{886, 1000, "89%"}, {999, 1000, "99%"}, {1000, 1000, "100%"}, {2000, 1000, "100%"},
		{1 << 61, 1 << 62, "50%"},
	}
	for _, tc := range tests {
		if got := formatPercent(tc.part, tc.whole); got != tc.want {
			t.Errorf("formatPercent(%d, %d) = %q, want %q", tc.part, tc.whole, got, tc.want)
		}
	}
}

func TestShortDigests(t *testing.T) {
	long := testDigest("1a")
	tests := []struct{ in, want string }{
		{long, "sha256:1a1a1a1a1a1a"},
		{"alpine@" + long + " and " + long, "alpine@sha256:1a1a1a1a1a1a and sha256:1a1a1a1a1a1a"},
		{long[:60], long[:60]},
		{long + "f", long + "f"},
		{"alpine:3.22", "alpine:3.22"},
	}
	for _, tc := range tests {
		if got := shortDigests(tc.in); got != tc.want {
			t.Errorf("shortDigests(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestOneLine(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"  denied \r\nsecond line", "denied"},
		{"a\tb\x1b[2J\a\u202ec\u200b", "a?b?[2J??c?"},
		{"héllo 世界 \xff", "héllo 世界 \ufffd"},
	}
	for _, tc := range tests {
		if got := oneLine(tc.in); got != tc.want {
			t.Errorf("oneLine(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestCut(t *testing.T) {
	tests := []struct {
		s           string
		width       int
		end, middle string
	}{
		{"registry/team/server", 20, "registry/team/server", "registry/team/server"},
		{"registry/team/server", 19, "registry/team/serv…", "registry/…am/server"},
		{"registry/team/server", 6, "regis…", "reg…er"},
		{"registry/team/server", 2, "r…", "r…"},
		{"registry/team/server", 1, "…", "…"},
		{"registry/team/server", 0, "", ""},
		{"registry/team/server", -3, "", ""},
		{"世界世界世界", 7, "世界世…", "世界…界"},
		{"", 3, "", ""},
	}
	for _, tc := range tests {
		if got := cutEnd(tc.s, tc.width, "…"); got != tc.end {
			t.Errorf("cutEnd(%q, %d) = %q, want %q", tc.s, tc.width, got, tc.end)
		}
		if got := cutMiddle(tc.s, tc.width, "…"); got != tc.middle {
			t.Errorf("cutMiddle(%q, %d) = %q, want %q", tc.s, tc.width, got, tc.middle)
		}
	}
}

func TestTextWidth(t *testing.T) {
	tests := []struct {
		s    string
		want int
	}{
		{"", 0}, {"abc", 3}, {"héllo", 5}, {"世界", 4}, {"✓ ━╸─⠋… ░█▏", 11}, {"🐳✅", 4},
		{"\x1b[1mbold\x1b[0m", 4}, {"\xff\xfe", 4},
	}
	for _, tc := range tests {
		if got := textWidth(tc.s); got != tc.want {
			t.Errorf("textWidth(%q) = %d, want %d", tc.s, got, tc.want)
		}
	}
	for _, g := range []glyphs{unicodeGlyphs, asciiGlyphs} {
		for _, s := range append(g.spinner, g.done, g.failed, g.barFull, g.barHalf, g.barRest, g.basePart, g.ownPart, g.sliver, g.rule) {
			if textWidth(s) != 1 {
				t.Errorf("glyph %q takes %d columns", s, textWidth(s))
			}
		}
	}
}

func TestNewStyle(t *testing.T) {
	tests := []struct {
		name           string
		terminal       bool
		env            []string
		color, unicode bool
	}{
		{"terminal", true, []string{"TERM=xterm", "LANG=en_US.UTF-8"}, true, true},
		{"pipe", false, []string{"TERM=xterm", "LANG=en_US.UTF-8"}, false, true},
		{"NO_COLOR", true, []string{"TERM=xterm", "LANG=C.utf8", "NO_COLOR=1"}, false, true},
		{"NO_COLOR, any value", true, []string{"TERM=xterm", "NO_COLOR=false"}, false, false},
		{"NO_COLOR, empty", true, []string{"TERM=xterm", "NO_COLOR="}, true, false},
		{"dumb", true, []string{"TERM=dumb", "LC_CTYPE=UTF-8"}, false, true},
		{"LC_ALL wins", true, []string{"TERM=xterm", "LC_ALL=C", "LANG=C.UTF-8"}, true, false},
		{"nothing set", true, nil, false, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := newStyle(tc.terminal, testEnv(tc.env...))
			if s.color != tc.color || (s.done == unicodeGlyphs.done) != tc.unicode {
				t.Errorf("color %v, unicode %v", s.color, s.done == unicodeGlyphs.done)
			}
			if got := s.paint(bold, "x"); (got == "\x1b[1mx\x1b[0m") != tc.color {
				t.Errorf("painted %q", got)
			}
		})
	}
}

func TestTable(t *testing.T) {
	s := style{color: true}
	tab := table{align: "lrr"}
	tab.add("MODE", "SIZE")
	tab.add("a", s.paint(red, "27.3 MB"), "x")
	tab.add("long name", "1 B", "")
	var b strings.Builder
	if err := tab.write(&b, "  "); err != nil {
		t.Fatal(err)
	}
	want := "  MODE          SIZE\n  a          \x1b[31m27.3 MB\x1b[0m  x\n  long name      1 B\n"
	if b.String() != want {
		t.Errorf("got\n%s, want\n%s", b.String(), want)
	}
}
