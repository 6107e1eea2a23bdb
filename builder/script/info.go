package script

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/expand"
)

var infoCommands = map[string]command{
	"id":       {run: runID, flags: flagSpec{short: "ugGnr", long: map[string]string{"user": "u", "group": "g", "groups": "G", "name": "n"}}},
	"whoami":   {run: runWhoami},
	"groups":   {run: runGroups},
	"uname":    {run: runUname, flags: flagSpec{short: "asnrvmpoi", long: map[string]string{"machine": "m", "kernel-name": "s", "operating-system": "o", "all": "a"}}},
	"arch":     {run: func(c *call) int { c.printf("%s\n", c.machineName()); return 0 }},
	"hostname": {run: func(c *call) int { c.printf("%s\n", hostname); return 0 }},
	"nproc":    {run: func(c *call) int { c.printf("1\n"); return 0 }, flags: flagSpec{long: map[string]string{"all": "a"}, short: "a"}},
	"printenv": {run: runPrintenv},
	"date":     {run: runDate, check: checkDate},
	"dpkg":     {run: runDpkg, check: checkDpkg},
}

func runID(c *call) int {
	u := c.user
	if len(c.operands) > 0 {
		var err error
		if u, err = c.stage.Login(c.operands[0].text); err != nil {
			return c.errorf(1, "%v", err)
		}
	}
	groups, err := c.groupsOf(u.Name, u.GID)
	if err != nil {
		return c.fail(err)
	}
	switch {
	case c.has('u') && c.has('n'):
		c.printf("%s\n", orNumber(u.Name, u.UID))
	case c.has('u'):
		c.printf("%d\n", u.UID)
	case c.has('g') && c.has('n'):
		c.printf("%s\n", groups[0].name)
	case c.has('g'):
		c.printf("%d\n", u.GID)
	case c.has('G'):
		c.printf("%s\n", joinGroups(groups, " ", func(g groupName) string {
			if c.has('n') {
				return g.name
			}
			return strconv.Itoa(g.gid)
		}))
	default:
		named := func(g groupName) string { return fmt.Sprintf("%d(%s)", g.gid, g.name) }
		c.printf("uid=%d(%s) gid=%s groups=%s\n", u.UID, orNumber(u.Name, u.UID), named(groups[0]), joinGroups(groups, ",", named))
	}
	return 0
}

func orNumber(name string, id int) string {
	if name == "" {
		return strconv.Itoa(id)
	}
	return name
}

type groupName struct {
	gid  int
	name string
}

func joinGroups(groups []groupName, sep string, fn func(groupName) string) string {
	var all []string
	for _, g := range groups {
		all = append(all, fn(g))
	}
	return strings.Join(all, sep)
}

// groupsOf are the groups of a user, its own first.
func (c *call) groupsOf(name string, gid int) ([]groupName, error) {
	groups, err := c.stage.Groups()
	all := []groupName{{gid, strconv.Itoa(gid)}}
	for _, g := range groups {
		switch {
		case g.GID == gid:
			all[0].name = g.Name
		case slices.Contains(g.Members, name):
			all = append(all, groupName{g.GID, g.Name})
		}
	}
	return all, err
}

func runWhoami(c *call) int {
	c.printf("%s\n", orNumber(c.user.Name, c.user.UID))
	return 0
}

func runGroups(c *call) int {
	groups, err := c.groupsOf(c.user.Name, c.user.GID)
	if err != nil {
		return c.fail(err)
	}
	c.printf("%s\n", joinGroups(groups, " ", func(g groupName) string { return g.name }))
	return 0
}

// machineNames are what uname calls the architectures.
var machineNames = map[string]string{
	"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64",
	"loong64": "loongarch64", "mips64le": "mips64", "mips64": "mips64", "ppc64": "ppc64",
}

func (c *call) machineName() string {
	p := c.host.Platform
	if p.Architecture == "arm" {
		return "arm" + strings.TrimSuffix(p.Variant, "l") + "l"
	}
	if name, ok := machineNames[p.Architecture]; ok {
		return name
	}
	return p.Architecture
}

// runUname tells of a kernel that is none: only what builds use is right.
func runUname(c *call) int {
	var parts []string
	for _, f := range []struct {
		letters, value string
	}{{"sa", "Linux"}, {"na", hostname}, {"ra", "0"}, {"va", "#1"}, {"ma", c.machineName()}, {"pi", c.machineName()}, {"oa", "Linux"}} {
		if c.any(f.letters) {
			parts = append(parts, f.value)
		}
	}
	if parts == nil {
		parts = []string{"Linux"}
	}
	c.printf("%s\n", strings.Join(parts, " "))
	return 0
}

func runWhich(c *call) int {
	status := 0
	for _, name := range c.flags.args() {
		p, ok := c.find(name)
		if !ok || p == name && !strings.Contains(name, "/") {
			status = 1
			continue
		}
		c.printf("%s\n", p)
	}
	return status
}

// exported are the variables that programs get.
func (c *call) exported() map[string]string {
	vars := map[string]string{}
	for name, v := range c.hc.Env.Each {
		if v.Exported && v.IsSet() {
			vars[name] = v.String()
		} else {
			delete(vars, name)
		}
	}
	return vars
}

// environ is what is shown of the variables: with the directory, which shells
// export.
func (c *call) environ() map[string]string {
	vars := c.exported()
	if dir := c.hc.Env.Get("PWD"); dir.IsSet() {
		vars["PWD"] = dir.String()
	}
	return vars
}

func runPrintenv(c *call) int {
	vars := c.environ()
	if len(c.operands) == 0 {
		for _, name := range slices.Sorted(maps.Keys(vars)) {
			c.printf("%s=%s\n", name, vars[name])
		}
		return 0
	}
	status := 0
	for _, name := range c.flags.args() {
		value, ok := vars[name]
		if !ok {
			status = 1
			continue
		}
		c.printf("%s\n", value)
	}
	return status
}

