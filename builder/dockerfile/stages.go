package dockerfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/stagectl/stagectl/builder/plan"
)

// converter makes the stages of a plan out of a File, once.
type converter struct {
	file *File
	opts *Options
	lex  *shell.Lex
	// global are the automatic ARGs and those before the first FROM.
	global environ
	stages []*stage
	// byName has the last stage of each name so far.
	byName   map[string]*stage
	resolved map[string]resolution
	// declared are the names of all ARGs.
	declared map[string]bool
	errs     []*Error
	warnings []*Error
}

// stage is a FROM with what follows, and what it has come to.
type stage struct {
	index int
	// name is in lower case, and empty where there is none.
	name string
	// id is what the plan calls it.
	id       string
	position *plan.Position
	// base is an earlier stage, or nil where from has what the base is.
	base *stage
	from *origin
	// platform, unless nil, is another than the target's.
	platform *v1.Platform
	// replaced by a build context, it has no commands.
	replaced bool
	// failed is set where it is not known what the base is.
	failed   bool
	commands []*command
	reached  bool

	state
}

// command is an instruction of a stage, or a trigger of its base.
type command struct {
	node     *parser.Node
	position *plan.Position
	parsed   instructions.Command
	// mapped tells that the lines of the node are those of the file.
	mapped bool
	// from are what the instruction copies or, by mount, mounts from; nil is
	// the build context.
	from []*origin
	// broken is set where it is not known what that is.
	broken bool
}

// Stages makes the stages of a plan for one platform: those that the target
// needs, the target last. All errors are reported, each as an *Error, but for
// those of the options.
func (f *File) Stages(opts Options) ([]plan.Stage, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	c := &converter{
		file: f, opts: &opts, lex: shell.NewLex(f.escape),
		byName: map[string]*stage{}, resolved: map[string]resolution{}, declared: map[string]bool{},
	}
	target := c.link()
	c.visit(target)
	var stages []plan.Stage
	for _, s := range c.stages[:target.index+1] {
		if s.reached {
			stages = append(stages, c.convert(s))
		}
	}
	if len(c.errs) > 0 {
		return nil, join(c.errs)
	}
	c.warn()
	return stages, nil
}

// link makes the stages and what they need of each other, and returns the
// target. After an error it goes on to find the next one.
func (c *converter) link() *stage {
	last := c.file.stages[len(c.file.stages)-1]
	targetName := c.opts.Target
	if parsed, err := instructions.ParseInstruction(last.from); err == nil && targetName == "" {
		targetName = parsed.(*instructions.Stage).Name
	}
	c.setGlobal(targetName)
	for _, s := range c.file.stages {
		c.addStage(s)
	}
	for _, s := range c.stages {
		for _, cmd := range s.commands {
			if err := c.linkCommand(cmd); err != nil {
				cmd.broken = true
				c.fail(cmd.position, err)
			}
		}
	}
	for _, s := range c.stages {
		for _, cmd := range s.commands {
			for _, from := range cmd.from {
				if err := checkCycle(s, from); err != nil {
					cmd.broken = true
					c.fail(cmd.position, err)
				}
			}
		}
	}
	return c.target()
}

func (c *converter) fail(pos *plan.Position, err error) {
	c.errs = append(c.errs, errorAt(pos, err))
}

// setGlobal evaluates the ARGs before the first FROM.
func (c *converter) setGlobal(target string) {
	c.global = c.opts.autoArgs(target)
	for _, node := range c.file.args {
		parsed, err := instructions.ParseInstruction(node)
		if err != nil {
			c.fail(c.file.position(node), err)
			continue
		}
		for _, arg := range parsed.(*instructions.ArgCommand).Args {
			c.declared[arg.Key] = true
			value, ok := c.opts.buildArg(arg.Key)
			if !ok && arg.Value != nil {
				if value, _, err = c.lex.ProcessWord(*arg.Value, c.global); err != nil {
					c.fail(c.file.position(node), err)
				}
				ok = true
			}
			if ok {
				c.global.set(arg.Key, value)
			}
		}
	}
}

// addStage reads the FROM of a stage and its instructions.
func (c *converter) addStage(sec section) {
	s := &stage{index: len(c.stages), position: c.file.position(sec.from)}
	c.stages = append(c.stages, s)
	parsed, err := instructions.ParseInstruction(sec.from)
	if err != nil { // which Parse has seen to
		parsed = &instructions.Stage{BaseName: plan.Scratch}
		c.fail(s.position, err)
	}
	from := parsed.(*instructions.Stage)
	s.name, s.id = from.Name, from.Name
	if _, taken := c.byName[s.name]; taken || s.name == "" {
		s.id = strconv.Itoa(s.index)
	}
	if err := c.setBase(s, from); err != nil {
		s.base, s.from, s.failed = nil, &origin{kind: plan.FromImage, name: plan.Scratch}, true
		c.fail(s.position, err)
	}
	if s.name != "" {
		c.byName[s.name] = s
	}
	if s.replaced {
		return
	}
	for _, node := range sec.instructions {
		cmd := &command{node: node, position: c.file.position(node), mapped: true}
		parsed, err := instructions.ParseCommand(node)
		if err != nil {
			c.fail(cmd.position, err)
			continue
		}
		cmd.parsed = parsed
		c.declare(parsed)
		s.commands = append(s.commands, cmd)
	}
}

