package dockerfile

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagectl/stagectl/builder/plan"
)

// ErrNoConfig is returned by Options.Resolve for an image whose configuration
// can't be had, to go on as if it were empty.
var ErrNoConfig = errors.New("no image configuration")

// Error is one thing that is wrong with a Dockerfile, or worth a warning.
type Error struct {
	// File is the name of the Dockerfile, as it was given.
	File string
	// Line is that of the instruction, from 1; 0 is none.
	Line int
	// Instruction is it on one line, shortened.
	Instruction string
	// Err is what is wrong and, where it is known, what to do about it.
	Err error
}

// Error is FILE:LINE: INSTRUCTION: CAUSE.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
	}
	if e.Instruction != "" {
		b.WriteString(": " + e.Instruction)
	}
	b.WriteString(": " + e.Err.Error())
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func errorAt(pos *plan.Position, err error) *Error {
	return &Error{File: pos.File, Line: pos.Line, Instruction: pos.Text, Err: withRemedy(err)}
}

// join puts errors in the order of their lines, each once.
func join(errs []*Error) error {
	slices.SortStableFunc(errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	var all []error
	seen := map[string]bool{}
	for _, err := range errs {
		if text := err.Error(); !seen[text] {
			seen[text] = true
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// maxText is how much of an instruction stands in an error.
const maxText = 72

// display puts an instruction on one line of bearable length.
func display(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= maxText {
		return s
	}
	return strings.TrimRight(string([]rune(s)[:maxText-1]), " ") + "…"
}

// didYouMean ends an error about a name, where one that is known looks alike.
func didYouMean(name string, known []string) string {
	best, at := 3, ""
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); k != name && d < best && d < len(k) {
			best, at = d, k
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", at)
}

// distance is how many bytes are to be inserted, removed, changed or swapped
// with the next to make b out of a: that of Damerau and Levenshtein, each byte
// being touched once.
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		for j := range d[i] {
			if i == 0 || j == 0 {
				d[i][j] = i + j
				continue
			}
			change := d[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			d[i][j] = min(change, d[i-1][j]+1, d[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

// instructionFlags has all instructions, with the flags that they have.
var instructionFlags = map[string][]string{
	"ADD": {"chmod", "chown", "checksum", "exclude", "keep-git-dir", "link", "unpack"}, "ARG": nil, "CMD": nil,
	"COPY": {"chmod", "chown", "exclude", "from", "link", "parents"}, "ENTRYPOINT": nil, "ENV": nil, "EXPOSE": nil,
	"FROM": {"platform"}, "HEALTHCHECK": {"interval", "retries", "start-interval", "start-period", "timeout"}, "LABEL": nil,
	"MAINTAINER": nil, "ONBUILD": nil, "RUN": {"device", "mount", "network", "security"}, "SHELL": nil, "STOPSIGNAL": nil,
	"USER": nil, "VOLUME": nil, "WORKDIR": nil,
}

var unknownFlag = regexp.MustCompile(`^unknown flag: --([^ ]*)`)

// clarify returns an error of the parser with a suggestion of our own: of
// several that are equally near, the parser's is any.
func clarify(n *parser.Node, err error) error {
	if unknown := new(instructions.UnknownInstructionError); errors.As(err, &unknown) {
		known := slices.Sorted(maps.Keys(instructionFlags))
		return fmt.Errorf("%w%s", unknown, didYouMean(unknown.Instruction, known))
	}
	if m := unknownFlag.FindStringSubmatch(err.Error()); m != nil {
		known := instructionFlags[strings.ToUpper(n.Value)]
		return fmt.Errorf("%s%s", m[0], didYouMean(m[1], known))
	}
	return err
}

// withRemedy adds what to do about an error of the parser that does not say it.
func withRemedy(err error) error {
	for _, r := range remedies {
		if strings.Contains(err.Error(), r.cause) {
			return fmt.Errorf("%w: %s", err, r.remedy)
		}
	}
	return err
}

var remedies = []struct{ cause, remedy string }{
	{"missing unit in duration", "write it as 5s or 1m30s"},
	{"invalid network mode", "there are default, none and host"},
	{"can't find = in", "quote a value that has blanks in it"},
	{"unterminated heredoc", "it ends with a line that is its name alone"},
	{"looking for matching double-quote", `a quote is written \" where it is meant`},
}
