package dockerfile

import (
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagectl/stagectl/builder/plan"
)

func (c *converter) run(s *stage, cmd *command, in *instructions.RunCommand) error {
	r := &plan.Run{Dir: path.Join("/", s.config.WorkingDir), User: s.config.User}
	env := s.env.clone()
	for _, v := range c.opts.proxyEnv() {
		env.set(v.key, v.value)
	}
	r.Env = env.strings()
	if network := instructions.GetNetwork(in); network != instructions.NetworkDefault {
		r.Network = network
	}
	if security := instructions.GetSecurity(in); security != instructions.SecuritySandbox {
		r.Security = security
	}
	for _, d := range instructions.GetDevices(in) {
		r.Devices = append(r.Devices, d.Name)
	}
	for i, m := range instructions.GetMounts(in) {
		mount, err := s.mount(m, cmd.from[i], r.Mounts)
		if err != nil {
			return fmt.Errorf("--mount: %w", err)
		}
		r.Mounts = append(r.Mounts, mount)
	}
	if err := c.setCommand(s, cmd, in, r); err != nil {
		return err
	}
	s.add(cmd.position, plan.Step{Run: r})
	return nil
}

// setCommand sets what r runs. One here-document without a command is the
// script itself, or with #! a program; in others the shell finds its own.
func (c *converter) setCommand(s *stage, cmd *command, in *instructions.RunCommand, r *plan.Run) error {
	if !in.PrependShell {
		if len(in.CmdLine) == 0 {
			return errors.New("there is no command")
		}
		r.Exec = in.CmdLine
		return nil
	}
	r.Shell = append(r.Shell, s.config.Shell...)
	r.Script = strings.Join(in.CmdLine, " ")
	head := len(r.Script)
	if len(in.Files) > 0 {
		if doc := parser.MustParseHeredoc(r.Script); doc == nil {
			for _, file := range in.Files {
				r.Script += "\n" + file.Data + file.Name
			}
		} else if err := setDocument(in.Files[0], r); err != nil {
			return err
		} else if head = 0; len(r.Files) > 0 {
			r.Lines = []plan.Line{{Line: cmd.position.Line}}
			return nil
		}
	}
	if cmd.mapped {
		r.Lines = c.file.scriptLines(cmd.node, r.Script, head)
	} else {
		r.Lines = []plan.Line{{Line: cmd.position.Line}}
	}
	return nil
}

// setDocument makes a here-document what r runs.
func setDocument(file instructions.ShellInlineFile, r *plan.Run) error {
	data := file.Data
	if file.Chomp {
		data = parser.ChompHeredocContent(data)
	}
	if !strings.HasPrefix(data, "#!") {
		r.Script = data
		return nil
	}
	if file.Name == "." || file.Name == ".." || strings.Contains(file.Name, "/") {
		return fmt.Errorf("%q is not the name of a file: a here-document is called what its delimiter is", file.Name)
	}
	r.Script = path.Join(plan.PipesDir, file.Name)
	r.Files = []plan.Inline{{Name: file.Name, Data: data}}
	return nil
}

// mount is m, which was parsed again since from was found: with its variables.
// Before it come others.
func (s *stage) mount(m *instructions.Mount, from *origin, others []plan.Mount) (plan.Mount, error) {
	out := plan.Mount{Type: string(m.Type), ReadOnly: m.ReadOnly}
	if err := setMountOwner(&out, m); err != nil {
		return out, err
	}
	switch m.Type {
	case instructions.MountTypeSecret:
		return out, s.secret(&out, m)
	case instructions.MountTypeSSH:
		return out, s.ssh(&out, m, others)
	case instructions.MountTypeTmpfs:
		out.Size = max(m.SizeLimit, 0)
	case instructions.MountTypeCache:
		if out.ID = m.CacheID; out.ID == "" {
			out.ID = path.Clean(m.Target)
		}
		if m.CacheSharing != instructions.MountSharingShared {
			out.Sharing = string(m.CacheSharing)
		}
	}
	if m.Type == instructions.MountTypeBind || (m.Type == instructions.MountTypeCache && from != nil) {
		out.FromKind, out.Source = plan.FromContext, path.Join("/", m.Source)
		if from != nil {
			out.From, out.FromKind = from.name, from.kind
		}
		if out.FromKind == plan.FromContext && leaves(m.Source) {
			return out, fmt.Errorf("%s is outside the build context", m.Source)
		}
	}
	return out, s.setTarget(&out, m.Target)
}

// setTarget sets where the mount is, which may be relative.
func (s *stage) setTarget(out *plan.Mount, target string) error {
	if target == "" {
		return errors.New("target is missing")
	}
	out.Target = path.Clean(target)
	if !path.IsAbs(target) {
		out.Target = path.Join("/", s.config.WorkingDir, target)
	}
	if out.Target == "/" {
		return fmt.Errorf("target %q would hide the whole stage", target)
	}
	var err error
	out.Target, err = plan.ParseAbs("target", out.Target)
	return err
}

func setMountOwner(out *plan.Mount, m *instructions.Mount) error {
	for _, id := range []struct {
		given *uint64
		to    *int
	}{{m.UID, &out.UID}, {m.GID, &out.GID}} {
		if id.given == nil {
			continue
		}
		if *id.given > math.MaxInt32 {
			return fmt.Errorf("owner %d is too large", *id.given)
		}
		*id.to = int(*id.given)
	}
	if m.Mode != nil {
		out.Mode = fmt.Sprintf("%04o", *m.Mode)
	}
	return plan.CheckMode(out.Mode)
}

// secret follows what the daemon does: the source is another name of the ID,
// and the target defaults to a file of that name.
func (s *stage) secret(out *plan.Mount, m *instructions.Mount) error {
	if out.ID = m.CacheID; m.Source != "" {
		out.ID = m.Source
	}
	if out.ID == "" {
		out.ID = path.Base(m.Target)
	}
	out.Required, out.ReadOnly = m.Required, false
	target := m.Target
	if m.Env != nil {
		if out.Env = *m.Env; out.Env == "" {
			out.Env = out.ID
		}
		if target == "" {
			return nil
		}
	}
	if target == "" {
		target = "/run/secrets/" + path.Base(out.ID)
	}
	return s.setTarget(out, target)
}

// ssh gives each socket of a command a place of its own.
func (s *stage) ssh(out *plan.Mount, m *instructions.Mount, others []plan.Mount) error {
	if m.Source != "" {
		return errors.New("an ssh socket has no source")
	}
	if out.ID = m.CacheID; out.ID == "" {
		out.ID = "default"
	}
	out.Required, out.ReadOnly = m.Required, false
	target := m.Target
	if target == "" {
		n := 0
		for _, other := range others {
			if other.Type == plan.MountSSH {
				n++
			}
		}
		target = "/run/buildkit/ssh_agent." + strconv.Itoa(n)
	}
	return s.setTarget(out, target)
}
