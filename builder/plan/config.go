package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	checks := []error{checkWords("entrypoint", c.Entrypoint), checkWords("cmd", c.Cmd)}
	for _, kv := range c.Env {
		_, _, err := ParseKeyValue("env", kv)
		checks = append(checks, err)
	}
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		_, _, err := ParseKeyValue("label", k+"="+c.Labels[k])
		checks = append(checks, err)
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

func checkWords(what string, words []string) error {
	for _, word := range words {
		if err := checkText(word); err != nil {
			return fmt.Errorf("malformed %s %q: %w", what, word, err)
		}
	}
	return nil
}
