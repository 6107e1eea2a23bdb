package dockerfile

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/stagectl/stagectl/builder/plan"
)

// dispatch carries out one instruction.
func (c *converter) dispatch(s *stage, cmd *command) error {
	if err := c.expandAll(s, cmd); err != nil {
		return err
	}
	switch in := cmd.parsed.(type) {
	case *instructions.ArgCommand:
		return c.arg(s, cmd, in)
	case *instructions.EnvCommand:
		return s.setEnv(cmd, in)
	case *instructions.RunCommand:
		return c.run(s, cmd, in)
	case *instructions.CopyCommand:
		return s.copyFiles(cmd, in)
	case *instructions.AddCommand:
		return s.addFiles(cmd, in)
	case *instructions.WorkdirCommand:
		return s.workdir(cmd, in)
	case *instructions.UserCommand:
		return s.user(cmd, in)
	case *instructions.ExposeCommand:
		return c.expose(s, cmd, in)
	case *instructions.VolumeCommand:
		return s.volume(cmd, in)
	case *instructions.StopSignalCommand:
		return s.stopSignal(cmd, in)
	case *instructions.LabelCommand:
		return s.label(cmd, in)
	case *instructions.ShellCommand:
		s.setConfig(cmd.position, plan.Config{Shell: in.Shell})
	case *instructions.CmdCommand:
		s.cmdSet = true
		s.setConfig(cmd.position, plan.Config{Cmd: s.command(in.ShellDependantCmdLine), ArgsEscaped: true})
	case *instructions.EntrypointCommand:
		s.entrypoint(cmd, in)
	case *instructions.HealthCheckCommand:
		s.setConfig(cmd.position, healthcheck(in))
	case *instructions.OnbuildCommand:
		s.setConfig(cmd.position, plan.Config{OnBuild: append(slices.Clone(s.config.OnBuild), in.Expression)})
	case *instructions.MaintainerCommand:
		s.setConfig(cmd.position, plan.Config{Author: in.Maintainer})
	default:
		return fmt.Errorf("%s is not known", strings.ToUpper(cmd.node.Value))
	}
	return nil
}

// expandAll replaces the variables of an instruction. Which of its words have
// any is the instruction's to say; the text of RUN, CMD and the like has none.
func (c *converter) expandAll(s *stage, cmd *command) error {
	if _, isArg := cmd.parsed.(*instructions.ArgCommand); isArg {
		return nil // a default that is not used need not be right
	}
	if in, ok := cmd.parsed.(instructions.SupportsSingleWordExpansion); ok {
		if err := in.Expand(c.expand(s, cmd)); err != nil {
			return err
		}
	}
	in, ok := cmd.parsed.(instructions.SupportsSingleWordExpansionRaw)
	if !ok {
		return nil
	}
	// A here-document keeps its quotes, and escapes as a shell does.
	lex := shell.NewLex('\\')
	lex.SkipProcessQuotes = true
	return in.ExpandRaw(func(text string) (string, error) {
		expanded, missing, err := lex.ProcessWord(text, s.env)
		c.warnMissing(s, cmd, text, missing)
		return expanded, err
	})
}

// noEnvArgs are ARGs that only tell BuildKit what to scan.
var noEnvArgs = []string{"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"}

// arg sets what ARG declares: to --build-arg, or else its default, or else
// what it is before the first FROM.
func (c *converter) arg(s *stage, cmd *command, in *instructions.ArgCommand) error {
	for _, arg := range in.Args {
		s.args = append(s.args, arg.Key)
		value, ok := c.opts.buildArg(arg.Key)
		switch {
		case ok:
		case arg.Value != nil:
			var err error
			if value, err = c.expand(s, cmd)(*arg.Value); err != nil {
				return err
			}
			ok = true
		default:
			value, ok = c.global.Get(arg.Key)
		}
		if !ok || slices.Contains(noEnvArgs, arg.Key) {
			continue
		}
		if _, _, err := plan.ParseKeyValue("ARG", arg.Key+"="+value); err != nil {
			return err
		}
		s.env.set(arg.Key, value)
	}
	return nil
}

