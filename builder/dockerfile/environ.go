package dockerfile

import (
	"slices"
	"strings"
)

// variable is one of an environment.
type variable struct{ key, value string }

// environ has variables in the order in which they were first set. It is a
// shell.EnvGetter that, unlike that of package shell, does not take the case
// of names for the same where this runs on Windows.
type environ struct{ list []variable }

// Get returns the value of a variable.
func (e environ) Get(key string) (string, bool) {
	for _, v := range e.list {
		if v.key == key {
			return v.value, true
		}
	}
	return "", false
}

// Keys are the names of all variables.
func (e environ) Keys() []string {
	keys := make([]string, len(e.list))
	for i, v := range e.list {
		keys[i] = v.key
	}
	return keys
}

func (e *environ) set(key, value string) {
	for i := range e.list {
		if e.list[i].key == key {
			e.list[i].value = value
			return
		}
	}
	e.list = append(e.list, variable{key, value})
}

func (e environ) clone() environ { return environ{slices.Clone(e.list)} }

// strings has KEY=VALUE, which is nil where there is none.
func (e environ) strings() []string {
	var all []string
	for _, v := range e.list {
		all = append(all, v.key+"="+v.value)
	}
	return all
}

func environOf(env []string) environ {
	var e environ
	for _, kv := range env {
		if key, value, _ := strings.Cut(kv, "="); key != "" {
			e.set(key, value)
		}
	}
	return e
}
