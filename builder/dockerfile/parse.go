package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagectl/stagectl/builder/plan"
)

// File is a Dockerfile without errors in its syntax. It is not changed by what
// is made of it.
type File struct {
	name   string
	source source
	escape rune
	// args are the ARG before the first FROM.
	args   []*parser.Node
	stages []section
	// warnings about the syntax.
	warnings []*Error
}

// section is a FROM and the instructions up to the next.
type section struct {
	from         *parser.Node
	instructions []*parser.Node
}

// Parse reads a Dockerfile; its name is for errors. All errors in the syntax
// are reported, each as an *Error.
func Parse(name string, r io.Reader) (*File, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	f := &File{name: name}
	errs := f.checkText(text)
	if len(errs) == 0 {
		errs = f.checkDirectives(text)
	}
	if len(errs) > 0 {
		return nil, join(errs)
	}
	nodes, errs := f.nodes(text)
	errs = append(errs, f.divide(nodes)...)
	if len(errs) > 0 {
		return nil, join(errs)
	}
	return f, nil
}

// checkText refuses what no plan can hold, since a plan is JSON.
func (f *File) checkText(text []byte) []*Error {
	var errs []*Error
	line := 0
	for raw := range bytes.Lines(text) {
		line++
		switch {
		case !utf8.Valid(raw):
			errs = append(errs, &Error{File: f.name, Line: line, Err: errors.New("the line is not UTF-8")})
		case bytes.IndexByte(raw, 0) >= 0:
			errs = append(errs, &Error{File: f.name, Line: line, Err: errors.New("the line has a NUL in it")})
		}
	}
	return errs
}

// knownFrontEnds are the images that this package stands for.
var knownFrontEnds = regexp.MustCompile(`^(docker\.io/)?docker/dockerfile(-upstream)?(:[\w][\w.-]*)?(@sha256:[0-9a-f]{64})?$`)

// checkSyntax refuses a front end that would have to be run.
func checkSyntax(ref string) error {
	if knownFrontEnds.MatchString(ref) {
		return nil
	}
	return fmt.Errorf("the front end %s is an image, and is not run: remove the line, if docker/dockerfile understands the rest", ref)
}

// checkDirectives does what the parser would, which counts the lines of
// directives from 0 and goes no further.
func (f *File) checkDirectives(text []byte) []*Error {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	var p parser.DirectiveParser
	directives, err := p.ParseAll(text)
	var errs []*Error
	for i, d := range directives {
		var err error
		switch {
		case d.Name == "escape" && d.Value != "`" && d.Value != `\`:
			err = fmt.Errorf("malformed escape %q: it is \\ or `", d.Value)
		case d.Name == "syntax":
			ref, _, _ := strings.Cut(d.Value, " ")
			err = checkSyntax(ref)
		}
		if err != nil {
			errs = append(errs, &Error{File: f.name, Line: i + 1, Instruction: "# " + d.Name + "=" + display(d.Value), Err: err})
		}
	}
	if err != nil { // one line each, and nothing may stand between
		errs = append(errs, &Error{File: f.name, Line: len(directives) + 1, Err: err})
	}
	return errs
}

// nodes has the instructions of text. The parser stops at the first error, so
// the lines of that are blanked, and it starts again.
func (f *File) nodes(text []byte) ([]*parser.Node, []*Error) {
	f.source = newSource(text)
	lines := bytes.SplitAfter(text, []byte("\n"))
	var errs []*Error
	for {
		result, err := parser.Parse(bytes.NewReader(bytes.Join(lines, nil)))
		if err == nil {
			f.escape = result.EscapeToken
			for _, w := range result.Warnings {
				f.warnings = append(f.warnings, &Error{
					File: f.name, Line: w.Location.Start.Line, Err: errors.New("an instruction goes on over an empty line: remove that"),
				})
			}
			return withoutComments(result.AST.Children), errs
		}
		start, end := 0, 0
		if located := new(parser.LocationError); errors.As(err, &located) && len(located.Locations) > 0 {
			start, end = span(located.Locations[0])
		}
		if empty := err.Error() == "file with no instructions"; !empty {
			errs = append(errs, &Error{File: f.name, Line: start, Instruction: f.source.text(start), Err: withRemedy(err)})
		} else if len(errs) == 0 {
			errs = append(errs, &Error{File: f.name, Err: errors.New("the file has no instructions")})
		}
		if blanked := blank(lines, start, end); !blanked {
			return nil, errs
		}
	}
}

