package main

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

const (
	allPlatforms = "all"
	nameHolder   = "{name}"
	buildStage   = "build"
)

// frontEnd makes a plan out of flags and packages: for each main package a
// stage that compiles and a stage that copies from it.
type frontEnd struct {
	flags    *planFlags
	dir      string
	getenv   func(string) string
	compiler *compile.Compiler
	bases    *base.Resolver
}

func (f *frontEnd) plan(ctx context.Context, patterns []string) (*plan.Plan, error) {
	if len(patterns) == 0 {
		patterns = []string{"."}
	}
	config, err := f.flags.config.parse(f.getenv)
	if err != nil {
		return nil, err
	}
	p := &plan.Plan{Dir: f.dir}
	if p.Epoch, err = f.epoch(); err != nil {
		return nil, err
	}
	if p.Compression, err = f.flags.compressionOf(); err != nil {
		return nil, err
	}
	platforms, err := f.platforms(ctx)
	if err != nil {
		return nil, err
	}
	programs, err := f.programs(ctx, platforms, patterns)
	if err != nil {
		return nil, err
	}
	if p.Images, err = f.images(programs, platforms, config); err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, usageError{err}
	}
	return p, nil
}

// images makes one of each program, or one of all.
func (f *frontEnd) images(programs []program, platforms []v1.Platform, config plan.Config) ([]plan.Image, error) {
	if f.flags.single {
		if err := sameEverywhere(programs, platforms); err != nil {
			return nil, err
		}
		img, err := f.image(programs[0].name, programs, platforms, config)
		return []plan.Image{img}, err
	}
	if len(programs) > 1 && slices.ContainsFunc(f.flags.tags, func(t string) bool { return !strings.Contains(t, nameHolder) }) {
		return nil, usageError{errNameNeeded}
	}
	images := make([]plan.Image, len(programs))
	for i, prog := range programs {
		var err error
		if images[i], err = f.image(prog.name, []program{prog}, prog.platforms, config); err != nil {
			return nil, err
		}
	}
	return images, nil
}

// epoch is SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/).
func (f *frontEnd) epoch() (time.Time, error) {
	s := f.getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<33-1 {
		return time.Time{}, usagef("SOURCE_DATE_EPOCH=%s: it is a number of seconds since 1970", s)
	}
	return time.Unix(n, 0).UTC(), nil
}

func (f *frontEnd) platforms(ctx context.Context) ([]v1.Platform, error) {
	if len(f.flags.platforms) == 0 {
		p, err := plan.ParsePlatform("linux/" + runtime.GOARCH)
		return []v1.Platform{p}, err
	}
	if f.flags.platforms[0] != allPlatforms {
		return f.flags.platformsChecked, nil
	}
	have, err := f.bases.Platforms(ctx, f.flags.base)
	if err != nil {
		return nil, err
	}
	var platforms []v1.Platform
	for _, p := range have {
		if p, err := plan.ParsePlatform(p.String()); err == nil && !slices.ContainsFunc(platforms, p.Equals) {
			platforms = append(platforms, p)
		}
	}
	if len(platforms) == 0 {
		return nil, &base.PlatformError{Base: f.flags.base, Want: v1.Platform{OS: "linux"}, Have: have}
	}
	return platforms, nil
}

// program is a main package and the platforms that its build constraints allow.
type program struct {
	compile.Package
	// name is unique in the build, and fit for a reference.
	name      string
	platforms []v1.Platform
}

