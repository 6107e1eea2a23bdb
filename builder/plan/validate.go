package plan

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Validate says what makes p impossible to carry out, before anything is
// started; nil where nothing does.
func (p *Plan) Validate() error {
	if len(p.Images) == 0 {
		return errors.New("plan has no images")
	}
	for _, called := range slices.Sorted(maps.Keys(p.Contexts)) {
		if dir := p.Contexts[called].Dir; !filepath.IsAbs(dir) {
			return fmt.Errorf("build context %s: directory %q is not absolute", called, dir)
		}
	}
	named := map[string]string{} // the names of images by their tags
	seen := map[string]bool{}
	for _, img := range p.Images {
		if img.Name == "" {
			return errors.New("plan has an image without a name")
		}
		if seen[img.Name] {
			return fmt.Errorf("two images are called %s", img.Name)
		}
		seen[img.Name] = true
		if err := img.validate(); err != nil {
			return fmt.Errorf("image %s: %w", img.Name, err)
		}
		if err := claim(named, img); err != nil {
			return err
		}
	}
	return nil
}

// claim notes the tags of img, which no image may have before.
func claim(named map[string]string, img Image) error {
	for _, tag := range img.Tags {
		ref, err := name.NewTag(tag)
		if err != nil {
			return fmt.Errorf("image %s: malformed tag %q: %w", img.Name, tag, err)
		}
		switch other, ok := named[ref.Name()]; {
		case ok && other == img.Name:
			return fmt.Errorf("image %s: tag %s is given twice", img.Name, tag)
		case ok:
			return fmt.Errorf("images %s and %s are both named %s", other, img.Name, tag)
		}
		named[ref.Name()] = img.Name
	}
	return nil
}

func (img Image) validate() error {
	if len(img.Tags) == 0 {
		return errors.New("no tag")
	}
	if err := img.validatePlatforms(); err != nil {
		return err
	}
	if len(img.Variants) == 0 {
		return validateStages(img.Stages)
	}
	if len(img.Stages) > 0 {
		return errors.New("it has both stages and variants")
	}
	for i, v := range img.Variants {
		if i >= len(img.Platforms) || !v.Platform.Equals(img.Platforms[i]) {
			return fmt.Errorf("the variant for %s is not that of the platform in its place", v.Platform)
		}
		if err := validateStages(v.Stages); err != nil {
			return fmt.Errorf("platform %s: %w", v.Platform, err)
		}
	}
	if missing := len(img.Platforms) - len(img.Variants); missing > 0 {
		return fmt.Errorf("%d platforms have no variant", missing)
	}
	return nil
}

func validateStages(stages []Stage) error {
	if len(stages) == 0 {
		return errors.New("no stage")
	}
	outputs := map[string]map[string]bool{}
	for i, s := range stages {
		if s.Name == "" {
			return errors.New("stage without a name")
		}
		if _, ok := outputs[s.Name]; ok {
			return fmt.Errorf("two stages are called %s", s.Name)
		}
		made, err := s.validate(outputs, i == len(stages)-1)
		if err != nil {
			return fmt.Errorf("stage %s: %w", s.Name, err)
		}
		outputs[s.Name] = made
	}
	return nil
}

func (img Image) validatePlatforms() error {
	if len(img.Platforms) == 0 {
		return errors.New("no platform")
	}
	seen := map[string]bool{}
	for _, p := range img.Platforms {
		normal, err := ParsePlatform(p.String())
		switch {
		case err != nil:
			return err
		case !normal.Equals(p):
			return fmt.Errorf("platform %s is written %s", p, normal)
		case seen[p.String()]:
			return fmt.Errorf("platform %s is named twice", p)
		}
		seen[p.String()] = true
	}
	return nil
}

// validate checks the steps of s against the outputs of each earlier stage,
// and returns those of s.
func (s Stage) validate(outputs map[string]map[string]bool, final bool) (map[string]bool, error) {
	if final && s.Base == "" {
		return nil, errors.New("the last stage has no base")
	}
	if s.Platform != nil {
		if normal, err := ParsePlatform(s.Platform.String()); err != nil {
			return nil, err
		} else if !normal.Equals(*s.Platform) {
			return nil, fmt.Errorf("platform %s is written %s", s.Platform, normal)
		}
	}
	made := map[string]bool{}
	for _, step := range s.Steps {
		err := s.allows(step, final)
		if err == nil {
			err = step.validate(outputs, made)
		}
		if err != nil && step.Position != nil {
			err = fmt.Errorf("%s: %w", step.Position, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return made, nil
}

// allows says which steps a stage of its kind may have.
func (s Stage) allows(step Step, final bool) error {
	switch given := step.given(); {
	case given == 0:
		return errors.New("step does nothing")
	case given > 1:
		return errors.New("step does several things")
	case step.Compile != nil && final:
		return errors.New("the last stage compiles: it has to copy from one that does")
	case step.Copy != nil && !final, step.Config != nil && s.Base == "":
		return errors.New("only the last stage copies and has a config")
	case step.Compile == nil && s.Base == "":
		return errors.New("a stage without a base only compiles")
	}
	return nil
}

// validate checks the one thing that s does, and adds what it makes to made.
func (s Step) validate(outputs map[string]map[string]bool, made map[string]bool) error {
	isStage := func(name string) bool { _, ok := outputs[name]; return ok }
	var what string
	var err error
	switch {
	case s.Compile != nil:
		return s.Compile.validate(made)
	case s.Copy != nil:
		what, err = "copying "+s.Copy.Source+" to "+s.Copy.Dest, s.Copy.validate(outputs)
	case s.Files != nil:
		what, err = "copying to "+s.Files.Dest, s.Files.validate(isStage)
	case s.Run != nil:
		what, err = "running a command", s.Run.validate(isStage)
	case s.MakeDir != nil:
		what, err = "making a directory", s.MakeDir.validate()
	default:
		return s.Config.validate()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// given counts what the step has to do.
func (s Step) given() int {
	n := 0
	for _, set := range []bool{
		s.Compile != nil, s.Copy != nil, s.Config != nil, s.Run != nil, s.Files != nil, s.MakeDir != nil,
	} {
		if set {
			n++
		}
	}
	return n
}

// validate adds the output of c to made.
func (c *Compile) validate(made map[string]bool) error {
	what := c.Package + strings.Join(c.Files, " ")
	output, err := ParseAbs("output", c.Output)
	switch {
	case err != nil:
		return fmt.Errorf("compiling %s: %w", what, err)
	case (c.Package == "") == (len(c.Files) == 0):
		return fmt.Errorf("compiling %s: it is either a package or files", what)
	case !filepath.IsAbs(c.Dir):
		return fmt.Errorf("compiling %s: directory %q is not absolute", what, c.Dir)
	case c.Binary == "" || c.Binary == "." || c.Binary == ".." || strings.ContainsAny(c.Binary, `/\`):
		return fmt.Errorf("compiling %s: %q is not the name of a file", what, c.Binary)
	case output == "/" || strings.HasSuffix(c.Output, "/"):
		return fmt.Errorf("compiling %s: output %s is a directory", what, c.Output)
	case made[c.Output]:
		return fmt.Errorf("compiling %s: there is a binary at %s already", what, c.Output)
	}
	made[c.Output] = true
	return nil
}
