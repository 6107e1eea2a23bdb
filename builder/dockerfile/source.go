package dockerfile

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagectl/stagectl/builder/plan"
)

// source is the text of a Dockerfile by lines, to find out from which of them
// the parts of an instruction come: the parser joins them.
type source struct {
	lines []string // without their ends
}

func newSource(text []byte) source {
	var s source
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))) {
		s.lines = append(s.lines, string(bytes.TrimRight(line, "\r\n")))
	}
	return s
}

// text of a line, for an error about an instruction that was not understood.
func (s source) text(line int) string {
	if line < 1 || line > len(s.lines) {
		return ""
	}
	return display(s.lines[line-1])
}

// join repeats what the parser does to the lines of the instruction n: it
// returns where each piece of the joined text comes from, and the last line
// of it, which here-documents follow. It is not ok where the text comes out
// as another than the parser's.
func (s source) join(n *parser.Node, escape rune) (pieces []plan.Line, last int, ok bool) {
	var joined strings.Builder
	more := true
	for last = n.StartLine - 1; more && last < min(n.EndLine, len(s.lines)); last++ {
		line := s.lines[last]
		if last+1 == n.StartLine {
			line = strings.TrimLeftFunc(line, unicode.IsSpace)
		} else if bare := strings.TrimSpace(line); bare == "" || bare[0] == '#' {
			continue
		}
		pieces = append(pieces, plan.Line{Offset: joined.Len(), Line: last + 1})
		line, more = cutContinuation(line, byte(escape))
		joined.WriteString(line)
	}
	return pieces, last, joined.String() == n.Original
}

// cutContinuation removes the escape character that makes a line go on: the
// last one but blanks, unless there is one before it.
func cutContinuation(line string, escape byte) (string, bool) {
	bare := strings.TrimRight(line, " \t")
	if bare == "" || bare[len(bare)-1] != escape {
		return line, false
	}
	bare = bare[:len(bare)-1]
	if bare != "" && bare[len(bare)-1] == escape {
		return line, false
	}
	return bare, true
}

// scriptLines maps the script of the RUN n to the lines of the file. Of that
// script, head is what stands on the line of the RUN itself.
func (f *File) scriptLines(n *parser.Node, script string, head int) []plan.Line {
	pieces, last, ok := f.source.join(n, f.escape)
	text := strings.TrimRightFunc(n.Original, unicode.IsSpace)
	start := len(text) - head
	if !ok || start < 0 || (head > 0 && text[start:] != script[:head]) {
		return []plan.Line{{Line: n.StartLine}}
	}
	var lines []plan.Line
	if head > 0 {
		for i, p := range pieces {
			if i+1 < len(pieces) && pieces[i+1].Offset <= start {
				continue
			}
			lines = append(lines, plan.Line{Offset: max(p.Offset-start, 0), Line: p.Line})
		}
	}
	// The rest is here-documents, which keep their lines.
	for offset := head; offset < len(script); {
		if script[offset] == '\n' && offset == head && head > 0 {
			offset++ // ends the first line
			continue
		}
		last++
		lines = append(lines, plan.Line{Offset: offset, Line: last})
		end := strings.IndexByte(script[offset:], '\n')
		if end < 0 {
			break
		}
		offset += end + 1
	}
	return lines
}
