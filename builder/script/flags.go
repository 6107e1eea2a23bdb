package script

import (
	"fmt"
	"strings"
)

// flagSpec says which flags a command has.
type flagSpec struct {
	// short are the letters, each followed by a colon where it takes a value:
	// "rm:".
	short string
	// long maps names to letters: "recursive" to "r".
	long map[string]string
	// stop ends the flags at the first operand, as where a command follows.
	stop bool
}

// word is an argument. Its text is known where it does not depend on anything.
type word struct {
	text  string
	known bool
}

func words(args []string) []word {
	all := make([]word, len(args))
	for i, a := range args {
		all[i] = word{a, true}
	}
	return all
}

// flags are those that were given.
type flags struct {
	values map[byte][]word
	// operands are the other arguments.
	operands []word
}

func (f *flags) has(letter byte) bool { return len(f.values[letter]) > 0 }

// any tells whether one of the letters was given.
func (f *flags) any(letters string) bool {
	for i := range len(letters) {
		if f.has(letters[i]) {
			return true
		}
	}
	return false
}

// value is the last one of a flag, or empty.
func (f *flags) value(letter byte) string {
	if v := f.values[letter]; len(v) > 0 {
		return v[len(v)-1].text
	}
	return ""
}

// all are the values of a flag that may be repeated.
func (f *flags) all(letter byte) []string {
	var all []string
	for _, w := range f.values[letter] {
		all = append(all, w.text)
	}
	return all
}

// args are the operands' texts.
func (f *flags) args() []string {
	all := make([]string, len(f.operands))
	for i, w := range f.operands {
		all[i] = w.text
	}
	return all
}

// takes tells whether the letter is a flag, and whether it takes a value.
func (s flagSpec) takes(letter byte) (known, value bool) {
	i := strings.IndexByte(s.short, letter)
	if i < 0 || letter == ':' {
		return false, false
	}
	return true, i+1 < len(s.short) && s.short[i+1] == ':'
}

// parse reads flags anywhere among the arguments, as GNU's getopt does.
func (s flagSpec) parse(args []word) (*flags, error) {
	f := &flags{values: map[byte][]word{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case !arg.known || arg.text == "-" || !strings.HasPrefix(arg.text, "-") || s.number(arg.text):
			f.operands = append(f.operands, arg)
			if s.stop {
				f.operands = append(f.operands, args...)
				return f, nil
			}
		case arg.text == "--":
			f.operands = append(f.operands, args...)
			return f, nil
		case strings.HasPrefix(arg.text, "--"):
			args, err = s.longFlag(f, arg.text[2:], args)
		default:
			args, err = s.shortFlags(f, arg.text[1:], args)
		}
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// number tells whether an argument is a negative number, and no flag.
func (s flagSpec) number(arg string) bool {
	known, _ := s.takes(arg[1])
	return arg[1] >= '0' && arg[1] <= '9' && !known
}

func (s flagSpec) longFlag(f *flags, arg string, rest []word) ([]word, error) {
	name, value, given := strings.Cut(arg, "=")
	letter, ok := s.long[name]
	if !ok {
		return nil, fmt.Errorf("unknown option --%s", name)
	}
	_, takes := s.takes(letter[0])
	switch {
	case !takes && given:
		return nil, fmt.Errorf("option --%s takes no value", name)
	case takes && !given:
		if len(rest) == 0 {
			return nil, fmt.Errorf("option --%s needs a value", name)
		}
		f.values[letter[0]] = append(f.values[letter[0]], rest[0])
		return rest[1:], nil
	}
	f.values[letter[0]] = append(f.values[letter[0]], word{value, true})
	return rest, nil
}

func (s flagSpec) shortFlags(f *flags, letters string, rest []word) ([]word, error) {
	for i := range len(letters) {
		letter := letters[i]
		known, takes := s.takes(letter)
		switch {
		case !known:
			return nil, fmt.Errorf("unknown option -%c", letter)
		case !takes:
			f.values[letter] = append(f.values[letter], word{known: true})
			continue
		case i+1 < len(letters):
			f.values[letter] = append(f.values[letter], word{letters[i+1:], true})
			return rest, nil
		case len(rest) == 0:
			return nil, fmt.Errorf("option -%c needs a value", letter)
		}
		f.values[letter] = append(f.values[letter], rest[0])
		return rest[1:], nil
	}
	return rest, nil
}
