package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/patternmatcher"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/script"
)

// Finding is what is known of a command of a Dockerfile before anything is done.
type Finding struct {
	script.Finding
	// Stage that it is in, by its name.
	Stage string
	// Position of the instruction. Finding.Line is more exact.
	Position plan.Position
}

// Where is FILE:LINE of the command.
func (f Finding) Where() string {
	at := f.Position
	if f.Line > 0 {
		at.Line = f.Line
	}
	return at.String()
}

// Missing is the class of what a RUN has to have and Builder was not given.
const Missing script.Class = "needs a flag"

// Check classes the commands of all RUNs in a plan's stages, in their order.
// Platforms for which the same is found share it.
func (b *Builder) Check(p *plan.Plan) []Finding {
	var all []Finding
	for _, img := range p.Images {
		for _, platform := range img.Platforms {
			t := target{img, platform}
			for _, stage := range t.stages() {
				for _, f := range b.checkStage(stage, script.Options{Final: t.isChain(stage.Name), AllowHostExec: b.AllowHostExec}) {
					if !slices.Contains(all, f) {
						all = append(all, f)
					}
				}
			}
		}
	}
	return all
}

func (b *Builder) checkStage(stage plan.Stage, o script.Options) []Finding {
	var all []Finding
	for _, step := range stage.Steps {
		pos := plan.Position{}
		if step.Position != nil {
			pos = *step.Position
		}
		var found []script.Finding
		if step.Run != nil {
			found = append(b.checkMounts(step.Run.Mounts), script.Check(step.Run, o)...)
		}
		for _, f := range found {
			all = append(all, Finding{f, stage.Name, pos})
		}
	}
	return all
}

// checkMounts finds what a RUN has to have and nobody has given.
func (b *Builder) checkMounts(mounts []plan.Mount) []script.Finding {
	var found []script.Finding
	for _, m := range mounts {
		_, secret := b.Secrets[m.ID]
		_, agent := b.SSH[m.ID]
		if !m.Required || m.Type == plan.MountSecret && secret || m.Type == plan.MountSSH && agent {
			continue
		}
		f := script.Finding{Command: "--mount=type=" + m.Type + ",id=" + m.ID + ",required", Class: Missing}
		switch m.Type {
		case plan.MountSecret:
			f.Reason, f.Hint = "there is no secret "+m.ID, "--secret id="+m.ID+",src=FILE gives it one, or id="+m.ID+",env=VARIABLE"
		case plan.MountSSH:
			f.Reason, f.Hint = "there is no ssh agent "+m.ID, "--ssh "+m.ID+" gives it the one that SSH_AUTH_SOCK names"
		}
		found = append(found, f)
	}
	return found
}

func isURL(src string) bool {
	return strings.HasPrefix(src, "http://") || strings.HasPrefix(src, "https://")
}

// ContainerError is returned for a plan with commands that cannot be carried out
// without a container, or without what was not given, before anything is done.
type ContainerError struct {
	// Findings are all of those, in order.
	Findings []Finding
}

