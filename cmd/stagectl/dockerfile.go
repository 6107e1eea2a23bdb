package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/dockerfile"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/plan"
)

// dockerFlags are those of a build by a Dockerfile, as in `docker build`.
type dockerFlags struct {
	file          string
	target        string
	args          []string
	contexts      []string
	secrets, ssh  []string
	allowHostExec bool
	changed       func(name string) bool
}

// dockerOnly are the flags that need -f, and packagesOnly those that a Dockerfile
// has instructions for, or no packages.
var (
	dockerOnly   = strings.Fields("target build-arg build-context secret ssh allow-host-exec")
	packagesOnly = map[string]string{
		"base": "FROM", "copy": "COPY", "binary-path": "go build -o", "single": "COPY", "allow-dynamic": "", "ldflags": "go build -ldflags",
		"go-tags": "go build -tags", "debug": "go build without -ldflags=-s", "port": "EXPOSE", "entrypoint": "ENTRYPOINT", "cmd": "CMD", "env": "ENV",
		"workdir": "WORKDIR", "user": "USER", "volume": "VOLUME", "stop-signal": "STOPSIGNAL", "health-cmd": "HEALTHCHECK",
		"health-interval": "HEALTHCHECK --interval", "health-timeout": "HEALTHCHECK --timeout",
		"health-start-period": "HEALTHCHECK --start-period", "health-retries": "HEALTHCHECK --retries",
	}
)

func (f *dockerFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "file", "f", "", "build by this `DOCKERFILE`, - for standard input")
	flags.StringVar(&f.target, "target", "", "`STAGE` of the Dockerfile to end with (default the last)")
	flags.StringArrayVar(&f.args, "build-arg", nil, "`KEY[=VALUE]` of an ARG, repeatable")
	flags.StringArrayVar(&f.contexts, "build-context", nil, "`NAME=DIR`, docker-image://REF or oci-layout://DIR in the place of NAME, repeatable")
	flags.StringArrayVar(&f.secrets, "secret", nil, "`id=ID[,src=FILE|,env=VARIABLE]` of a RUN --mount=type=secret, repeatable")
	flags.StringArrayVar(&f.ssh, "ssh", nil, "`default|ID[=SOCKET]` of a RUN --mount=type=ssh, repeatable")
	flags.BoolVar(&f.allowHostExec, "allow-host-exec", false, "let RUN run code of the project on this machine")
	f.changed = flags.Changed
}

// given tells whether a Dockerfile says what to build.
func (f *dockerFlags) given() bool { return f.changed("file") }

// check refuses flags that have no effect.
func (f *dockerFlags) check() error {
	if !f.given() {
		for _, name := range dockerOnly {
			if f.changed(name) {
				return usagef("--%s needs a Dockerfile: name it with -f", name)
			}
		}
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(packagesOnly)) {
		if !f.changed(name) {
			continue
		}
		if instead := packagesOnly[name]; instead != "" {
			return usagef("--%s is for packages: with -f the Dockerfile says it, with %s", name, instead)
		}
		return usagef("--%s is for packages, and does nothing with -f", name)
	}
	return nil
}

// dockerFront makes a plan out of a Dockerfile.
type dockerFront struct {
	frontEnd
	docker   *dockerFlags
	stdin    io.Reader
	golang   *golang.Host
	progress event.Func
	// outputs are the paths that the build writes to.
	outputs  []string
	resolved map[string]*v1.ConfigFile
	// sizes are those of the images that could be had.
	sizes map[string]int64
	// quiet has it be no failure that there is no image.
	quiet atomic.Bool
}

func (f *dockerFront) plan(ctx context.Context, args []string) (*plan.Plan, error) {
	dir, err := f.context(args)
	if err != nil {
		return nil, err
	}
	p := &plan.Plan{Dir: dir}
	if p.Epoch, err = f.epoch(); err != nil {
		return nil, err
	}
	if p.Compression, err = f.flags.compressionOf(); err != nil {
		return nil, err
	}
	if slices.Contains(f.flags.platforms, allPlatforms) {
		return nil, usagef("--platform all: a Dockerfile may have several bases; name the platforms")
	}
	platforms, err := f.platforms(ctx)
	if err != nil {
		return nil, err
	}
	file, err := f.parse(dir)
	if err != nil {
		return nil, err
	}
	opts, err := f.options(ctx)
	if err != nil {
		return nil, err
	}
	if p.Contexts, err = f.contexts(dir, opts.BuildContexts); err != nil {
		return nil, err
	}
	img, err := f.image(dir, platforms)
	if err != nil {
		return nil, err
	}
	for _, w := range file.Warnings() {
		f.warn(w)
	}
	if img.Variants, err = f.variants(file, opts, platforms); err != nil {
		return nil, err
	}
	p.Images = []plan.Image{img}
	return p, p.Validate()
}

