package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// The help of build is written by hand. It has every flag, and fits a screen.
func TestBuildHelp(t *testing.T) {
	a := &app{Getenv: func(string) string { return "" }}
	cmd := newBuildCommand(a)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !strings.Contains(buildHelp, "--"+f.Name) {
			t.Errorf("--%s is missing", f.Name)
		}
		if f.Shorthand != "" && f.Name != "help" && !strings.Contains(buildHelp, "-"+f.Shorthand+", --"+f.Name) {
			t.Errorf("-%s is missing", f.Shorthand)
		}
	})
	for word := range strings.FieldsSeq(buildHelp) {
		word, _, _ = strings.Cut(strings.TrimRight(word, ","), "[")
		if flag, ok := strings.CutPrefix(word, "--"); ok && cmd.Flags().Lookup(flag) == nil {
			t.Errorf("there is no %s", word)
		}
	}
	lines := strings.Split(strings.TrimSuffix(buildHelp, "\n"), "\n")
	if len(lines) > 48 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
