package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Config changes an image's configuration. What is nil or empty is kept as
// the base has it.
type Config struct {
	// Entrypoint, unless nil, replaces the base's and clears its Cmd. Empty
	// but not nil it removes it.
	Entrypoint []string `json:"entrypoint,omitzero"`
	// Cmd, unless nil, replaces the base's.
	Cmd []string `json:"cmd,omitzero"`
	// Env holds KEY=VALUE; later ones replace earlier ones and the base's.
	Env []string `json:"env,omitempty"`
	// WorkingDir replaces the base's.
	WorkingDir string `json:"workingDir,omitempty"`
	// User replaces the base's, verbatim.
	User string `json:"user,omitempty"`
	// Labels are added to the base's.
	Labels map[string]string `json:"labels,omitempty"`
	// Ports are added to the base's, as "8080/tcp".
	Ports []string `json:"ports,omitempty"`
	// Volumes are added to the base's.
	Volumes []string `json:"volumes,omitempty"`
	// StopSignal replaces the base's.
	StopSignal string `json:"stopSignal,omitempty"`
	// Healthcheck replaces the base's.
	Healthcheck *v1.HealthConfig `json:"healthcheck,omitempty"`
	// StartInterval goes with Healthcheck, which has no place for it: Apply
	// leaves it to whoever writes the image's configuration.
	StartInterval time.Duration `json:"startInterval,omitempty"`
	// Shell, unless nil, replaces the base's.
	Shell []string `json:"shell,omitzero"`
	// OnBuild, unless nil, replaces the base's. Empty but not nil it removes them.
	OnBuild []string `json:"onBuild,omitzero"`
	// ArgsEscaped is what CMD of a Dockerfile sets, whatever it is.
	ArgsEscaped bool `json:"argsEscaped,omitempty"`
	// Author replaces the base's. It is not in the part of the configuration
	// that Apply gets, and so for whoever writes the rest.
	Author string `json:"author,omitempty"`
}

// Apply carries c out on to. The maps and slices that to comes with may be
// shared: they are replaced, never written to, and none of c's end up in it.
func (c Config) Apply(to *v1.Config) {
	if c.Entrypoint != nil {
		to.Entrypoint, to.Cmd = nonEmpty(c.Entrypoint), nil
	}
	if c.Cmd != nil {
		to.Cmd = nonEmpty(c.Cmd)
	}
	if c.Shell != nil {
		to.Shell = nonEmpty(c.Shell)
	}
	if c.OnBuild != nil {
		to.OnBuild = nonEmpty(c.OnBuild)
	}
	to.ArgsEscaped = to.ArgsEscaped || c.ArgsEscaped
	for _, kv := range c.Env {
		to.Env = setEnv(to.Env, kv)
	}
	set(&to.WorkingDir, c.WorkingDir)
	set(&to.User, c.User)
	set(&to.StopSignal, c.StopSignal)
	if c.Healthcheck != nil {
		to.Healthcheck = c.Healthcheck.DeepCopy()
	}
	if len(c.Labels) > 0 {
		labels := maps.Clone(c.Labels)
		for k, v := range to.Labels {
			if _, ok := labels[k]; !ok {
				labels[k] = v
			}
		}
		to.Labels = labels
	}
	to.ExposedPorts = union(to.ExposedPorts, c.Ports)
	to.Volumes = union(to.Volumes, c.Volumes)
}

// nonEmpty copies words, and makes nil of none, as images have it.
func nonEmpty(words []string) []string { return append([]string(nil), words...) }

func set(to *string, s string) {
	if s != "" {
		*to = s
	}
}

func union(have map[string]struct{}, keys []string) map[string]struct{} {
	if len(keys) == 0 {
		return have
	}
	all := make(map[string]struct{}, len(have)+len(keys))
	maps.Copy(all, have)
	for _, k := range keys {
		all[k] = struct{}{}
	}
	return all
}

// setEnv keeps the place of a variable that is there already. Of one that is
// there twice only one stays, since programs differ in which of them counts.
func setEnv(env []string, kv string) []string {
	key, _, _ := strings.Cut(kv, "=")
	same := func(e string) bool { return strings.HasPrefix(e, key+"=") }
	at := slices.IndexFunc(env, same)
	if at < 0 {
		return append(slices.Clip(env), kv)
	}
	rest := slices.DeleteFunc(slices.Clone(env[at+1:]), same)
	return slices.Concat(env[:at], []string{kv}, rest)
}

// validate holds c to what the parsers of this package make.
func (c Config) validate() error {
	checks := []error{
		checkWords("entrypoint", c.Entrypoint), checkWords("cmd", c.Cmd), checkWords("shell", c.Shell),
		checkWords("trigger", c.OnBuild), checkWords("author", []string{c.Author}),
	}
	if c.Shell != nil && len(c.Shell) == 0 {
		checks = append(checks, errors.New("the shell has no words"))
	}
	if c.StartInterval < 0 {
		checks = append(checks, fmt.Errorf("start interval %s is negative", c.StartInterval))
	}
	for _, kv := range c.Env {
		_, _, err := ParseKeyValue("env", kv)
		checks = append(checks, err)
	}
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		checks = append(checks, checkLabel(k, c.Labels[k]))
	}
	for _, port := range c.Ports {
		ports, err := ParsePort(port)
		if err == nil && !slices.Equal(ports, []string{port}) {
			err = fmt.Errorf("malformed port %q: it is written %s", port, strings.Join(ports, ", "))
		}
		checks = append(checks, err)
	}
	for _, volume := range c.Volumes {
		_, err := ParseAbs("volume", volume)
		checks = append(checks, err)
	}
	for _, field := range []struct {
		value string
		parse func(string) (string, error)
	}{
		{c.WorkingDir, func(s string) (string, error) { return ParseAbs("working directory", s) }},
		{c.User, ParseUser},
		{c.StopSignal, ParseSignal},
	} {
		if field.value != "" {
			_, err := field.parse(field.value)
			checks = append(checks, err)
		}
	}
	return cmp.Or(checks...)
}

// checkLabel takes more than the command line does: a Dockerfile may quote
// blanks into the key.
func checkLabel(key, value string) error {
	if key == "" {
		return fmt.Errorf("malformed label %q: it has no key", "="+value)
	}
	return checkWords("label", []string{key + "=" + value})
}

func checkWords(what string, words []string) error {
	for _, word := range words {
		if err := checkText(word); err != nil {
			return fmt.Errorf("malformed %s %q: %w", what, word, err)
		}
	}
	return nil
}
