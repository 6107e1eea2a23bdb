package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/transfer"
	"github.com/stagectl/stagectl/builder/script"
)

// repositoryURL has what BuildKit takes for a repository: a scheme that only git
// has, or the name of a repository at an HTTP server or in the notation of scp.
var repositoryURL = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:git://|ssh://|https?://[^#?]*\.git(?:[#?]|$)|[a-zA-Z0-9_-]+@[a-zA-Z0-9_.-]+:)`)
})

func isRepository(src string) bool { return repositoryURL().MatchString(src) }

// repository is the source of an ADD: URL[#REF[:DIR]].
type repository struct{ url, ref, dir string }

func parseRepository(src string) (repository, error) {
	var r repository
	var fragment string
	r.url, fragment, _ = strings.Cut(src, "#")
	r.ref, r.dir, _ = strings.Cut(fragment, ":")
	switch {
	case strings.Contains(r.url, "?"):
		return r, errors.New("a repository's URL has no query here: write #REF:DIRECTORY behind it")
	case strings.HasPrefix(r.ref, "-"), strings.ContainsAny(r.ref, " \t\n*?[^~\\"):
		return r, fmt.Errorf("malformed ref %q: it is a branch, a tag or a commit", r.ref)
	case r.dir != "" && !filepath.IsLocal(strings.TrimPrefix(r.dir, "/")):
		return r, fmt.Errorf("directory %q is outside the repository", r.dir)
	}
	if r.ref == "" {
		r.ref = "HEAD"
	}
	return r, nil
}