// variants are the stages for each platform.
func (f *dockerFront) variants(file *dockerfile.File, opts dockerfile.Options, platforms []v1.Platform) ([]plan.Variant, error) {
	labels := &configFlags{labels: f.flags.config.labels}
	var extra plan.Config
	if err := labels.parseKeys(&extra, f.getenv); err != nil {
		return nil, usageError{err}
	}
	var variants []plan.Variant
	for i, platform := range platforms {
		opts.TargetPlatform = platform
		if opts.Warn = f.warn; i > 0 {
			opts.Warn = nil // most likely the same
		}
		stages, err := file.Stages(opts)
		if err != nil {
			return nil, err
		}
		if len(extra.Labels) > 0 {
			last := &stages[len(stages)-1]
			last.Steps = append(last.Steps, plan.Step{Config: &extra})
		}
		variants = append(variants, plan.Variant{Platform: platform, Stages: stages})
	}
	return variants, nil
}

// context is the directory that COPY copies from.
func (f *dockerFront) context(args []string) (string, error) {
	dir := "."
	switch {
	case len(args) > 1:
		return "", usagef("%d arguments: with -f there is one, the directory of the build context", len(args))
	case len(args) == 1:
		dir = args[0]
	}
	if dir == stdinName && f.docker.file == stdinName {
		return "", usagef("-f - and the build context -: there is one standard input; name the directory of the context")
	}
	if dir == stdinName || strings.Contains(dir, "://") || strings.HasPrefix(dir, "git@") {
		return "", usagef("the build context %s is not a directory: unpack the archive or clone the repository, and name that", dir)
	}
	dir = f.abs(dir)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = usagef("the build context %s is not a directory", args[0])
	} else if err != nil {
		err = fmt.Errorf("opening the build context: %w", err)
	}
	return dir, err
}

func (f *dockerFront) abs(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(f.dir, name)
}

// parse reads the Dockerfile, relative to the working directory as with docker.
func (f *dockerFront) parse(context string) (*dockerfile.File, error) {
	if f.docker.file == stdinName {
		if f.stdin == nil {
			return nil, errors.New("reading the Dockerfile: there is no standard input")
		}
		return dockerfile.Parse("Dockerfile", f.stdin)
	}
	raw, err := os.ReadFile(f.abs(f.docker.file))
	if err != nil {
		return nil, f.notRead(context, err)
	}
	return dockerfile.Parse(f.docker.file, bytes.NewReader(raw))
}