func (e *ContainerError) Error() string {
	var lines []string
	for _, f := range e.Findings {
		text := "RUN " + f.Command
		if f.Class != script.Container {
			lines = append(lines, fmt.Sprintf("%s: %s: %s", f.Where(), text, f.Reason))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s: needs a container (%s)", f.Where(), text, f.Reason))
	}
	return strings.Join(lines, "\n")
}

// checkRuns refuses what needs a container, or what was not given.
func (s *session) checkRuns() error {
	refused := slices.DeleteFunc(s.Check(s.plan), func(f Finding) bool {
		return f.Class == script.Native || f.Class == script.Emulated
	})
	if len(refused) > 0 {
		return &ContainerError{refused}
	}
	return nil
}

// contextTree is a build context, opened once. The session closes it.
func (s *session) contextTree(called string) (*rootfs.HostTree, error) {
	if called == "" {
		called = plan.BuildContext
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.contexts[called]; ok {
		return t, nil
	}
	from, ok := s.plan.Contexts[called]
	if !ok {
		return nil, fmt.Errorf("there is no build context %s", called)
	}
	var ignore *patternmatcher.PatternMatcher
	if patterns := append(slices.Clip(from.Ignore), s.ownIn(from.Dir)...); len(patterns) > 0 {
		var err error
		if ignore, err = patternmatcher.New(patterns); err != nil {
			return nil, fmt.Errorf("reading what build context %s leaves out: %w", called, err)
		}
	}
	t, err := rootfs.NewHostTree(from.Dir, ignore)
	if err != nil {
		return nil, err
	}
	s.contexts[called] = t
	return t, nil
}

// ownIn are patterns of what the build itself keeps in a context: a stage in a
// context that is copied into it would have no end.
func (s *session) ownIn(dir string) []string {
	var patterns []string
	for _, own := range []string{filepath.Join(os.TempDir(), tempPrefix), s.Cache.Dir()} {
		rel, err := filepath.Rel(dir, own)
		if err != nil || !filepath.IsLocal(rel) || rel == "." {
			continue
		}
		pattern := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(filepath.ToSlash(rel))
		if strings.HasSuffix(own, tempPrefix) {
			pattern += "*"
		}
		patterns = append(patterns, pattern)
	}
	return patterns
}

// tempPrefix starts the name of a build's temporary directory.
const tempPrefix = "stagectl-"

// checkContexts finds sources that are missing before anything is done.
func (s *session) checkContexts() error {
	var errs []error
	var seen []string
	for _, t := range s.targets {
		for _, stage := range t.stages() {
			for _, step := range stage.Steps {
				if step.Files == nil || step.Files.FromKind != plan.FromContext {
					continue
				}
				err := s.checkSourcesOf(step.Files)
				if err == nil {
					continue
				}
				err = at(step, err)
				if !slices.Contains(seen, err.Error()) {
					seen = append(seen, err.Error())
					errs = append(errs, err)
				}
			}
		}
	}
	return errors.Join(errs...)
}

func (s *session) checkSourcesOf(f *plan.Files) error {
	tree, err := s.contextTree(f.From)
	if err != nil {
		return err
	}
	for _, src := range f.Sources {
		if f.Add && isRepository(src) {
			if _, err := parseRepository(src); err != nil {
				return err
			}
			continue
		}
		if f.Add && isURL(src) || strings.ContainsAny(src, `*?[\`) {
			continue
		}
		_, info, err := rootfs.Resolve(tree, path.Join("/", src))
		if errors.Is(err, syscall.ELOOP) {
			err = nil // as of a link to /etc that is called etc
		}
		if err != nil {
			return fmt.Errorf("finding %s: %w", src, err)
		}
		if info == nil {
			e := &SourceError{Source: src, Ignored: s.ignored(f.From, src)}
			if !e.Ignored {
				e.Link, e.Target = linkIn(tree, src)
			}
			return e
		}
	}
	return nil
}

// linkIn is the first symbolic link on the way of a path, and where it leads.
func linkIn(tree rootfs.Tree, src string) (link, target string) {
	at := "/"
	for name := range strings.SplitSeq(path.Join("/", src), "/") {
		at = path.Join(at, name)
		if info, err := tree.Lstat(at); err == nil && info.IsSymlink() {
			return strings.TrimPrefix(at, "/"), info.Link
		}
	}
	return "", ""
}

// SourceError is returned where a COPY or ADD names what is not in the context.
type SourceError struct {
	Source string
	// Ignored tells that it is there, and left out by the ignore file.
	Ignored bool
	// Link is the symbolic link on the way to it, and Target where that leads.
	Link, Target string
}

func (e *SourceError) Error() string {
	if e.Ignored {
		return fmt.Sprintf("%s is left out of the build context by its .dockerignore", e.Source)
	}
	if e.Link != "" {
		return fmt.Sprintf("%s is not in the build context: %s is a symbolic link to %s, and none leads out of it", e.Source, e.Link, e.Target)
	}
	return fmt.Sprintf("%s is not in the build context", e.Source)
}

// Unwrap has it be a missing file.
func (e *SourceError) Unwrap() error { return fs.ErrNotExist }

// ignored tells whether a source would be there without the ignore file.
func (s *session) ignored(called, src string) bool {
	if called == "" {
		called = plan.BuildContext
	}
	tree, err := rootfs.NewHostTree(s.plan.Contexts[called].Dir, nil)
	if err != nil {
		return false
	}
	defer func() { _ = tree.Close() }()
	_, info, err := rootfs.Resolve(tree, path.Join("/", src))
	return err == nil && info != nil
}

// at puts in front of err the place and the text of the instruction that it is of.
func at(step plan.Step, err error) error {
	if step.Position == nil {
		return err
	}
	if se := (*script.Error)(nil); errors.As(err, &se) {
		pos := *step.Position
		if se.Line > 0 {
			pos.Line = se.Line
		}
		return fmt.Errorf("%s: %w", &pos, err)
	}
	// The URL of an ADD may have a password or a signature in it.
	return fmt.Errorf("%s: %s: %w", step.Position, registry.Redact(step.Position.Text), err)
}
