package builder_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagectl/stagectl/builder"
)

// gitServer has repositories that are made of commands.
type gitServer struct {
	*adding
	dir string
}

func newGitServer(t *testing.T) *gitServer {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, statErr := os.Stat(backend); err != nil || statErr != nil {
		t.Skip("there is no git that serves repositories")
	}
	s := &gitServer{dir: t.TempDir(), adding: &adding{dir: t.TempDir()}}
	handler := &cgi.Handler{Path: backend, Stderr: io.Discard, Env: []string{"GIT_PROJECT_ROOT=" + s.dir, "GIT_HTTP_EXPORT_ALL=1"}}
	s.Server = httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// git runs commands in a directory, and returns what the last one prints.
func (s *gitServer) git(t *testing.T, in string, commands ...string) string {
	t.Helper()
	var out []byte
	for _, command := range commands {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Dir = filepath.Join(s.dir, in)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_AUTHOR_DATE=1700000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0000")
		var err error
		if out, err = cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	return strings.TrimSpace(string(out))
}

// TestAddRepository adds a repository by branch, tag and commit, and parts of it.
func TestAddRepository(t *testing.T) {
	s := newGitServer(t)
	s.git(t, "", "git init -q -b main other.git", "git init -q -b main r.git")
	s.git(t, "other.git", "echo sub > s && git add . && git commit -qm one")
	first := s.git(t, "r.git", "mkdir -p d/e && echo one > f && echo x > d/e/x && echo '#!/bin/sh' > run && chmod 755 run && ln -s f link",
		"git add . && git commit -qm one && git tag -a -m t v1 && git rev-parse HEAD")
	second := s.git(t, "r.git", "echo two > f && git commit -qam two && git rev-parse HEAD")
	s.git(t, "r.git", "git checkout -q -b with && git -c protocol.file.allow=always submodule -q add ../other.git sub", "git commit -qam sub", "git checkout -q main")

	all := "drwxr-xr-x 0:0 /r\ndrwxr-xr-x 0:0 /r/d\ndrwxr-xr-x 0:0 /r/d/e\n-rw-r--r-- 0:0 2 /r/d/e/x\n-rw-r--r-- 0:0 4 /r/f\nlrwxrwxrwx 0:0 /r/link -> f\n-rwxr-xr-x 0:0 10 /r/run"
	for add, want := range map[string]struct{ files, f string }{
		"ADD $URL/r.git /r/":                                              {all, "two\n"},
		"ADD $URL/r.git#main /r":                                          {all, "two\n"},
		"ADD $URL/r.git#v1 /r/":                                           {all, "one\n"},
		"ADD $URL/r.git#" + first + " /r/":                                {all, "one\n"},
		"ADD --checksum=" + second + " $URL/r.git#main /r/":               {all, "two\n"},
		"ADD --checksum=" + second[:9] + " $URL/r.git /r/":                {all, "two\n"},
		"ADD $URL/r.git#v1:d/e /r/":                                       {"drwxr-xr-x 0:0 /r\n-rw-r--r-- 0:0 2 /r/x", ""},
		"ADD --chown=5:6 --chmod=0600 --exclude=[dlr]* $URL/r.git#v1 /r/": {"drw------- 5:6 /r\n-rw------- 5:6 4 /r/f", "one\n"},
		"ADD $URL/r.git#with:sub /r/":                                     {"drwxr-xr-x 0:0 /r\n-rw-r--r-- 0:0 4 /r/s", ""},
	} {
		t.Run(add, func(t *testing.T) {
			files, err := s.build(t, builder.Builder{}, add+"\n")
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(files.List(), "\n"); got != want.files {
				t.Errorf("files:\n%s\nwant:\n%s", got, want.files)
			}
			if want.f != "" {
				wantFile(t, files, "r/f", want.f)
			}
		})
	}

	t.Run("kept", func(t *testing.T) {
		add := "ADD --keep-git-dir=true " + strings.Replace(s.URL, "://", "://user:pl4nted@", 1) + "/r.git /r/\n"
		var digests []string
		for range 2 {
			files, err := s.build(t, builder.Builder{NoCache: true}, add)
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, files, "r/.git/HEAD", second+"\n")
			for _, name := range files.List() {
				_, name, _ = strings.Cut(name, " /")
				if content, err := fs.ReadFile(files, name); err == nil && strings.Contains(string(content), "pl4nted") {
					t.Errorf("%s has a secret:\n%s", name, content)
				}
			}
			index, err := fs.ReadFile(files, "r/.git/index")
			digests = append(digests, fmt.Sprintf("%v\n%q %v", files.List(), index, err))
		}
		if digests[0] != digests[1] {
			t.Errorf("each time something else is kept:\n%s\n%s", digests[0], digests[1])
		}
	})

	// A branch that has moved is noticed; a commit asks nobody.
	third := s.git(t, "r.git", "echo three > f && git commit -qam three && git rev-parse HEAD")
	files, err := s.build(t, builder.Builder{}, "ADD $URL/r.git#main /r\n")
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, files, "r/f", "three\n")
	ce := (*builder.ChecksumError)(nil)
	if _, err := s.build(t, builder.Builder{NoCache: true}, "ADD --checksum="+second+" $URL/r.git#main /r/\n"); !errors.As(err, &ce) || ce.Have != third {
		t.Errorf("got %v", err)
	}
	known := "ADD --checksum=" + second + " $URL/r.git#main /r/\n"
	s.Close()
	if files, err = s.build(t, builder.Builder{Offline: true}, known); err != nil {
		t.Errorf("what is known: %v", err)
	} else {
		wantFile(t, files, "r/f", "two\n")
	}
}

// Errors name file, line and cause, and no secret; nothing of the host is read.
func TestAddRepositoryErrors(t *testing.T) {
	s := newGitServer(t)
	s.git(t, "", "git init -q -b main r.git", "git init -q -b main evil.git")
	s.git(t, "r.git", "echo x > f && git add . && git commit -qm one")
	s.git(t, "evil.git", "git -c protocol.file.allow=always submodule -q add "+s.dir+"/r.git sub && git commit -qm one")
	secret := strings.Replace(s.URL, "http://", "http://user:pl4nted@", 1)
	for add, want := range map[string]string{
		"ADD $URL/r.git#nope /r":                            "Dockerfile:2: ADD " + s.URL + "/r.git#",
		"ADD $URL/r.git?branch=x /r":                        "a repository's URL has no query here: write #REF:DIRECTORY behind it",
		"ADD $URL/r.git#-x /r":                              `malformed ref "-x": it is a branch, a tag or a commit`,
		"ADD $URL/r.git#main:../x /r":                       `directory "../x" is outside the repository`,
		"ADD $URL/r.git#main:nope /r":                       "nope",
		"ADD $URL/none.git /r":                              "git ls-remote: exit status 128: ",
		"ADD " + secret + "/none.git /r":                    "REDACTED",
		"ADD $URL/evil.git /r":                              "git submodule: exit status ",
		"ADD $URL/r.git#" + strings.Repeat("0", 40) + " /r": "git ",
	} {
		t.Run(add, func(t *testing.T) {
			_, err := s.build(t, builder.Builder{}, add+"\n")
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pl4nted") || !strings.HasPrefix(err.Error(), "Dockerfile:2: ADD ") {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := s.build(t, builder.Builder{Offline: true}, "ADD $URL/r.git /r\n"); !errors.Is(err, builder.ErrOffline) {
		t.Errorf("offline: %v", err)
	}
}
