package script

import (
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/stagectl/stagectl/builder/rootfs"
)

var grepFlags = flagSpec{
	short: "EFGPqvicnohHlLwxsrRe:m:a",
	long: map[string]string{
		"extended-regexp": "E", "fixed-strings": "F", "quiet": "q", "silent": "q", "invert-match": "v", "ignore-case": "i", "count": "c",
		"line-number": "n", "only-matching": "o", "no-filename": "h", "with-filename": "H", "files-with-matches": "l", "word-regexp": "w",
		"line-regexp": "x", "no-messages": "s", "recursive": "r", "regexp": "e", "max-count": "m", "color": "a", "text": "a",
	},
}

var searchCommands = map[string]command{
	"grep":  {run: runGrep, check: checkGrep},
	"egrep": {run: runGrep, check: checkGrep},
	"fgrep": {run: runGrep, check: checkGrep},
	"sed":   {run: runSed, check: checkSed},
}

func checkGrep(_ *checker, args []word) *refusal {
	f, err := grepFlags.parse(args)
	if err == nil && f.has('P') {
		return &refusal{"the expressions of Perl: grep -P", ""}
	}
	if err == nil && len(f.operands) > 0 && f.operands[0].known && !f.has('e') && !f.has('F') {
		_, err = compileRegex(f.operands[0].text, f.has('E'), false)
	}
	if err != nil {
		return &refusal{"grep that knows more: " + err.Error(), ""}
	}
	return nil
}

// grep is a search.
type grep struct {
	*call
	patterns []*regexp.Regexp
	found    bool
	names    bool
}

func runGrep(c *call) int {
	f, err := grepFlags.parse(words(c.args))
	if err != nil {
		return c.errorf(2, "%v", err)
	}
	c.flags = f
	args := f.args()
	g := &grep{call: c}
	patterns := f.all('e')
	if len(patterns) == 0 {
		if len(args) == 0 {
			return c.errorf(2, "missing pattern")
		}
		patterns, args = args[:1], args[1:]
	}
	for p := range strings.SplitSeq(strings.Join(patterns, "\n"), "\n") {
		re, err := g.compile(p)
		if err != nil {
			return c.errorf(2, "%v", err)
		}
		g.patterns = append(g.patterns, re)
	}
	status := g.all(args)
	switch {
	case g.found && (status == 0 || c.has('q')):
		return 0
	case status != 0:
		return 2
	}
	return 1
}

func (g *grep) compile(p string) (*regexp.Regexp, error) {
	extended := g.has('E') || g.name == "egrep"
	if g.has('F') || g.name == "fgrep" {
		p = regexp.QuoteMeta(p)
	} else {
		text, err := translateRegex(p, extended)
		if err != nil {
			return nil, err
		}
		p = text
	}
	if g.has('w') {
		p = `\b(?:` + p + `)\b`
	}
	if g.has('x') {
		p = `^(?:` + p + `)$`
	}
	if g.has('i') {
		p = "(?i)" + p
	}
	re, err := regexp.Compile(p)
	if err == nil {
		re.Longest()
	}
	return re, err
}

func (g *grep) all(args []string) (status int) {
	g.names = g.has('H') || !g.has('h') && (len(args) > 1 || g.any("rR"))
	if len(args) == 0 {
		args = []string{"-"}
		if g.any("rR") {
			args = []string{"."}
		}
	}
	for _, name := range args {
		for _, p := range g.files(name) {
			r, err := g.read(p)
			if err == nil {
				err = g.file(p, r)
				_ = r.Close()
			}
			if err != nil {
				status = 2
				if !g.has('s') {
					g.fail(err)
				}
			}
		}
	}
	return status
}

// files are those below a directory, with -r.
func (g *grep) files(name string) []string {
	if !g.any("rR") || name == "-" {
		return []string{name}
	}
	info, err := g.stage.Stat(g.path(name))
	if err != nil || !info.IsDir() {
		return []string{name}
	}
	list, err := g.stage.ReadDir(info.Path)
	if err != nil {
		return []string{name}
	}
	var all []string
	for _, child := range list {
		if child.IsDir() || child.Mode.IsRegular() {
			all = append(all, g.files(strings.TrimSuffix(name, "/")+"/"+path.Base(child.Path))...)
		}
	}
	return all
}

func (g *grep) file(name string, r io.Reader) error {
	limit, _ := strconv.Atoi(g.value('m'))
	prefix := ""
	if g.names {
		prefix = name + ":"
	}
	matches, number := 0, 0
	err := eachLine(r, func(text string, _ bool) error {
		number++
		at := g.match(text)
		if (at != nil) == g.has('v') {
			return nil
		}
		g.found = true
		matches++
		switch {
		case g.any("qlLc"):
		case g.has('o'):
			for _, re := range g.patterns {
				for _, m := range re.FindAllString(text, -1) {
					g.printf("%s%s\n", prefix, m)
				}
			}
		case g.has('n'):
			g.printf("%s%d:%s\n", prefix, number, text)
		default:
			g.printf("%s%s\n", prefix, text)
		}
		if g.any("ql") || g.has('m') && matches >= limit {
			return errStop
		}
		return nil
	})
	switch {
	case g.has('q'):
	case g.has('c'):
		g.printf("%s%d\n", prefix, matches)
	case g.has('l') && matches > 0, g.has('L') && matches == 0:
		g.printf("%s\n", name)
	}
	return err
}

func (g *grep) match(text string) []int {
	for _, re := range g.patterns {
		if at := re.FindStringIndex(text); at != nil {
			return at
		}
	}
	return nil
}

// findCommand is in a function of its own, since what it runs is any command.
func findCommand() command { return command{run: runFind, check: checkFind} }

// finder is a find.
type finder struct {
	*call
	paths []string
	// limits of the depth, max being -1 for none.
	minDepth, maxDepth int
	// depth first, and whether the expression acts by itself.
	depth, acts bool
	status      int
}

// test looks at a path, or does something with it. prune says not to go on
// below.
type test func(p string, info rootfs.Info) (ok, prune bool)

func checkFind(c *checker, args []word) *refusal {
	for i, a := range args {
		if a.known && (a.text == "-exec" || a.text == "-execdir" || a.text == "-ok") && i+1 < len(args) {
			if r := c.nested(args[i+1:]); r != nil {
				return r
			}
		}
		if !a.known || !strings.HasPrefix(a.text, "-") || i > 0 && findTakes[args[i-1].text] {
			continue
		}
		if !findTakes[a.text] && !strings.Contains(findPlain, a.text+" ") && !inExec(args[:i]) {
			return &refusal{"find that knows more: " + a.text, ""}
		}
	}
	return nil
}

// inExec tells whether what follows is of a command that find runs.
func inExec(before []word) bool {
	in := false
	for _, a := range before {
		switch a.text {
		case "-exec", "-execdir":
			in = true
		case ";", "+":
			in = false
		}
	}
	return in
}

// findTakes are the parts of an expression that have a value.
var findTakes = map[string]bool{
	"-name": true, "-iname": true, "-path": true, "-wholename": true, "-type": true, "-maxdepth": true, "-mindepth": true, "-exec": true,
}

const findPlain = "-not -o -or -a -and -print -print0 -delete -empty -prune -depth -xdev -mount -true -false -L -P -H "
