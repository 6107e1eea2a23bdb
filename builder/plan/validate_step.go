package plan

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// symbolicMode is the grammar of chmod's symbolic mode,
// https://pubs.opengroup.org/onlinepubs/9799919799/utilities/chmod.html.
var symbolicMode = regexp.MustCompile(`^[ugoa]*([-+=]([rwxXst]*|[ugo]))+(,[ugoa]*([-+=]([rwxXst]*|[ugo]))+)*$`)

func (r *Run) validate(isStage func(string) bool) error {
	switch {
	case r.Exec != nil && (r.Script != "" || r.Shell != nil || len(r.Lines) > 0):
		return errors.New("it has both a script and words")
	case r.Exec != nil && len(r.Exec) == 0:
		return errors.New("it has no words")
	case r.Shell != nil && len(r.Shell) == 0:
		return errors.New("the shell has no words")
	}
	for _, check := range []error{
		checkWords("script", []string{r.Script}), checkWords("command", r.Exec), checkWords("shell", r.Shell),
		checkWords("user", []string{r.User}), checkAbs("working directory", r.Dir),
		oneOf("network", r.Network, "", "none", "host"), oneOf("security", r.Security, "", "insecure"),
		checkInline(r.Files),
	} {
		if check != nil {
			return check
		}
	}
	for _, kv := range r.Env {
		if _, _, err := ParseKeyValue("env", kv); err != nil {
			return err
		}
	}
	if !slices.IsSortedFunc(r.Lines, func(a, b Line) int { return a.Offset - b.Offset }) {
		return errors.New("the lines of the script are not in order")
	}
	for _, m := range r.Mounts {
		if err := m.validate(isStage); err != nil {
			return fmt.Errorf("mounting %s: %w", m.Target, err)
		}
	}
	return nil
}

func (m Mount) validate(isStage func(string) bool) error {
	if err := oneOf("type", m.Type, MountBind, MountCache, MountTmpfs, MountSecret, MountSSH); err != nil {
		return err
	}
	sourced := m.FromKind != "" || m.From != "" || m.Source != ""
	owned := m.UID != 0 || m.GID != 0 || m.Mode != ""
	switch {
	case m.Type == MountBind && m.FromKind == "":
		return errors.New("it has no source")
	case m.Type != MountBind && m.Type != MountCache && sourced:
		return fmt.Errorf("a %s has no source", m.Type)
	case (m.Type == MountBind || m.Type == MountTmpfs) && owned:
		return fmt.Errorf("a %s has no mode and owner", m.Type)
	case m.Env != "" && m.Type != MountSecret:
		return fmt.Errorf("a %s is no variable", m.Type)
	case (m.Type == MountCache || m.Type == MountSecret) && m.ID == "":
		return errors.New("it has no ID")
	case m.UID < 0 || m.GID < 0 || m.Size < 0:
		return errors.New("it has a negative number")
	case m.Target == "/":
		return errors.New("nothing of the stage would be left")
	}
	if sourced {
		if err := checkFrom(m.From, m.FromKind, isStage); err != nil {
			return err
		}
	}
	if m.Env == "" || m.Target != "" {
		if err := checkAbs("target", m.Target); err != nil {
			return err
		}
	}
	return errors.Join(
		CheckMode(m.Mode), oneOf("sharing", m.Sharing, "", "private", "locked"),
		checkWords("mount", []string{m.Source, m.From, m.ID, m.Env}))
}

func (f *Files) validate(isStage func(string) bool) error {
	if err := checkFrom(f.From, f.FromKind, isStage); err != nil {
		return err
	}
	switch {
	case len(f.Sources)+len(f.Inline) == 0 || slices.Contains(f.Sources, ""):
		return errors.New("no source")
	case f.Add && (f.From != "" || f.Parents):
		return errors.New("only COPY has --from and --parents")
	case !f.Add && (f.Checksum != "" || f.KeepGitDir || f.Unpack != nil):
		return errors.New("only ADD has --checksum, --keep-git-dir and --unpack")
	}
	return errors.Join(
		checkAbs("destination", f.Dest), CheckMode(f.Mode), checkInline(f.Inline), checkWords("source", f.Sources),
		checkWords("pattern", f.Exclude), checkWords("owner", []string{f.Owner}), checkWords("checksum", []string{f.Checksum}))
}

func (m *MakeDir) validate() error {
	return errors.Join(checkAbs("directory", m.Path), checkWords("user", []string{m.User}))
}

func checkAbs(what, s string) error {
	_, err := ParseAbs(what, s)
	return err
}

func oneOf(what, s string, allowed ...string) error {
	if !slices.Contains(allowed, s) {
		return fmt.Errorf("unknown %s %q", what, s)
	}
	return nil
}

func checkFrom(from string, kind FromKind, isStage func(string) bool) error {
	switch {
	case kind == FromStage && !isStage(from):
		return fmt.Errorf("there is no earlier stage %s", from)
	case kind == FromImage && from == "":
		return errors.New("no image to copy from")
	}
	if err := checkWords("source", []string{from}); err != nil {
		return err
	}
	return oneOf("kind of source", string(kind), string(FromContext), string(FromStage), string(FromImage))
}

// CheckMode says whether s is empty or a mode as chmod takes it, octal or symbolic.
func CheckMode(s string) error {
	if _, err := parseMode(s); s == "" || err == nil || symbolicMode.MatchString(s) {
		return nil
	}
	return fmt.Errorf("mode %q is neither octal, of at most 7777, nor symbolic, as u+x,go=r", s)
}

func checkInline(files []Inline) error {
	seen := map[string]bool{}
	for _, f := range files {
		switch {
		case f.Name == "" || f.Name == "." || f.Name == ".." || strings.ContainsAny(f.Name, "/\x00"):
			return fmt.Errorf("%q is not the name of a file", f.Name)
		case seen[f.Name]:
			return fmt.Errorf("two files are called %s", f.Name)
		}
		seen[f.Name] = true
		if err := checkText(f.Name); err != nil {
			return fmt.Errorf("malformed name %q: %w", f.Name, err)
		}
	}
	return nil
}