func (s *stage) setEnv(cmd *command, in *instructions.EnvCommand) error {
	var env []string
	for _, kv := range in.Env {
		pair := kv.Key + "=" + kv.Value
		if _, _, err := plan.ParseKeyValue("variable", pair); err != nil || strings.Contains(kv.Key, "=") {
			return fmt.Errorf("malformed variable %q: it is KEY=VALUE, and the key has no blanks", pair)
		}
		env = append(env, pair)
		s.env.set(kv.Key, kv.Value)
	}
	s.setConfig(cmd.position, plan.Config{Env: env})
	return nil
}

func (s *stage) workdir(cmd *command, in *instructions.WorkdirCommand) error {
	dir := in.Path
	if !path.IsAbs(dir) {
		dir = path.Join("/", s.config.WorkingDir, dir)
	}
	// BuildKit stores an absolute path as it is; ".." would depend on links.
	if slices.Contains(strings.Split(dir, "/"), "..") {
		dir = path.Clean(dir)
	}
	clean, err := plan.ParseAbs("working directory", dir)
	if err != nil {
		return err
	}
	s.setConfig(cmd.position, plan.Config{WorkingDir: dir})
	if clean != "/" {
		s.add(cmd.position, plan.Step{MakeDir: &plan.MakeDir{Path: clean, User: s.config.User}})
	}
	return nil
}

func (s *stage) user(cmd *command, in *instructions.UserCommand) error {
	if in.User == "" {
		return errors.New("the user is empty: root is USER 0")
	}
	if _, err := plan.ParseUser(in.User); err != nil {
		return err
	}
	s.setConfig(cmd.position, plan.Config{User: in.User})
	return nil
}

func (s *stage) volume(cmd *command, in *instructions.VolumeCommand) error {
	for _, v := range in.Volumes {
		if v == "" {
			return errors.New("the path of a volume is empty")
		}
		if _, err := plan.ParseAbs("volume", v); err != nil {
			return err
		}
	}
	s.setConfig(cmd.position, plan.Config{Volumes: in.Volumes})
	return nil
}

func (s *stage) stopSignal(cmd *command, in *instructions.StopSignalCommand) error {
	if _, err := plan.ParseSignal(in.Signal); err != nil {
		return err
	}
	s.setConfig(cmd.position, plan.Config{StopSignal: in.Signal})
	return nil
}

func (s *stage) label(cmd *command, in *instructions.LabelCommand) error {
	labels := map[string]string{}
	for _, kv := range in.Labels {
		if kv.Key == "" {
			return fmt.Errorf("malformed label %q: it has no key", "="+kv.Value)
		}
		labels[kv.Key] = kv.Value
	}
	s.setConfig(cmd.position, plan.Config{Labels: labels})
	return nil
}

// command is what an image runs: the shell form goes through the shell in force.
func (s *stage) command(line instructions.ShellDependantCmdLine) []string {
	if !line.PrependShell {
		return append([]string{}, line.CmdLine...)
	}
	through := s.config.Shell
	if len(through) == 0 {
		through = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(through), strings.Join(line.CmdLine, " "))
}

// entrypoint clears the base's CMD, but not the stage's own.
func (s *stage) entrypoint(cmd *command, in *instructions.EntrypointCommand) {
	change := plan.Config{Entrypoint: s.command(in.ShellDependantCmdLine)}
	if s.cmdSet {
		change.Cmd = append([]string{}, s.config.Cmd...)
	}
	s.setConfig(cmd.position, change)
}

func healthcheck(in *instructions.HealthCheckCommand) plan.Config {
	h := in.Health
	return plan.Config{
		Healthcheck: &v1.HealthConfig{
			Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries,
		},
		StartInterval: h.StartInterval,
	}
}
