package golang

import (
	"slices"
	"strings"
)

// ofFiles tells whether files are compiled that are named one by one. The go
// command takes the directory that they are in for a part of the build ID.
func ofFiles(args []string) bool {
	_, operands := splitArgs(args[1:])
	return len(operands) > 0 && !slices.ContainsFunc(operands, func(o string) bool { return !strings.HasSuffix(o, ".go") })
}

func withoutBuildID(args []string) []string {
	flags, operands := splitArgs(args[1:])
	return slices.Concat(args[:1], addLdflag(flags, "-buildid="), operands)
}

// addLdflag appends to the value of -ldflags, of which the last one counts.
func addLdflag(flags []string, flag string) []string {
	for i := len(flags) - 1; i >= 0; i-- {
		name, value, given := strings.Cut(strings.TrimLeft(flags[i], "-"), "=")
		switch {
		case !strings.HasPrefix(flags[i], "-") || name != "ldflags":
		case given:
			flags[i] = "-ldflags=" + value + " " + flag
			return flags
		case i+1 < len(flags):
			flags[i+1] += " " + flag
			return flags
		}
	}
	return append(flags, "-ldflags="+flag)
}

// valued are the flags of go build whose value may be a word of its own.
var valued = strings.Fields(`C asmflags buildmode buildvcs compiler covermode coverpkg gccgoflags gcflags installsuffix ldflags
	mod modfile o overlay p pgo pkgdir tags toolexec`)

// splitArgs tells flags, with their values, from packages.
func splitArgs(args []string) (flags, operands []string) {
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") {
			return flags, args[i:]
		}
		flags = append(flags, args[i])
		if name := strings.TrimLeft(args[i], "-"); slices.Contains(valued, name) && name != "buildvcs" && i+1 < len(args) {
			i++
			flags = append(flags, args[i])
		}
	}
	return flags, nil
}

func hasFlag(flags []string, name string) bool {
	return slices.ContainsFunc(flags, func(f string) bool {
		given, _, _ := strings.Cut(strings.TrimLeft(f, "-"), "=")
		return strings.HasPrefix(f, "-") && given == name
	})
}

// flagWords is a flag with its value, in one word or two.
type flagWords struct {
	name  string
	words []string
}

// divideFlags tells the flags from each other that splitArgs returns.
func divideFlags(flags []string) []flagWords {
	var all []flagWords
	for i := 0; i < len(flags); i++ {
		name, _, given := strings.Cut(strings.TrimLeft(flags[i], "-"), "=")
		n := 1
		if !given && slices.Contains(valued, name) && name != "buildvcs" && i+1 < len(flags) {
			n = 2
		}
		all = append(all, flagWords{name, flags[i : i+n : i+n]})
		i += n - 1
	}
	return all
}