// programs lists the main packages, once for each platform.
func (f *frontEnd) programs(ctx context.Context, platforms []v1.Platform, patterns []string) ([]program, error) {
	lists := make([][]compile.Package, len(platforms))
	g, ctx := errgroup.WithContext(ctx)
	for i, p := range platforms {
		g.Go(func() (err error) {
			lists[i], err = f.compiler.List(ctx, f.dir, p, f.flags.settings, patterns)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var programs []program
	for i, list := range lists {
		for _, pkg := range list {
			at := slices.IndexFunc(programs, func(p program) bool {
				return p.Dir == pkg.Dir && p.ImportPath == pkg.ImportPath && slices.Equal(p.Files, pkg.Files)
			})
			if at < 0 {
				at = len(programs)
				programs = append(programs, program{Package: pkg})
			}
			programs[at].platforms = append(programs[at].platforms, platforms[i])
		}
	}
	nameAll(programs)
	return programs, nil
}

func sameEverywhere(programs []program, platforms []v1.Platform) error {
	for _, p := range programs {
		if len(p.platforms) != len(platforms) {
			return fmt.Errorf("--single: %s is left out by build constraints on some platforms, so that the images would differ", p.ImportPath)
		}
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// nameAll gives each program a name: that of its binary, with as many of the
// directories above it in front as it takes to tell two of the same name apart.
func nameAll(programs []program) {
	for depth := range 32 {
		count := map[string]int{}
		for _, p := range programs {
			if p.name != "" {
				count[p.name]++
			}
		}
		same := false
		for i, p := range programs {
			if p.name == "" || count[p.name] > 1 {
				programs[i].name = nameAt(p.Package, depth)
				same = true
			}
		}
		if !same {
			return
		}
	}
	for i := range programs {
		programs[i].name += "-" + strconv.Itoa(i+1)
	}
}

// nameAt is the name of the binary with depth directories in front.
func nameAt(p compile.Package, depth int) string {
	dir := path.Dir(p.ImportPath)
	if path.Base(p.ImportPath) != p.Binary {
		dir = path.Dir(dir) // the last element is a major version
	}
	name := p.Binary
	for ; depth > 0 && dir != "." && dir != "/"; depth-- {
		name = path.Base(dir) + "-" + name
		dir = path.Dir(dir)
	}
	name = strings.Trim(notInNames.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if name == "" {
		return "app"
	}
	return name
}

// image is the plan of one image that holds programs.
func (f *frontEnd) image(called string, programs []program, platforms []v1.Platform, config plan.Config) (plan.Image, error) {
	tags, err := f.tags(called)
	if err != nil {
		return plan.Image{}, err
	}
	manifest, index, err := f.flags.annotationsOf()
	if err != nil {
		return plan.Image{}, err
	}
	if len(index) > 0 && len(platforms) == 1 {
		return plan.Image{}, usagef("--annotation index:…: one platform makes no index")
	}
	steps, err := f.flags.copySteps()
	if err != nil {
		return plan.Image{}, err
	}
	from := plan.Stage{Name: buildStage}
	for _, prog := range programs {
		dest := strings.ReplaceAll(f.flags.binaryPath, nameHolder, prog.name)
		if slices.ContainsFunc(from.Steps, func(s plan.Step) bool { return s.Compile.Output == dest }) {
			return plan.Image{}, usagef("--binary-path %s: two binaries would be there; write {name} in it", f.flags.binaryPath)
		}
		from.Steps = append(from.Steps, plan.Step{Compile: &plan.Compile{
			Dir: prog.Dir, Package: packageOf(prog), Files: prog.Files,
			Binary: prog.Binary, Output: dest, Settings: f.flags.settings,
		}})
		steps = append(steps, plan.Step{Copy: &plan.Copy{From: from.Name, Source: dest, Dest: dest}})
	}
	if config.Entrypoint == nil {
		config.Entrypoint = []string{from.Steps[0].Compile.Output}
	}
	steps = append(steps, plan.Step{Config: &config})
	return plan.Image{
		Name: called, Tags: tags, Platforms: platforms, Annotations: manifest, IndexAnnotations: index,
		AllowDynamic: f.flags.allowDynamic,
		Stages:       []plan.Stage{from, {Name: called, Base: f.flags.base, Steps: steps}},
	}, nil
}

func packageOf(p program) string {
	if len(p.Files) > 0 {
		return ""
	}
	return p.ImportPath
}

// tags are the names of the image that is called so.
func (f *frontEnd) tags(called string) ([]string, error) {
	given := f.flags.tags
	if len(given) == 0 {
		given = []string{nameHolder + ":latest"}
	}
	var tags []string
	for _, t := range given {
		full := strings.ReplaceAll(t, nameHolder, called)
		if err := registry.CheckUserInfo(full); err != nil {
			return nil, usagef("--tag: malformed reference: %w", err)
		}
		tag, err := name.NewTag(full)
		if strings.Contains(full, "@") {
			return nil, usagef("--tag %q: it is a name, not a digest", t)
		}
		if err != nil {
			return nil, usagef("--tag: malformed reference %q: %w", full, err)
		}
		if s := output.FamiliarName(tag); !slices.Contains(tags, s) {
			tags = append(tags, s)
		}
	}
	return tags, nil
}

// familiar is a tag as docker shows it.
func familiar(t string) string {
	tag, err := name.NewTag(t)
	if err != nil {
		return t
	}
	return output.FamiliarName(tag)
}