var wholeCommit = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`) })

// commitOf is the commit that an ADD of a repository has to be of, without asking
// anybody where it says that itself.
func (s *session) commitOf(ctx context.Context, src, checksum string) (string, error) {
	if wholeCommit().MatchString(checksum) {
		return checksum, nil
	}
	r, err := parseRepository(src)
	if err != nil {
		return "", err
	}
	commit, err := s.commit(ctx, r)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", registry.Redact(r.url), err)
	}
	return commit, nil
}

// commit is what the ref is at the moment. A build asks for it once.
func (s *session) commit(ctx context.Context, r repository) (string, error) {
	if wholeCommit().MatchString(r.ref) {
		return r.ref, nil
	}
	key := r.url + " " + r.ref
	s.mu.Lock()
	ask, ok := s.commits[key]
	if !ok {
		ask = sync.OnceValues(func() (string, error) { return s.askCommit(ctx, r) })
		s.commits[key] = ask
	}
	s.mu.Unlock()
	return ask()
}

func (s *session) askCommit(ctx context.Context, r repository) (string, error) {
	if s.Offline {
		return "", ErrOffline
	}
	out, err := s.git(ctx, os.TempDir(), "ls-remote", "--", r.url, r.ref, r.ref+"^{}")
	if err != nil {
		return "", err
	}
	found := map[string]string{}
	for line := range strings.Lines(out) {
		if commit, name, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			found[name] = commit
		}
	}
	// As git itself prefers them; of a tag it is what it is put on.
	for _, name := range []string{r.ref, "refs/tags/" + r.ref + "^{}", "refs/tags/" + r.ref, "refs/heads/" + r.ref} {
		if commit := found[name]; wholeCommit().MatchString(commit) {
			return commit, nil
		}
	}
	return "", fmt.Errorf("there is no branch, tag or commit %s", r.ref)
}

// git runs the host's git, with nothing of its user's configuration, and returns
// what it prints.
func (s *session) git(ctx context.Context, dir string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	env := []string{
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_SSH_COMMAND=ssh -o BatchMode=yes",
		// A repository, or one that it has others of, may name any directory and program.
		"GIT_ALLOW_PROTOCOL=https:http:ssh:git", "GIT_CEILING_DIRECTORIES=" + filepath.Dir(dir), "GIT_LFS_SKIP_SMUDGE=1", "LC_ALL=C",
	}
	if socket := s.SSH["default"]; socket != "" {
		env = append(env, "SSH_AUTH_SOCK="+socket)
	}
	all := append([]string{"-c", "core.hooksPath=" + os.DevNull, "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false", "-c", "advice.detachedHead=false"}, args...)
	err := s.golang.Run(ctx, golang.Stage{}, script.Call{Name: "git", Args: all, Dir: dir, Env: env, Stdout: &stdout, Stderr: &stderr})
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		text := strings.TrimSpace(stderr.String())
		if at := strings.LastIndex(text, "\n"); at >= 0 {
			text = text[at+1:]
		}
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, registry.Redact(text))
	}
	return stdout.String(), nil
}

// addRepository copies what a repository has.
func (w *worker) addRepository(ctx context.Context, f *plan.Files, src string, spec transfer.Spec) (err error) {
	r, err := parseRepository(src)
	if err != nil {
		return err
	}
	if w.Offline {
		return ErrOffline
	}
	task := w.Progress.Start(event.Pull, registry.Redact(src), 0)
	dir, err := w.clone(ctx, r, f)
	task.End(err, "")
	if err != nil {
		return fmt.Errorf("cloning %s: %w", registry.Redact(r.url), err)
	}
	tree, err := rootfs.NewHostTree(dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	spec.Sources, spec.Files, spec.Unpack = []string{"/" + strings.TrimPrefix(r.dir, "/")}, nil, false
	return transfer.Copy(ctx, w.fs, tree, spec)
}

// clone gets one commit, with its submodules, and returns where it is.
func (w *worker) clone(ctx context.Context, r repository, f *plan.Files) (string, error) {
	commit, err := w.commit(ctx, r)
	if err != nil {
		return "", err
	}
	if f.Checksum != "" && !strings.HasPrefix(commit, f.Checksum) {
		return "", &ChecksumError{Want: f.Checksum, Have: commit}
	}
	dir, err := os.MkdirTemp(w.temp, "repository-")
	if err != nil {
		return "", err
	}
	git := func(args ...string) {
		if err == nil {
			_, err = w.git(ctx, dir, args...)
		}
	}
	git("init", "-q")
	git("remote", "add", "origin", r.url)
	if err != nil {
		return "", err
	}
	if git("fetch", "-q", "--depth", "1", "--no-tags", "origin", commit); err != nil && ctx.Err() == nil {
		// Not every server gives a commit by its name.
		err = nil
		git("fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
	}
	git("checkout", "-q", "--detach", commit)
	if _, missing := os.Lstat(filepath.Join(dir, ".gitmodules")); missing == nil {
		git("submodule", "-q", "update", "--init", "--recursive", "--depth", "1")
	}
	if err == nil && f.KeepGitDir {
		git("remote", "set-url", "origin", withoutPassword(r.url))
		err = errors.Join(err, settleGitDir(filepath.Join(dir, ".git")))
		git("read-tree", "HEAD")
	}
	if err != nil {
		return "", err
	}
	return dir, settleClone(dir, f.KeepGitDir)
}

// withoutPassword is a URL that an image may have.
func withoutPassword(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	if _, has := u.User.Password(); has {
		u.User = nil
	}
	return u.String()
}

// settleGitDir takes out what depends on the machine and the time.
func settleGitDir(dir string) error {
	var errs []error
	for _, name := range []string{"index", "logs", "hooks", "FETCH_HEAD", "ORIG_HEAD", "branches", "description"} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// settleClone gives all files the modes that git has for them, whatever the
// umask, and takes out what git keeps for itself.
func settleClone(dir string, keep bool) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == ".git" && !keep {
			if err := removeAll(name); err != nil || !d.IsDir() {
				return err
			}
			return fs.SkipDir
		}
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(name, 0o755)
		case !d.Type().IsRegular():
			return nil
		case info.Mode()&0o100 != 0:
			return os.Chmod(name, 0o755)
		}
		return os.Chmod(name, 0o644)
	})
}
