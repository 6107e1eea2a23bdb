package script

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/stagectl/stagectl/builder/plan"
)

// program is a script that is parsed.
type program struct {
	file *syntax.File
	// set are options of the shell, as "-e", "-o", "pipefail".
	set []string
	// args are the shell's arguments, from $1 on.
	args []string
	// shell is $0.
	shell string
	text  string
	lines func(offset int) int
}

// errShell is the cause where a script is in no language of a POSIX shell.
var errShell = errors.New("another language than that of a POSIX shell")

// parseRun parses what a RUN says, in any of its forms.
func parseRun(run *plan.Run) (*program, error) {
	switch {
	case len(run.Exec) > 0:
		return parseExec(run)
	case strings.HasPrefix(run.Script, plan.PipesDir+"/"):
		return parsePipe(run)
	}
	shell := run.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	set, rest, ok := shellFlags(shell)
	if !ok || len(rest) > 0 {
		return nil, fmt.Errorf("%w: %s", errShell, strings.Join(shell, " "))
	}
	return parseText(run.Script, shell[0], set, run.LineAt)
}

func parseText(text, shell string, set []string, lines func(int) int) (*program, error) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), shell)
	if err != nil {
		return nil, err
	}
	if path.Base(shell) != "bash" {
		keepBraces(file)
	}
	return &program{file: file, set: set, shell: shell, text: text, lines: lines}, nil
}

// keepBraces quotes the braces that only bash expands: in a RUN without SHELL,
// mkdir {a,b} makes one directory.
func keepBraces(file *syntax.File) {
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CallExpr:
			quoteBraces(n.Args)
		case *syntax.WordIter:
			quoteBraces(n.Items)
		}
		return true
	})
}

// isBraces tells {a,b} and {1..3} from {}.
func isBraces(part syntax.WordPart) bool {
	b, ok := part.(*syntax.BraceExp)
	return ok && len(b.Elems) > 1
}

func quoteBraces(words []*syntax.Word) {
	for _, w := range words {
		split := *w
		split.Parts = slices.Clone(w.Parts)
		if !syntax.SplitBraces(&split) || !slices.ContainsFunc(split.Parts, isBraces) {
			continue
		}
		for _, part := range w.Parts {
			lit, ok := part.(*syntax.Lit)
			if !ok {
				continue
			}
			var quoted strings.Builder
			for i := 0; i < len(lit.Value); i++ {
				switch c := lit.Value[i]; {
				case c == '\\' && i+1 < len(lit.Value):
					quoted.WriteString(lit.Value[i : i+2])
					i++
				case c == '{':
					quoted.WriteString(`\{`)
				default:
					quoted.WriteByte(c)
				}
			}
			lit.Value = quoted.String()
		}
	}
}

// named takes the arguments that follow the text of sh -c: $0 and the others.
func (p *program) named(args []string) {
	if len(args) > 0 {
		p.file.Name, p.args = args[0], args[1:]
	}
}

// parseExec parses the exec form: a command whose words are as they are.
func parseExec(run *plan.Run) (*program, error) {
	if set, rest, ok := shellFlags(run.Exec); ok && len(rest) > 0 {
		p, err := parseText(rest[0], run.Exec[0], set, func(int) int { return run.LineAt(0) })
		if err == nil {
			p.named(rest[1:])
		}
		return p, err
	}
	quoted := make([]string, len(run.Exec))
	for i, w := range run.Exec {
		q, err := syntax.Quote(w, syntax.LangBash)
		if err != nil {
			return nil, err
		}
		quoted[i] = q
	}
	return parseText(strings.Join(quoted, " "), "/bin/sh", nil, func(int) int { return run.LineAt(0) })
}

// parsePipe parses a here-document that is a script of its own, by its first line.
func parsePipe(run *plan.Run) (*program, error) {
	i := slices.IndexFunc(run.Files, func(f plan.Inline) bool { return path.Join(plan.PipesDir, f.Name) == run.Script })
	if i < 0 {
		return nil, fmt.Errorf("there is no %s", run.Script)
	}
	text := run.Files[i].Data
	first, _, _ := strings.Cut(text, "\n")
	words := strings.Fields(strings.TrimPrefix(first, "#!"))
	if len(words) > 1 && path.Base(words[0]) == "env" {
		words = words[1:]
		if words[0] == "-S" {
			words = words[1:]
		}
	}
	set, rest, ok := shellFlags(append(words, "-c"))
	if !strings.HasPrefix(first, "#!") || !ok || len(rest) > 0 {
		return nil, fmt.Errorf("%w: %s", errShell, first)
	}
	return parseText(text, run.Script, set, func(int) int { return run.LineAt(0) })
}

// shells are those whose scripts are understood.
var shells = []string{"sh", "ash", "bash", "dash"}

// shellFlags reads a call of a shell up to its script: "bash -euo pipefail -c".
// It is false for what is none, or runs no text.
func shellFlags(args []string) (set, rest []string, ok bool) {
	if len(args) > 1 && path.Base(args[0]) == "busybox" {
		args = args[1:]
	}
	if len(args) == 0 || !slices.Contains(shells, path.Base(args[0])) {
		return nil, nil, false
	}
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if len(arg) < 2 || arg[0] != '-' || arg == "--" {
			return set, args[i:], ok
		}
		if strings.HasPrefix(arg, "--") { // of bash: --login, --noprofile, --norc
			continue
		}
		for _, letter := range arg[1:] {
			switch letter {
			case 'c':
				ok = true
			case 'l', 'i':
			case 'o':
				if i++; i == len(args) {
					return nil, nil, false
				}
				set = append(set, "-o", args[i])
			case 'e', 'u', 'x', 'f', 'a':
				set = append(set, "-"+string(letter))
			default:
				return nil, nil, false
			}
		}
	}
	return set, nil, ok
}

// known returns the text of a word that depends on nothing: no variable, no
// command, no file.
func known(w *syntax.Word) (string, bool) {
	ok := true
	syntax.Walk(w, func(n syntax.Node) bool {
		switch n.(type) {
		case *syntax.ParamExp, *syntax.CmdSubst, *syntax.ArithmExp, *syntax.ProcSubst, *syntax.ExtGlob:
			ok = false
		}
		return ok
	})
	if !ok {
		return "", false
	}
	fields, err := expand.Fields(&expand.Config{Env: noEnv{}}, w)
	if err != nil || len(fields) != 1 {
		return "", false
	}
	return fields[0], true
}

// noEnv has no variables, and does not ask the host for homes.
type noEnv struct{}

func (noEnv) Get(name string) expand.Variable {
	if name == "HOME" || strings.HasPrefix(name, "HOME ") {
		return expand.Variable{Set: true, Kind: expand.String, Str: "~" + strings.TrimPrefix(strings.TrimPrefix(name, "HOME"), " ")}
	}
	return expand.Variable{}
}

func (noEnv) Each(func(string, expand.Variable) bool) {}

// maxShown is how much of a command is shown, in bytes.
const maxShown = 160

// show returns the text of a node on one line.
func show(n syntax.Node) string {
	var b bytes.Buffer
	_ = syntax.NewPrinter(syntax.SingleLine(true)).Print(&b, n) // of a part of a command, it says no
	return oneLine(b.String())
}

func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return text
}