// declare notes the ARGs of a command.
func (c *converter) declare(cmd instructions.Command) {
	if arg, ok := cmd.(*instructions.ArgCommand); ok {
		for _, a := range arg.Args {
			c.declared[a.Key] = true
		}
	}
}

// setBase evaluates a FROM, which sees global ARGs only.
func (c *converter) setBase(s *stage, from *instructions.Stage) error {
	expanded, err := c.lex.ProcessWordWithMatches(from.BaseName, c.global)
	if err != nil {
		return err
	}
	missing := slices.Sorted(maps.Keys(expanded.Unmatched))
	baseName := expanded.Result
	if baseName == "" {
		return fmt.Errorf("the base is empty%s", c.noValue(missing))
	}
	if err := c.setPlatform(s, from.Platform); err != nil {
		return err
	}
	if s.name != "" {
		replacement, err := c.opts.context(s.name)
		if err != nil {
			return err
		}
		if replacement != nil {
			s.from, s.replaced = replacement, true
			return nil
		}
	}
	if base, ok := c.byName[strings.ToLower(baseName)]; ok {
		s.base, s.platform = base, base.platform
		return nil
	}
	if index, err := strconv.Atoi(baseName); err == nil && index < s.index {
		return errors.New("a base is an image or the name of a stage, not an index: name that stage with AS")
	}
	s.from, err = c.imageOrContext(baseName)
	if malformed := malformedError(""); errors.As(err, &malformed) && len(missing) > 0 {
		return fmt.Errorf("malformed image reference %q%s", baseName, c.noValue(missing))
	}
	if err != nil {
		return fmt.Errorf("%w%s%s", err, c.noValue(missing), didYouMean(baseName, c.names()))
	}
	for _, key := range missing {
		if usedPlainly(from.BaseName, key) {
			c.warnings = append(c.warnings, errorAt(s.position, fmt.Errorf("a variable is empty%s", c.noValue([]string{key}))))
		}
	}
	return nil
}

// noValue says what to do about variables of a FROM that have no value.
func (c *converter) noValue(missing []string) string {
	if len(missing) == 0 {
		return ""
	}
	key := missing[0]
	if c.declared[key] {
		return fmt.Sprintf(": ARG %s has no value for a FROM: it stands before the first FROM, with a default, or --build-arg %s=… gives one", key, key)
	}
	return fmt.Sprintf(": there is no ARG %s before the first FROM%s", key, didYouMean(key, c.global.Keys()))
}

func (c *converter) setPlatform(s *stage, flag string) error {
	if flag == "" {
		return nil
	}
	expanded, err := c.lex.ProcessWordWithMatches(flag, c.global)
	if err != nil {
		return fmt.Errorf("--platform: %w", err)
	}
	if expanded.Result == "" {
		return fmt.Errorf("--platform is empty%s", c.noValue(slices.Sorted(maps.Keys(expanded.Unmatched))))
	}
	p, err := plan.ParsePlatform(expanded.Result)
	if err != nil {
		return err
	}
	if target := plan.Normalize(c.opts.TargetPlatform); !target.Equals(p) {
		s.platform = &p
	}
	return nil
}

// imageOrContext is what a name means that no stage has.
func (c *converter) imageOrContext(called string) (*origin, error) {
	from, err := c.opts.context(called)
	if err != nil || from != nil {
		return from, err
	}
	return imageOrigin(called)
}

// target finds the stage to end with.
func (c *converter) target() *stage {
	called := c.opts.Target
	if called == "" {
		return c.stages[len(c.stages)-1]
	}
	if s, ok := c.byName[strings.ToLower(called)]; ok {
		return s
	}
	if index, err := strconv.Atoi(called); err == nil && index >= 0 && index < len(c.stages) {
		return c.stages[index]
	}
	c.errs = append(c.errs, &Error{File: c.file.name, Err: fmt.Errorf(
		"there is no target stage %q%s: %s", called, didYouMean(called, c.names()), c.list())})
	return c.stages[len(c.stages)-1]
}

// names are those of all stages, in order.
func (c *converter) names() []string {
	var names []string
	for _, s := range c.stages {
		if s.name != "" {
			names = append(names, s.name)
		}
	}
	return names
}

func (c *converter) list() string {
	if names := c.names(); len(names) > 0 {
		return fmt.Sprintf("there are %s, and the indexes from 0 to %d", strings.Join(names, ", "), len(c.stages)-1)
	}
	return fmt.Sprintf("there are the indexes from 0 to %d", len(c.stages)-1)
}

// warn reports what is likely to be a mistake, of a Dockerfile without errors.
func (c *converter) warn() {
	if c.opts.Warn == nil {
		return
	}
	auto := c.opts.autoArgs("")
	known := slices.Sorted(maps.Keys(c.declared))
	for _, key := range slices.Sorted(maps.Keys(c.opts.BuildArgs)) {
		if !c.declared[key] && !needsNoARG(key, auto) {
			c.warnings = append(c.warnings, &Error{File: c.file.name, Err: fmt.Errorf(
				"build argument %s is not used: no ARG has that name%s", key, didYouMean(key, known))})
		}
	}
	for _, w := range c.warnings {
		c.opts.Warn(w)
	}
}
