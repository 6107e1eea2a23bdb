package compile

import (
	"strings"

	"github.com/stagectl/stagectl/builder/plan"
)

// buildFlags make the output depend on the sources alone: no paths of the
// host, no state of the repository. A -ldflags on the command line hides the
// one in goflags, so that has to be part of it.
func buildFlags(s plan.GoSettings, goflags string) []string {
	flags := []string{"-trimpath", "-buildvcs=false"}
	var ld []string
	if !s.Debug {
		ld = append(ld, "-s -w")
	}
	ld = append(ld, flagValues(goflags, "ldflags")...)
	flags = append(flags, ldflags(append(ld, s.LDFlags))...)
	if s.Tags != "" {
		flags = append(flags, "-tags="+s.Tags)
	}
	return flags
}

// ldflags puts values of -ldflags together so that they add to each other,
// where for the go command the last that is for a package replaces the others.
// A value may name the packages that it is for: "all=-X main.version=1".
func ldflags(values []string) []string {
	var common, flags []string
	for _, v := range values {
		if v = strings.TrimSpace(v); strings.HasPrefix(v, "-") {
			common = append(common, v)
		}
	}
	if len(common) > 0 {
		flags = append(flags, "-ldflags="+strings.Join(common, " "))
	}
	for _, v := range values {
		v = strings.TrimSpace(v)
		if v == "" || strings.HasPrefix(v, "-") {
			continue
		}
		if packages, own, ok := strings.Cut(v, "="); ok {
			v = packages + "=" + strings.Join(append(common[:len(common):len(common)], own), " ")
		}
		flags = append(flags, "-ldflags="+v) // if malformed, the go command says so
	}
	return flags
}

// flagValues returns the values that GOFLAGS has for a flag.
func flagValues(goflags, name string) []string {
	var values []string
	for _, word := range splitQuoted(goflags) {
		for _, prefix := range []string{"-" + name + "=", "--" + name + "="} {
			if v, ok := strings.CutPrefix(word, prefix); ok {
				values = append(values, v)
			}
		}
	}
	return values
}

// splitQuoted divides GOFLAGS as the go command does: words may be quoted as a
// whole, and nothing is escaped (cmd/internal/quoted.Split). Where a quote is
// not closed the go command says so.
func splitQuoted(s string) []string {
	const spaces = " \t\n\r"
	var words []string
	for s = strings.TrimLeft(s, spaces); s != ""; s = strings.TrimLeft(s, spaces) {
		end := strings.IndexAny(s, spaces)
		if quote := s[0]; quote == '\'' || quote == '"' {
			s = s[1:]
			if end = strings.IndexByte(s, quote); end < 0 {
				return words
			}
			words = append(words, s[:end])
			s = s[end+1:]
			continue
		}
		if end < 0 {
			end = len(s)
		}
		words = append(words, s[:end])
		s = s[end:]
	}
	return words
}
