package dockerfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

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
	return &Error{File: pos.File, Line: pos.Line, Instruction: pos.Text, Err: err}
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

// distance is how many bytes are to be changed to make b out of a, after
// Levenshtein.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
