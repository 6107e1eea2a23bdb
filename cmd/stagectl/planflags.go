package main

import (
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/layer"
	"github.com/stagectl/stagectl/builder/plan"
)

// planFlags are the flags that decide what is built.
type planFlags struct {
	base             string
	tags, platforms  []string
	copies           []string
	binaryPath       string
	single           bool
	allowDynamic     bool
	annotations      []string
	compression      string
	settings         plan.GoSettings
	config           configFlags
	platformsChecked []v1.Platform
}

// configFlags are those of the image's configuration, as in `docker run`.
type configFlags struct {
	ports, env, labels, volumes []string
	entrypoint, cmd             string
	workdir, user, stopSignal   string
	health                      string
	interval, timeout, start    time.Duration
	retries                     int
	// changed tells which flags were given, since an empty one says something.
	changed func(name string) bool
}

func (f *planFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.base, "base", plan.Static, "base `REF`: static, scratch, a reference, oci:DIR[:TAG] or docker-archive:FILE")
	flags.StringArrayVarP(&f.tags, "tag", "t", nil, "`NAME` of the image, {name} for the binary's; repeatable (default {name}:latest)")
	flags.StringSliceVar(&f.platforms, "platform", nil, "`P,...` to build for, as linux/amd64,linux/arm64, or all of the base's (default linux on this CPU)")
	flags.StringArrayVar(&f.copies, "copy", nil, "`SRC:DST[,chmod=MODE][,chown=UID:GID]` to put into the image, repeatable")
	flags.StringVar(&f.binaryPath, "binary-path", "/app/{name}", "`PATH` of the binary in the image")
	flags.BoolVar(&f.single, "single", false, "put all binaries into one image; the first is the entrypoint")
	flags.BoolVar(&f.allowDynamic, "allow-dynamic", false, "accept a binary that needs libraries which the base lacks")
	flags.StringArrayVar(&f.annotations, "annotation", nil, "`KEY=VALUE` of the manifest, or index:KEY=VALUE, repeatable")
	flags.StringVar(&f.compression, "compression", layer.Gzip, "`gzip`, zstd or none[:LEVEL], of new layers")
	flags.StringVar(&f.settings.LDFlags, "ldflags", "", "linker `FLAGS`, beside -s -w")
	flags.StringVar(&f.settings.Tags, "go-tags", "", "build `TAGS`, separated by commas")
	flags.BoolVar(&f.settings.Debug, "debug", false, "keep the symbol table and DWARF (no -s -w)")
	f.config.register(cmd)
	for name, values := range map[string][]string{
		"platform":    {"linux/amd64", "linux/arm64", "linux/arm/v7", "all"},
		"compression": {layer.Gzip, layer.Zstd, layer.None},
		"base":        {plan.Static, plan.Scratch, "alpine", "gcr.io/distroless/static"},
	} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

func (c *configFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&c.ports, "port", "p", nil, "`PORT[/PROTO]` that the image declares, repeatable")
	flags.StringVar(&c.entrypoint, "entrypoint", "", "`COMMAND` instead of the binary, words or a JSON array")
	flags.StringVar(&c.cmd, "cmd", "", "default `ARGUMENTS`, words or a JSON array")
	flags.StringArrayVarP(&c.env, "env", "e", nil, "`KEY=VALUE` in the image's environment, or KEY from this one, repeatable")
	flags.StringVarP(&c.workdir, "workdir", "w", "", "working `DIR`")
	flags.StringVarP(&c.user, "user", "u", "", "`USER[:GROUP]` to run as, names or numbers")
	flags.StringArrayVar(&c.labels, "label", nil, "`KEY=VALUE` label, repeatable")
	flags.StringArrayVar(&c.volumes, "volume", nil, "mount point `PATH`, repeatable")
	flags.StringVar(&c.stopSignal, "stop-signal", "", "`SIGNAL` to stop with")
	flags.StringVar(&c.health, "health-cmd", "", "health check `COMMAND`: a JSON array, a line for the shell, or none")
	flags.DurationVar(&c.interval, "health-interval", 0, "time between health checks")
	flags.DurationVar(&c.timeout, "health-timeout", 0, "time that a health check may take")
	flags.DurationVar(&c.start, "health-start-period", 0, "time to start before failures count")
	flags.IntVar(&c.retries, "health-retries", 0, "failures in a row that make it unhealthy")
	c.changed = flags.Changed
}

// check reads all that can be read without looking at anything else.
func (f *planFlags) check() error {
	for _, s := range f.platforms {
		if s == allPlatforms {
			if len(f.platforms) > 1 {
				return usagef("--platform: all goes alone")
			}
			continue
		}
		p, err := plan.ParsePlatform(s)
		if err != nil {
			return usagef("--platform: %w", err)
		}
		f.platformsChecked = append(f.platformsChecked, p)
	}
	if err := base.ValidName(f.base); err != nil {
		return usagef("--base: %w", err)
	}
	if strings.HasSuffix(f.binaryPath, "/") {
		return usagef("--binary-path %q: it is a directory, not a path; add {name}", f.binaryPath)
	}
	clean, err := plan.ParseAbs("path", f.binaryPath)
	if err != nil {
		return usagef("--binary-path: %w", err)
	}
	f.binaryPath = clean
	if _, err := f.compressionOf(); err != nil {
		return err
	}
	if _, err := f.copySteps(); err != nil {
		return err
	}
	if _, _, err := f.annotationsOf(); err != nil {
		return err
	}
	return nil
}

func (f *planFlags) compressionOf() (plan.Compression, error) {
	c, err := plan.ParseCompression(f.compression)
	if err == nil {
		err = layer.Compression(c).Valid()
	}
	if err != nil {
		return c, usagef("--compression: %w", err)
	}
	return c, nil
}