var dateFlags = flagSpec{short: "uRId:F:", long: map[string]string{
	"utc": "u", "universal": "u", "rfc-email": "R", "rfc-2822": "R", "date": "d", "rfc-3339": "F",
}}

// dateArgs gives -I, whose value may only be glued to it, a form of its own.
func dateArgs(args []word) []word {
	out := make([]word, len(args))
	for i, a := range args {
		if a.known {
			switch {
			case strings.HasPrefix(a.text, "--iso-8601"):
				a.text = "+iso:" + strings.TrimPrefix(strings.TrimPrefix(a.text, "--iso-8601"), "=")
			case strings.HasPrefix(a.text, "-I"):
				a.text = "+iso:" + a.text[2:]
			case strings.HasPrefix(a.text, "-uI"):
				a.text = "+iso:" + a.text[3:]
			}
		}
		out[i] = a
	}
	return out
}

func checkDate(_ *checker, args []word) *refusal {
	f, err := dateFlags.parse(dateArgs(args))
	if err == nil && f.has('d') && f.values['d'][0].known {
		_, err = parseDate(f.value('d'), time.Unix(0, 0))
	}
	if err != nil {
		return &refusal{"date that knows more: " + err.Error(), ""}
	}
	return nil
}

func parseDate(s string, now time.Time) (time.Time, error) {
	if s == "now" || s == "today" || s == "" {
		return now, nil
	}
	if rest, ok := strings.CutPrefix(s, "@"); ok {
		n, err := strconv.ParseInt(rest, 10, 64)
		return time.Unix(n, 0).UTC(), err
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 -0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02", time.RFC1123Z} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return now, fmt.Errorf("the date %q", s)
}

func runDate(c *call) int {
	f, err := dateFlags.parse(dateArgs(words(c.args)))
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	c.flags = f
	t, err := parseDate(f.value('d'), c.host.Now.UTC())
	if err != nil {
		return c.errorf(1, "%v", err)
	}
	format := "%a %b %e %H:%M:%S UTC %Y"
	isoFormats := map[string]string{"": "%Y-%m-%d", "date": "%Y-%m-%d", "hours": "%Y-%m-%dT%H+00:00", "minutes": "%Y-%m-%dT%H:%M+00:00", "seconds": "%Y-%m-%dT%H:%M:%S+00:00"}
	switch {
	case f.has('R'):
		format = "%a, %d %b %Y %H:%M:%S +0000"
	case f.has('F'):
		format = map[string]string{"date": "%Y-%m-%d", "seconds": "%Y-%m-%d %H:%M:%S+00:00"}[f.value('F')]
	}
	for _, a := range f.args() {
		iso, ok := strings.CutPrefix(a, "+iso:")
		switch {
		case ok:
			format, ok = isoFormats[iso]
		case strings.HasPrefix(a, "+"):
			format, ok = a[1:], true
		}
		if !ok {
			return c.errorf(1, "invalid date %q", a)
		}
	}
	c.printf("%s\n", strftime(format, t))
	return 0
}

// strftime formats a time as the function of C does.
func strftime(format string, t time.Time) string {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'y': "06", 'e': "_2", 'b': "Jan", 'h': "Jan", 'B': "January",
		'a': "Mon", 'A': "Monday", 'p': "PM", 'j': "002", 'F': "2006-01-02", 'T': "15:04:05", 'D': "01/02/06", 'R': "15:04", 'z': "-0700", 'Z': "MST",
		'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'r': "03:04:05 PM",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		plain := format[i] == '-'
		if plain && i+1 < len(format) {
			i++
		}
		text, ok := layouts[format[i]]
		switch {
		case ok:
			text = t.Format(text)
		case format[i] == 's':
			text = strconv.FormatInt(t.Unix(), 10)
		case format[i] == 'N':
			text = fmt.Sprintf("%09d", t.Nanosecond())
		case format[i] == 'n':
			text = "\n"
		case format[i] == 't':
			text = "\t"
		case format[i] == 'u':
			text = strconv.Itoa((int(t.Weekday())+6)%7 + 1)
		case format[i] == '%':
			text = "%"
		default:
			text = "%" + string(format[i])
		}
		if plain {
			text = strings.TrimLeft(text, "0 ")
		}
		b.WriteString(text)
	}
	return b.String()
}

func checkDpkg(_ *checker, args []word) *refusal {
	if len(args) == 1 && args[0].text == "--print-architecture" {
		return nil
	}
	return &refusal{"packages: dpkg", ""}
}

func runDpkg(c *call) int {
	p := c.host.Platform
	arch := map[string]string{"386": "i386", "ppc64le": "ppc64el", "mips64le": "mips64el"}[p.Architecture]
	switch {
	case p.Architecture == "arm" && p.Variant == "v6":
		arch = "armel"
	case p.Architecture == "arm":
		arch = "armhf"
	case arch == "":
		arch = p.Architecture
	}
	c.printf("%s\n", arch)
	return 0
}

// fixedEnv is an environment of exported variables alone.
type fixedEnv map[string]string

// Get implements expand.Environ.
func (e fixedEnv) Get(name string) expand.Variable {
	value, ok := e[name]
	if !ok {
		return expand.Variable{}
	}
	return expand.Variable{Set: true, Exported: true, Kind: expand.String, Str: value}
}

// Each implements expand.Environ.
func (e fixedEnv) Each(fn func(string, expand.Variable) bool) {
	for name := range e {
		if !fn(name, e.Get(name)) {
			return
		}
	}
}