// notRead is the error of a Dockerfile that cannot be read.
func (f *dockerFront) notRead(context string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	there := ""
	if inside := filepath.Join(context, f.docker.file); !filepath.IsAbs(f.docker.file) && errors.Is(err, fs.ErrNotExist) {
		if rel, relErr := filepath.Rel(f.dir, inside); relErr == nil && isFile(inside) {
			there = fmt.Sprintf("; the build context has one: -f %s, since it starts at the working directory", rel)
		}
	}
	return fmt.Errorf("reading the Dockerfile %s: %w%s", f.docker.file, err, there)
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

const stdinName = "-"

func (f *dockerFront) options(ctx context.Context) (dockerfile.Options, error) {
	opts := dockerfile.Options{
		Target: f.docker.target, BuildArgs: map[string]string{}, BuildContexts: map[string]string{},
		Resolve: func(ref string, p v1.Platform) (*v1.ConfigFile, error) { return f.resolve(ctx, ref, p) },
	}
	var err error
	if opts.BuildPlatform, err = plan.ParsePlatform("linux/" + runtime.GOARCH); err != nil {
		return opts, err
	}
	if f.getenv("SOURCE_DATE_EPOCH") != "" {
		var epoch time.Time
		if epoch, err = f.epoch(); err != nil {
			return opts, err
		}
		opts.Epoch = epoch
	}
	for _, arg := range f.docker.args {
		key, value, given := strings.Cut(arg, "=")
		if key == "" {
			return opts, usagef("--build-arg %q: it is KEY=VALUE, or KEY of this environment", arg)
		}
		if !given {
			if value = f.getenv(key); value == "" {
				continue // as with docker
			}
		}
		opts.BuildArgs[key] = value
	}
	for _, s := range f.docker.contexts {
		called, value, _ := strings.Cut(s, "=")
		if called == "" || value == "" {
			return opts, usagef("--build-context %q: it is NAME=DIR, NAME=docker-image://REF or NAME=oci-layout://DIR", s)
		}
		opts.BuildContexts[called] = value
	}
	return opts, nil
}

// contexts are the directories to copy from, each with its ignore file.
func (f *dockerFront) contexts(dir string, named map[string]string) (map[string]plan.Context, error) {
	beside, file := filepath.Dir(f.abs(f.docker.file)), filepath.Base(f.docker.file)
	if f.docker.file == stdinName {
		beside, file = dir, ""
	}
	main, err := newContext(beside, file, dir)
	if err != nil {
		return nil, err
	}
	main.Ignore = append(main.Ignore, f.outputsIn(dir)...)
	all := map[string]plan.Context{plan.BuildContext: main}
	for called, value := range named {
		if strings.Contains(value, "://") {
			continue
		}
		if all[called], err = newContext("", "", f.abs(value)); err != nil {
			return nil, fmt.Errorf("--build-context %s: %w", called, err)
		}
	}
	return all, nil
}

func newContext(beside, file, dir string) (plan.Context, error) {
	c := plan.Context{Dir: dir}
	if info, err := os.Stat(dir); err != nil {
		return c, err
	} else if !info.IsDir() {
		return c, fmt.Errorf("%s is not a directory", dir)
	}
	if beside == "" {
		beside = dir
	}
	ignore, err := dockerfile.FindIgnore(os.DirFS(beside), file, os.DirFS(dir))
	if err == nil && ignore != nil {
		c.Ignore = ignore.Patterns
	}
	return c, err
}

// outputsIn are the files in a context that this build is about to write, and
// that so cannot be what it is made of.
func (f *dockerFront) outputsIn(dir string) []string {
	var patterns []string
	for _, name := range f.outputs {
		rel, err := filepath.Rel(dir, f.abs(name))
		if err == nil && filepath.IsLocal(rel) && rel != "." {
			patterns = append(patterns, escapePattern(filepath.ToSlash(rel)))
		}
	}
	return patterns
}

// escapePattern writes a path as a pattern that matches it alone.
func escapePattern(p string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(p)
}

// image is all of the image but what it is made of.
func (f *dockerFront) image(dir string, platforms []v1.Platform) (plan.Image, error) {
	called := nameAt(compile.Package{ImportPath: filepath.Base(dir), Binary: filepath.Base(dir)}, 0)
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
	return plan.Image{Name: called, Tags: tags, Platforms: platforms, Annotations: manifest, IndexAnnotations: index}, nil
}

func (f *dockerFront) warn(w *dockerfile.Error) {
	f.progress(event.Event{Phase: event.Resolve, Subject: w.File, State: event.Message, Text: "warning: " + w.Error()})
}

// filter leaves out of the progress what quiet says.
func (f *dockerFront) filter(progress event.Func) event.Func {
	return func(e event.Event) {
		if !f.quiet.Load() || e.Phase != event.Resolve || e.State != event.Failed {
			progress(e)
		}
	}
}

// resolve returns the configuration of a base, and for a golang image that
// cannot be had one like it.
func (f *dockerFront) resolve(ctx context.Context, ref string, p v1.Platform) (*v1.ConfigFile, error) {
	key := imageKey(ref, p)
	if config, ok := f.resolved[key]; ok {
		return config, nil
	}
	tag, ok := golang.Tag(ref)
	f.quiet.Store(ok) // it is done without
	img, err := f.bases.Image(ctx, ref, p)
	f.quiet.Store(false)
	var config *v1.ConfigFile
	if err == nil {
		config, err = img.ConfigFile()
	}
	if err == nil {
		f.sizes[key], err = sizeOf(img)
	}
	if err != nil && ok && ctx.Err() == nil {
		release, findErr := f.golang.Find(ctx, tag)
		if findErr != nil {
			return nil, fmt.Errorf("%w; and without the image: %w", err, findErr)
		}
		f.progress.Skip(event.Resolve, ref, "not to be had; by its tag it is Go "+release)
		config, err = &v1.ConfigFile{Config: golang.Config(tag, release)}, nil
	}
	if err != nil {
		return nil, err
	}
	f.resolved[key] = config
	return config, nil
}
