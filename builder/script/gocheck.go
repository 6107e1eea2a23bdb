package script

import (
	"slices"
	"strings"
)

var hostCommands = map[string]command{
	"go":   {run: runGo, check: checkGo, native: true},
	"git":  {run: runGit, check: checkGit, native: true},
	"make": {run: runMake, check: checkMake, native: true},
}

const hintHostExec = "--allow-host-exec runs it on the host, unconfined"

// goCommands are those of the go command that compile, download or look.
var goCommands = strings.Fields("build install mod env version vet list get clean fmt work help")

// goRuns are those that run code of the project.
var goRuns = strings.Fields("generate run test tool")

func checkGo(c *checker, args []word) *refusal {
	if len(args) == 0 {
		return nil
	}
	if !args[0].known {
		return &refusal{"go with a command that is only known when it runs", ""}
	}
	switch verb := args[0].text; {
	case slices.Contains(goRuns, verb):
		if !c.AllowHostExec && !harmlessTool(args) {
			return &refusal{"code of the project: go " + verb, hintHostExec}
		}
	case !slices.Contains(goCommands, verb):
		return &refusal{"go that knows more: go " + verb, ""}
	}
	flags := slices.Clone(args)
	for f := range strings.FieldsSeq(c.vars["GOFLAGS"].text) {
		flags = append(flags, word{f, true})
	}
	for i, a := range flags {
		if !a.known {
			continue
		}
		if r := c.checkGoFlag(a.text, flags[i+1:]); r != nil {
			return r
		}
	}
	return nil
}

// goPrograms are variables that name programs for the go command to run.
var goPrograms = []string{"GOAUTH", "GOCACHEPROG"}

// harmlessTool tells whether go tool only prints.
func harmlessTool(args []word) bool {
	return args[0].text == "tool" && len(args) > 1 && (args[1].text == "dist" && len(args) > 2 && args[2].text == "list" || args[1].text == "buildid")
}

// checkGoFlag looks for what a flag of go build makes necessary.
func (c *checker) checkGoFlag(arg string, rest []word) *refusal {
	name, value, given := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
	if !strings.HasPrefix(arg, "-") {
		// go env -w keeps for later what is refused now.
		if slices.Contains(goPrograms, name) || name == "GOFLAGS" && strings.Contains(value, "toolexec") {
			name = "toolexec"
		} else {
			return nil
		}
	}
	if !given && len(rest) > 0 && rest[0].known {
		value = rest[0].text
	}
	switch name {
	case "toolexec", "exec", "vettool":
		if !c.AllowHostExec {
			return &refusal{"a program that the go command runs: " + arg, hintHostExec}
		}
	case "race", "msan", "asan":
		return &refusal{"a C toolchain: -" + name, ""}
	case "buildmode":
		if slices.Contains([]string{"c-archive", "c-shared", "plugin", "shared"}, value) {
			return &refusal{"a C toolchain: -buildmode=" + value, ""}
		}
	case "ldflags":
		if strings.Contains(strings.ReplaceAll(value, "=", " "), "-linkmode external") {
			return &refusal{"a C toolchain: -linkmode external", "the internal linker, which is the default"}
		}
	}
	return nil
}

// gitCommands are those that read, and the few that a build needs beside them.
var gitCommands = strings.Fields(`rev-parse describe log status show diff branch tag rev-list ls-files ls-remote cat-file symbolic-ref
	config clone checkout switch init fetch remote submodule version --version name-rev for-each-ref show-ref diff-index update-index hash-object`)

// gitVerb is the command among git's arguments.
func gitVerb(args []word) (word, bool) {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case !a.known:
			return a, true
		case a.text == "--version":
			return a, true
		case a.text == "-C" || a.text == "-c" || a.text == "--git-dir" || a.text == "--work-tree":
			i++
		case !strings.HasPrefix(a.text, "-"):
			return a, true
		}
	}
	return word{}, false
}

func checkGit(_ *checker, args []word) *refusal {
	verb, ok := gitVerb(args)
	switch {
	case !ok:
		return nil
	case !verb.known:
		return &refusal{"git with a command that is only known when it runs", ""}
	case !slices.Contains(gitCommands, verb.text):
		return &refusal{"git that changes something: git " + verb.text, ""}
	}
	for _, a := range args {
		// Configuration names programs, which git would run on the host.
		if a.known && strings.Contains(a.text, "file://") {
			return &refusal{"a repository of the host: " + a.text, ""}
		}
		if a.known && (strings.Contains(a.text, "credential.helper") || strings.Contains(a.text, "core.sshCommand") || strings.Contains(a.text, "alias.") ||
			strings.Contains(a.text, "core.fsmonitor") || strings.Contains(a.text, "core.hooksPath") || strings.HasPrefix(a.text, "--upload-pack") ||
			strings.Contains(a.text, "filter.") || strings.HasPrefix(a.text, "ext::") || strings.Contains(a.text, "core.pager") || strings.Contains(a.text, "core.editor")) {
			return &refusal{"a program that git runs: " + a.text, ""}
		}
	}
	return nil
}

func checkMake(c *checker, _ []word) *refusal {
	if c.AllowHostExec {
		return nil
	}
	return &refusal{"code of the project: make", hintHostExec + "; or write the go command that it runs"}
}
