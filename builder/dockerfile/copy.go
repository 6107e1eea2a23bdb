package dockerfile

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"

	"github.com/stagectl/stagectl/builder/plan"
)

func (s *stage) copyFiles(cmd *command, in *instructions.CopyCommand) error {
	f := plan.Files{
		FromKind: plan.FromContext, Owner: in.Chown, Mode: in.Chmod, Link: in.Link, Parents: in.Parents, Exclude: in.ExcludePatterns,
	}
	if len(cmd.from) > 0 {
		f.From, f.FromKind = cmd.from[0].name, cmd.from[0].kind
	}
	for _, src := range in.SourcePaths {
		if isGit(src) || isURL(src) {
			return fmt.Errorf("%s is not copied by COPY: ADD downloads it", src)
		}
	}
	return s.files(cmd, f, in.SourcesAndDest)
}

func (s *stage) addFiles(cmd *command, in *instructions.AddCommand) error {
	f := plan.Files{
		FromKind: plan.FromContext, Owner: in.Chown, Mode: in.Chmod, Link: in.Link, Exclude: in.ExcludePatterns,
		Add: true, Checksum: in.Checksum, Unpack: in.Unpack, KeepGitDir: in.KeepGitDir != nil && *in.KeepGitDir,
	}
	if err := checkChecksum(in); err != nil {
		return err
	}
	return s.files(cmd, f, in.SourcesAndDest)
}

// files adds the step that COPY and ADD have in common.
func (s *stage) files(cmd *command, f plan.Files, in instructions.SourcesAndDest) error {
	for _, src := range in.SourcePaths {
		remote := f.Add && (isURL(src) || isGit(src))
		if !remote && f.FromKind == plan.FromContext && leaves(src) {
			return fmt.Errorf("%s is outside the build context: name a directory above as the context, or copy from another with --build-context", src)
		}
		if src == "" {
			src = "/"
		}
		f.Sources = append(f.Sources, src)
	}
	for _, content := range in.SourceContents {
		name := strings.TrimLeft(content.Path, "/")
		if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
			return fmt.Errorf("%q is not the name of a file: a here-document is called what its delimiter is", content.Path)
		}
		f.Inline = replaceInline(f.Inline, plan.Inline{Name: name, Data: content.Data})
	}
	if f.Owner != "" {
		if err := checkOwner(f.Owner, f.Link); err != nil {
			return err
		}
	}
	if err := plan.CheckMode(f.Mode); err != nil {
		return fmt.Errorf("--chmod: %w", err)
	}
	if _, err := patternmatcher.New(f.Exclude); err != nil {
		return fmt.Errorf("--exclude: %w", err)
	}
	f.Dest = s.abs(in.DestPath)
	if _, err := plan.ParseAbs("destination", f.Dest); err != nil {
		return err
	}
	s.add(cmd.position, plan.Step{Files: &f})
	return nil
}

// leaves tells whether a path goes above where it starts.
func leaves(src string) bool {
	clean := path.Clean(strings.TrimLeft(src, "/"))
	return clean == ".." || strings.HasPrefix(clean, "../")
}

// replaceInline appends a file. Of two here-documents with one delimiter, the
// parser knows only the last.
func replaceInline(files []plan.Inline, f plan.Inline) []plan.Inline {
	for i := range files {
		if files[i].Name == f.Name {
			files[i] = f
			return files
		}
	}
	return append(files, f)
}

var numericOwner = regexp.MustCompile(`^[0-9]+(:[0-9]+)?$`)

func checkOwner(owner string, link bool) error {
	if _, err := plan.ParseUser(owner); err != nil {
		return fmt.Errorf("--chown: %w", err)
	}
	if link && !numericOwner.MatchString(owner) {
		return fmt.Errorf("--chown=%s has a name, which --link can't look up: it takes numbers, UID:GID", owner)
	}
	return nil
}

func isURL(src string) bool {
	return (strings.HasPrefix(src, "http://") || strings.HasPrefix(src, "https://")) && !isGit(src)
}

// gitURL has what BuildKit takes for a repository: a scheme that only git has,
// or the name of a repository at an HTTP server or in the notation of scp.
var gitURL = regexp.MustCompile(`^(?:git://|ssh://|https?://[^#?]*\.git(?:[#?]|$)|[a-zA-Z0-9_-]+@[a-zA-Z0-9_.-]+:)`)

func isGit(src string) bool { return gitURL.MatchString(src) }

var (
	digestPattern = regexp.MustCompile(`^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$`)
	commitPattern = regexp.MustCompile(`^[0-9a-f]{7,64}$`)
)

func checkChecksum(in *instructions.AddCommand) error {
	if in.Checksum == "" {
		return nil
	}
	if len(in.SourcePaths) != 1 || len(in.SourceContents) > 0 {
		return errors.New("--checksum is of one source")
	}
	switch src := in.SourcePaths[0]; {
	case isGit(src):
		if !commitPattern.MatchString(in.Checksum) {
			return fmt.Errorf("--checksum %q is not a commit of a repository", in.Checksum)
		}
	case isURL(src):
		if !digestPattern.MatchString(in.Checksum) {
			return fmt.Errorf("--checksum %q is not a digest, as sha256: and 64 hexadecimal digits", in.Checksum)
		}
	default:
		return fmt.Errorf("--checksum is of what is downloaded, and %s is in the build context", src)
	}
	return nil
}
