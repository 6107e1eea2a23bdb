package dockerfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/stagectl/stagectl/builder/plan"
)

// linkCommand finds what a command copies or mounts from.
func (c *converter) linkCommand(cmd *command) error {
	switch parsed := cmd.parsed.(type) {
	case *instructions.CopyCommand:
		if parsed.From == "" {
			return nil
		}
		expanded, _, err := c.lex.ProcessWord(parsed.From, shell.EnvsFromSlice(nil))
		if err != nil {
			return err
		}
		if expanded != parsed.From {
			return errors.New("--from has no variables: make a stage with FROM … AS, which has, and copy from that")
		}
		from, err := c.source(parsed.From, true)
		if err != nil {
			return err
		}
		cmd.from = []*origin{from}
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(parsed) {
			if m.From == "" {
				cmd.from = append(cmd.from, nil)
				continue
			}
			from, err := c.source(m.From, false)
			if err != nil {
				return err
			}
			cmd.from = append(cmd.from, from)
		}
	}
	return nil
}

// source is what --from means: an index, a stage, or an image. The from of a
// mount has no index.
func (c *converter) source(from string, indexed bool) (*origin, error) {
	if index, err := strconv.Atoi(from); err == nil {
		switch {
		case !indexed:
			return nil, fmt.Errorf("a mount is from an image or the name of a stage, not an index %d: name that stage with AS", index)
		case index < 0 || index >= len(c.stages):
			return nil, fmt.Errorf("there is no stage %d: %s", index, c.list())
		}
		return stageOrigin(c.stages[index]), nil
	}
	if s, ok := c.byName[strings.ToLower(from)]; ok {
		return stageOrigin(s), nil
	}
	origin, err := c.imageOrContext(from)
	if err != nil {
		return nil, fmt.Errorf("there is no stage %s%s, and it is no image: %w", from, didYouMean(from, c.names()), err)
	}
	return origin, nil
}

func stageOrigin(s *stage) *origin {
	return &origin{kind: plan.FromStage, name: s.id, stage: s}
}

// title is what an error calls the stage.
func (s *stage) title() string {
	if s.name != "" {
		return s.name
	}
	return strconv.Itoa(s.index)
}

// checkCycle refuses that s needs from where from, by whatever way, needs s.
func checkCycle(s *stage, from *origin) error {
	switch {
	case from == nil || from.stage == nil || from.stage.index < s.index:
		return nil // of each cycle, one step leads to a later stage or to itself
	case from.stage == s:
		return fmt.Errorf("stage %s needs itself: what it has already needs no --from", s.title())
	}
	if way := from.stage.wayTo(s, map[*stage]bool{}); way != "" {
		return fmt.Errorf("circular dependency: stage %s needs %s", s.title(), way)
	}
	return nil
}

// wayTo says by which stages s needs to.
func (s *stage) wayTo(to *stage, seen map[*stage]bool) string {
	if s == to {
		return s.title()
	}
	if seen[s] {
		return ""
	}
	seen[s] = true
	next := []*stage{s.base}
	for _, cmd := range s.commands {
		for _, from := range cmd.from {
			if from != nil {
				next = append(next, from.stage)
			}
		}
	}
	for _, n := range next {
		if n == nil {
			continue
		}
		if way := n.wayTo(to, seen); way != "" {
			return s.title() + ", which needs " + way
		}
	}
	return ""
}

// visit marks s and all that it needs as reached. The triggers of its base
// become its first commands, and may need more.
func (c *converter) visit(s *stage) {
	if s.reached {
		return
	}
	s.reached = true
	if s.base != nil {
		c.visit(s.base)
	}
	c.setConfigOfBase(s)
	if !s.replaced {
		s.commands = append(c.triggers(s), s.commands...)
	}
	for _, cmd := range s.commands {
		if cmd.broken {
			continue
		}
		for _, from := range cmd.from {
			switch {
			case from == nil:
			case from.stage == nil:
				c.checkImage(cmd.position, from)
			case from.stage.index < s.index:
				c.visit(from.stage)
			default:
				cmd.broken = true
				c.fail(cmd.position, fmt.Errorf("stage %s comes later than %s: it has to come first", from.stage.title(), s.title()))
			}
		}
	}
}

// triggers are the ONBUILD of the base.
func (c *converter) triggers(s *stage) []*command {
	var commands []*command
	add := func(expression string, pos plan.Position) {
		first, _, _ := strings.Cut(expression, "\n")
		pos.Text = display("ONBUILD " + first)
		node, parsed, err := parseTrigger(expression)
		cmd := &command{node: node, position: &pos, parsed: parsed}
		if err == nil {
			c.declare(parsed)
			err = c.linkCommand(cmd)
		}
		if err != nil {
			c.fail(&pos, err)
			return
		}
		commands = append(commands, cmd)
	}
	if s.base == nil {
		for _, expression := range s.config.OnBuild {
			add(expression, *s.position)
		}
		return commands
	}
	for _, cmd := range s.base.commands {
		if trigger, ok := cmd.parsed.(*instructions.OnbuildCommand); ok {
			add(trigger.Expression, *cmd.position)
		}
	}
	return commands
}

// resolution is what became of an image.
type resolution struct {
	config *v1.Config // nil where it is not known
	err    error
}

// resolve asks once for the configuration of an image.
func (c *converter) resolve(ref string, p v1.Platform) resolution {
	key := ref + " " + platformText(p)
	if r, ok := c.resolved[key]; ok {
		return r
	}
	var r resolution
	if c.opts.Resolve != nil && ref != plan.Scratch {
		file, err := c.opts.Resolve(ref, p)
		switch {
		case errors.Is(err, ErrNoConfig):
		case err != nil:
			if r.err = err; didYouMean(ref, c.names()) != "" {
				r.err = fmt.Errorf("there is no stage %s%s, and as an image: %w", ref, didYouMean(ref, c.names()), err)
			}
		case file != nil:
			r.config = file.Config.DeepCopy()
		}
	}
	c.resolved[key] = r
	return r
}

// checkImage finds out whether there is the image that a command needs. It is
// one of the target's platform, whatever that of the stage is.
func (c *converter) checkImage(pos *plan.Position, from *origin) {
	if from.kind != plan.FromImage {
		return
	}
	if r := c.resolve(from.name, plan.Normalize(c.opts.TargetPlatform)); r.err != nil {
		c.fail(pos, r.err)
	}
}
