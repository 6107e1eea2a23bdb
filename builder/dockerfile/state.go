package dockerfile

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// defaultPath is the PATH of an image that has none, as BuildKit has it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// state is what an instruction finds and leaves.
type state struct {
	// env has the ARGs, too, which config.Env does not.
	env environ
	// args are the names of the ARGs so far.
	args []string
	// config is that of the image so far, as far as instructions depend on it.
	// Stages share what it points to: plan.Config replaces, and never changes it.
	config v1.Config
	// unknown tells that the base's configuration is not in it.
	unknown bool
	// cmdSet is whether the stage has had a CMD of its own.
	cmdSet bool
	steps  []plan.Step
}

// empty tells whether the stage starts from nothing, or from a directory.
func (s *stage) empty() bool {
	return s.base == nil && (s.from.kind != plan.FromImage || s.from.name == plan.Scratch)
}

// setConfigOfBase finds the configuration of the image that s is made from.
func (c *converter) setConfigOfBase(s *stage) {
	if s.base != nil || s.empty() {
		s.unknown = s.failed
		return
	}
	p := plan.Normalize(c.opts.TargetPlatform)
	if s.platform != nil {
		p = *s.platform
	}
	r := c.resolve(s.from.name, p)
	if r.err != nil {
		c.fail(s.position, r.err)
	}
	if s.unknown = r.config == nil; !s.unknown {
		s.config = *r.config
	}
}

// convert carries out the instructions of s, whose base is done.
func (c *converter) convert(s *stage) plan.Stage {
	c.enter(s)
	for _, cmd := range s.commands {
		if cmd.broken {
			continue
		}
		if err := c.dispatch(s, cmd); err != nil {
			c.fail(cmd.position, err)
		}
	}
	out := plan.Stage{Name: s.id, Platform: s.platform, Steps: s.steps, Position: s.position}
	switch {
	case s.base != nil:
		out.Base = s.base.id
	case s.from.kind == plan.FromImage:
		out.Base = s.from.name
	default:
		out.Base = plan.Scratch
	}
	if out.Steps == nil {
		out.Steps = []plan.Step{}
	}
	return out
}

// enter sets what the first instruction of s finds. What has to change about
// the base for that becomes the first step.
func (c *converter) enter(s *stage) {
	if s.base != nil {
		s.config, s.env, s.unknown = s.base.config, s.base.env.clone(), s.base.unknown
		s.args = slices.Clone(s.base.args)
	} else if s.from.kind == plan.FromContext {
		s.add(s.position, plan.Step{Files: &plan.Files{
			From: s.from.name, FromKind: plan.FromContext, Sources: []string{"/"}, Dest: "/",
		}})
	}
	if !s.replaced {
		s.prepare()
	}
	for _, v := range environOf(s.config.Env).list {
		s.env.set(v.key, v.value)
	}
}

// prepare makes the configuration of the base what BuildKit starts with: PATH
// is set, the working directory absolute, and the triggers are gone. Of one
// that is not known, nothing is changed.
func (s *stage) prepare() {
	var change plan.Config
	if _, ok := environOf(s.config.Env).Get("PATH"); !ok {
		change.Env = []string{"PATH=" + defaultPath}
	}
	if dir := s.config.WorkingDir; s.empty() || (dir != "" && !path.IsAbs(dir)) {
		change.WorkingDir = path.Join("/", dir)
	}
	if len(s.config.OnBuild) > 0 {
		change.OnBuild = []string{}
	}
	if s.unknown {
		change.Apply(&s.config)
	} else if change.Env != nil || change.WorkingDir != "" || change.OnBuild != nil {
		s.setConfig(s.position, change)
	}
}

// add appends a step that comes from the instruction at pos.
func (s *stage) add(pos *plan.Position, step plan.Step) {
	step.Position = pos
	s.steps = append(s.steps, step)
}

// setConfig changes the configuration of s, and adds the step that does so.
func (s *stage) setConfig(pos *plan.Position, change plan.Config) {
	change.Apply(&s.config)
	s.add(pos, plan.Step{Config: &change})
}

// abs is a path of an instruction from the root, clean. A slash at its end is
// kept: it makes a directory of what is copied to.
func (s *stage) abs(p string) string {
	dir := p == "" || p == "." || strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.")
	clean := path.Clean(p)
	if !path.IsAbs(p) {
		clean = path.Join("/", s.config.WorkingDir, p)
	}
	if dir && clean != "/" {
		clean += "/"
	}
	return clean
}

// expand replaces the variables of a word, and warns of those that are not set.
func (c *converter) expand(s *stage, cmd *command) func(string) (string, error) {
	return func(word string) (string, error) {
		expanded, missing, err := c.lex.ProcessWord(word, s.env)
		c.warnMissing(s, cmd, word, missing)
		return expanded, err
	}
}

// warnMissing is about variables that nothing sets; an ARG without a value is
// meant to be without.
func (c *converter) warnMissing(s *stage, cmd *command, word string, missing map[string]struct{}) {
	for _, key := range slices.Sorted(maps.Keys(missing)) {
		if s.unknown || slices.Contains(s.args, key) || !usedPlainly(word, key) {
			continue
		}
		remedy := didYouMean(key, s.env.Keys())
		if _, ok := c.global.Get(key); ok {
			remedy = fmt.Sprintf(": ARG %s in the stage gives it the value that it has for a FROM", key)
		}
		c.warnings = append(c.warnings, errorAt(cmd.position, fmt.Errorf("the variable %s is not set%s", key, remedy)))
	}
}

// usedPlainly tells whether word has key without a default, ${key:-default}.
func usedPlainly(word, key string) bool {
	if strings.Contains(word, "${"+key+"}") {
		return true
	}
	for rest := word; ; {
		_, after, found := strings.Cut(rest, "$"+key)
		if !found {
			return false
		}
		if after == "" || !isNamePart(after[0]) {
			return true
		}
		rest = after
	}
}

func isNamePart(c byte) bool {
	return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
}