// withoutComments keeps BuildKit's linter, which is not used, from the comments
// that are for it: without a linter they would make it panic.
func withoutComments(nodes []*parser.Node) []*parser.Node {
	for _, n := range nodes {
		n.PrevComment = nil
	}
	return nodes
}

// blank empties the lines from start to end, and tells whether there was
// anything on them.
func blank(lines [][]byte, start, end int) bool {
	any := false
	for i := max(start, 1); i <= min(end, len(lines)); i++ {
		if len(bytes.TrimSpace(lines[i-1])) > 0 {
			any = true
		}
		lines[i-1] = []byte("\n")
	}
	return any
}

func span(ranges []parser.Range) (start, end int) {
	for i, r := range ranges {
		if i == 0 || r.Start.Line < start {
			start = r.Start.Line
		}
		end = max(end, r.End.Line)
	}
	return start, end
}

// divide makes the stages of nodes, and checks each.
func (f *File) divide(nodes []*parser.Node) []*Error {
	var errs []*Error
	fail := func(n *parser.Node, err error) { errs = append(errs, errorAt(f.position(n), err)) }
	orphaned := false
	for i, n := range nodes {
		name := strings.ToLower(n.Value)
		parsed, err := instructions.ParseInstruction(n)
		if err != nil {
			err = clarify(n, err)
			if i > 0 {
				err = fmt.Errorf("%w%s", err, continuation(nodes[i-1], n, f.escape))
			}
			fail(n, err)
		}
		if trigger, ok := parsed.(*instructions.OnbuildCommand); ok && err == nil {
			if _, _, err := parseTrigger(trigger.Expression); err != nil {
				fail(n, err)
			}
		}
		switch {
		case name == "from":
			f.stages = append(f.stages, section{from: n})
		case len(f.stages) > 0:
			last := &f.stages[len(f.stages)-1]
			last.instructions = append(last.instructions, n)
		case name == "arg":
			f.args = append(f.args, n)
		case err == nil && !orphaned:
			orphaned = true // what follows has the same cause
			fail(n, errors.New("there is no stage yet: only ARG may stand before the first FROM"))
		}
	}
	if len(f.stages) == 0 && len(errs) == 0 && len(nodes) > 0 {
		errs = append(errs, &Error{File: f.name, Err: errors.New("the file has no stage: a FROM is missing")})
	}
	return errs
}

// continuation is what to do about n, which is no instruction, where it reads
// as if the one before went on.
func continuation(before, n *parser.Node, escape rune) string {
	text := strings.TrimRight(before.Original, " \t")
	if _, ok := instructionFlags[strings.ToUpper(n.Value)]; ok || before.EndLine+1 != n.StartLine {
		return ""
	}
	for _, open := range []string{"&&", "||", "|", ";", ","} {
		if strings.HasSuffix(text, open) {
			return fmt.Sprintf(": the line before ends with %s, and goes on only with a %c", open, escape)
		}
	}
	return ""
}

// parseTrigger reads the instruction of an ONBUILD.
func parseTrigger(expression string) (*parser.Node, instructions.Command, error) {
	result, err := parser.Parse(strings.NewReader(expression))
	if err != nil {
		return nil, nil, err
	}
	if len(result.AST.Children) != 1 {
		return nil, nil, errors.New("a trigger is one instruction")
	}
	node := withoutComments(result.AST.Children)[0]
	cmd, err := instructions.ParseCommand(node)
	if err != nil {
		return nil, nil, clarify(node, err)
	}
	return node, cmd, nil
}

// position of an instruction.
func (f *File) position(n *parser.Node) *plan.Position {
	return &plan.Position{File: f.name, Line: n.StartLine, EndLine: n.EndLine, Text: display(n.Original)}
}

// Warnings are about the syntax; those about the rest go to Options.Warn.
func (f *File) Warnings() []*Error { return f.warnings }