func (f *planFlags) copySteps() ([]plan.Step, error) {
	var steps []plan.Step
	for _, s := range f.copies {
		c, err := plan.ParseCopy(s)
		if err != nil {
			return nil, usagef("--copy: %w", err)
		}
		steps = append(steps, plan.Step{Copy: c})
	}
	return steps, nil
}

// annotationsOf reads docker buildx's form: the key may have the type of what
// it annotates in front.
func (f *planFlags) annotationsOf() (manifest, index map[string]string, err error) {
	manifest, index = map[string]string{}, map[string]string{}
	for _, s := range f.annotations {
		key, value, err := plan.ParseKeyValue("annotation", s)
		if err != nil {
			return nil, nil, usagef("--annotation: %w", err)
		}
		to := manifest
		switch kind, rest, ok := strings.Cut(key, ":"); {
		case ok && kind == "index":
			to, key = index, rest
		case ok && kind == "manifest":
			key = rest
		case ok && strings.HasSuffix(kind, "-descriptor"):
			return nil, nil, usagef("--annotation %q: only manifest: and index: can be annotated", s)
		}
		if key == "" {
			return nil, nil, usagef("--annotation %q: the key is missing", s)
		}
		to[key] = value
	}
	return manifest, index, nil
}

// parse makes the config step. getenv is for -e KEY.
func (c *configFlags) parse(getenv func(string) string) (plan.Config, error) {
	var cf plan.Config
	for _, parse := range []func(*plan.Config, func(string) string) error{
		c.parseCommand, c.parseEnv, c.parseKeys, c.parsePlaces, c.parseHealth,
	} {
		if err := parse(&cf, getenv); err != nil {
			return cf, usageError{err}
		}
	}
	return cf, nil
}

func (c *configFlags) parseCommand(cf *plan.Config, _ func(string) string) (err error) {
	if c.changed("entrypoint") {
		if cf.Entrypoint, err = plan.ParseWords("--entrypoint", c.entrypoint); err != nil {
			return err
		}
	}
	if c.changed("cmd") {
		if cf.Cmd, err = plan.ParseWords("--cmd", c.cmd); err != nil {
			return err
		}
	}
	return nil
}

func (c *configFlags) parseEnv(cf *plan.Config, getenv func(string) string) error {
	for _, s := range c.env {
		if !strings.Contains(s, "=") && s != "" {
			value := getenv(s)
			if value == "" {
				return fmt.Errorf("--env %s: it is not set here; give it a value with -e %s=VALUE", s, s)
			}
			s += "=" + value
		}
		key, value, err := plan.ParseKeyValue("env", s)
		if err != nil {
			return fmt.Errorf("--env: %w", err)
		}
		cf.Env = append(cf.Env, key+"="+value)
	}
	return nil
}

func (c *configFlags) parseKeys(cf *plan.Config, _ func(string) string) error {
	for _, s := range c.labels {
		if !strings.Contains(s, "=") {
			s += "=" // as in docker run
		}
		key, value, err := plan.ParseKeyValue("label", s)
		if err != nil {
			return fmt.Errorf("--label: %w", err)
		}
		if cf.Labels == nil {
			cf.Labels = map[string]string{}
		}
		cf.Labels[key] = value
	}
	for _, s := range c.ports {
		ports, err := plan.ParsePort(s)
		if err != nil {
			return fmt.Errorf("--port: %w", err)
		}
		cf.Ports = append(cf.Ports, ports...)
	}
	return nil
}

func (c *configFlags) parsePlaces(cf *plan.Config, _ func(string) string) (err error) {
	for _, s := range c.volumes {
		p, err := plan.ParseAbs("volume", s)
		if err != nil {
			return fmt.Errorf("--volume: %w", err)
		}
		cf.Volumes = append(cf.Volumes, p)
	}
	if c.changed("workdir") {
		if cf.WorkingDir, err = plan.ParseAbs("directory", c.workdir); err != nil {
			return fmt.Errorf("--workdir: %w", err)
		}
	}
	if c.changed("user") {
		if cf.User, err = plan.ParseUser(c.user); err != nil {
			return fmt.Errorf("--user: %w", err)
		}
	}
	if c.changed("stop-signal") {
		if cf.StopSignal, err = plan.ParseSignal(c.stopSignal); err != nil {
			return fmt.Errorf("--stop-signal: %w", err)
		}
	}
	return nil
}

// parseHealth reads the command as `docker run` does, and an array for images
// that have no shell.
func (c *configFlags) parseHealth(cf *plan.Config, _ func(string) string) error {
	if !c.changed("health-cmd") {
		for _, name := range []string{"health-interval", "health-timeout", "health-start-period", "health-retries"} {
			if c.changed(name) {
				return fmt.Errorf("--%s: there is no --health-cmd", name)
			}
		}
		return nil
	}
	h := &v1.HealthConfig{Interval: c.interval, Timeout: c.timeout, StartPeriod: c.start, Retries: c.retries}
	if c.interval < 0 || c.timeout < 0 || c.start < 0 || c.retries < 0 {
		return fmt.Errorf("--health-interval, -timeout, -start-period and -retries are not negative")
	}
	switch s := strings.TrimSpace(c.health); {
	case s == "":
		return fmt.Errorf("--health-cmd: it is empty; none switches the base's off")
	case s == "none":
		h.Test = []string{"NONE"}
	case strings.HasPrefix(s, "["):
		words, err := plan.ParseWords("--health-cmd", s)
		if err != nil {
			return err
		}
		h.Test = append([]string{"CMD"}, words...)
	default:
		h.Test = []string{"CMD-SHELL", s}
	}
	cf.Healthcheck = h
	return nil
}
