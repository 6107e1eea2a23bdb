package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/registry/faulty"
)

const (
	plantedPassword = "pl4nted-password"
	// plantedURL is in what a registry sends its clients to.
	plantedURL = "pl4nted-in-a-url"
)

// secretsCase is a machine with credentials, and a registry that wants them.
type secretsCase struct {
	dir string
	reg *faulty.Registry
	out strings.Builder
}

func newSecretsCase(t *testing.T) *secretsCase {
	t.Helper()
	c := &secretsCase{dir: t.TempDir(), reg: faulty.NewWithTokens(t, "user", plantedPassword)}
	config, err := json.Marshal(map[string]any{"auths": map[string]any{c.reg.Host: map[string]string{
		"auth": base64.StdEncoding.EncodeToString([]byte("user:" + plantedPassword)),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	// Outside of what is searched and of what is built.
	docker := t.TempDir()
	writeFiles(t, docker, map[string]string{"config.json": string(config)})
	for _, kv := range hostGoEnv(t) {
		key, value, _ := strings.Cut(kv, "=")
		t.Setenv(key, value)
	}
	t.Setenv("DOCKER_CONFIG", docker)
	t.Setenv("GOPROXY", "https://user:"+plantedPassword+"@proxy.invalid")
	t.Setenv("HTTPS_PROXY", "http://user:"+plantedPassword+"@127.0.0.1:1")
	if err := os.MkdirAll(filepath.Join(c.dir, "server"), 0o750); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, c.dir, map[string]string{
		"go.mod":         "module example.com/m\n\ngo 1.21\n",
		"server/main.go": "package main\n\nfunc main() {}\n",
	})
	base, err := alpine(v1.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(c.reg.Host + "/base:v1")
	if err != nil {
		t.Fatal(err)
	}
	auth := &authn.Basic{Username: "user", Password: plantedPassword}
	if err := remote.Write(ref, base, remote.WithAuth(auth)); err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs the program, and keeps all that it says.
func (c *secretsCase) run(t *testing.T, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "stagectl", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(c.dir, ".cache"))
	out, err := cmd.CombinedOutput()
	fmt.Fprintf(&c.out, "$ stagectl %s\n%s", args[0], out)
	return err
}

// search looks for secrets in what was said, and in all files: as they are, and
// in the configs and layers of images.
func (c *secretsCase) search(t *testing.T) {
	t.Helper()
	search(t, "the output", c.out.String())
	err := filepath.WalkDir(c.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		search(t, path, string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"image.tar", "layout"} {
		c.searchImage(t, filepath.Join(c.dir, path))
	}
}

func (c *secretsCase) searchImage(t *testing.T, path string) {
	t.Helper()
	f, err := image.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, o := range f.Images {
		for _, p := range o.Images {
			config, err := p.Image.RawConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			search(t, path+": config", string(config))
			layers, err := p.Image.Layers()
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range layers {
				rc, err := l.Uncompressed()
				if err != nil {
					t.Fatal(err)
				}
				content, err := io.ReadAll(rc)
				if err := errors.Join(err, rc.Close()); err != nil {
					t.Fatal(err)
				}
				search(t, fmt.Sprintf("%s: layer %d", path, i+1), string(content))
			}
		}
	}
}

func search(t *testing.T, where, content string) {
	t.Helper()
	for _, secret := range []string{
		plantedPassword, plantedURL, base64.StdEncoding.EncodeToString([]byte("user:" + plantedPassword)),
	} {
		if i := strings.Index(content, secret); i >= 0 {
			t.Errorf("%s has a secret in it:\n%s", where, content[max(0, i-200):min(len(content), i+100)])
		}
	}
}

// TestSecretsInWorkingOrder does everything that there is to do with credentials.
func TestSecretsInWorkingOrder(t *testing.T) {
	for _, progress := range []string{"json", "plain"} {
		t.Run(progress, func(t *testing.T) {
			c := newSecretsCase(t)
			r := c.reg.Host
			c.reg.Inject(faulty.UploadStart, 2, faulty.Status(429, "Retry-After", "0"))
			c.reg.Inject(faulty.UploadStart, faulty.Always, faulty.Location(func(s string) string {
				return "http://user:" + plantedURL + "@" + r + s + "?_state=" + plantedURL
			}))
			storage := httptest.NewServer(c.reg.Handler)
			defer storage.Close()
			c.reg.Inject(faulty.BlobGet, 1, func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
				to := strings.Replace(storage.URL, "http://127.0.0.1", "http://user:"+plantedURL+"@localhost", 1)
				http.Redirect(w, req, to+req.URL.Path+"?X-Amz-Signature="+plantedURL, http.StatusTemporaryRedirect)
			})
			flags := []string{"--progress", progress, "--base", r + "/base:v1", "-t", r + "/app:v1"}
			for _, args := range [][]string{
				append([]string{"plan"}, flags[2:]...),
				append([]string{"build", "--push", "--metadata-file", "metadata.json", "--iidfile", "iid",
					"-o", "image.tar", "-o", "type=oci,dest=layout,tar=false"}, flags...),
				{"push", "--progress", progress, "image.tar", r + "/app:v2"},
				{"push", "--progress", progress, "layout", r + "/again/app:v2"},
				{"inspect", "--json", r + "/app:v2"},
				{"inspect", "image.tar"},
			} {
				if args[0] == "plan" || args[0] == "build" {
					args = append(args, "./server")
				}
				if err := c.run(t, args...); err != nil {
					t.Fatalf("%v:\n%s", err, &c.out)
				}
			}
			if !strings.Contains(c.out.String(), ": 429 Too Many Requests, trying again in 0s") {
				t.Errorf("nothing is said of what was tried again:\n%s", &c.out)
			}
			c.search(t)
		})
	}
}

// TestSecretsInErrors has everything fail, and the user put secrets where they
// do not belong.
func TestSecretsInErrors(t *testing.T) {
	withSecret := func(s string) string { return "user:" + plantedPassword + "@" + s }
	tests := map[string]struct {
		prepare func(reg *faulty.Registry)
		args    func(r string) []string
		want    string
	}{
		"an upload, at its place": {
			func(reg *faulty.Registry) {
				reg.Inject(faulty.UploadStart, faulty.Always, faulty.Location(func(s string) string {
					return "http://user:" + plantedURL + "@" + reg.Host + s + "?_state=" + plantedURL
				}))
				reg.Inject(faulty.UploadData, faulty.Always, faulty.Status(403))
			}, push, "hint: the credentials for 127.0.0.1",
		},
		"an upload, somewhere else": {
			func(reg *faulty.Registry) {
				reg.Inject(faulty.UploadStart, faulty.Always, faulty.Location(func(string) string {
					return "http://user:" + plantedURL + "@localhost:1/x?sig=" + plantedURL
				}))
			}, push, "connection refused",
		},
		"an upload, over plain HTTP": {
			func(reg *faulty.Registry) {
				reg.Inject(faulty.UploadStart, faulty.Always, faulty.Location(func(string) string {
					return "http://user:" + plantedURL + "@storage.invalid/x?sig=" + plantedURL
				}))
			}, push, "hint: pass --insecure-registry HOST",
		},
		"a redirected manifest": {
			func(reg *faulty.Registry) {
				reg.Inject(faulty.ManifestGet, faulty.Always, faulty.Redirect(307, "http://user:"+plantedURL+"@localhost:1/"+"?sig="+plantedURL))
			}, pull, "connection refused",
		},
		"a redirected layer": {
			func(reg *faulty.Registry) {
				reg.Inject(faulty.BlobGet, faulty.Always, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
					http.Redirect(w, r, "http://user:"+plantedURL+"@localhost:1/x?X-Amz-Signature="+plantedURL, http.StatusFound)
				})
			}, pull, "connection refused",
		},
		"a wrong password": {
			func(reg *faulty.Registry) {
				reg.Tokens.Change(func(t *faulty.Tokens) { t.Password = "another" })
			}, pull, "hint: log in with `docker login`",
		},
		"a token that is none": {
			func(reg *faulty.Registry) {
				reg.Inject(faulty.Token, faulty.Always, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
					_, _ = fmt.Fprintf(w, `{"refresh_token":%q}`, plantedPassword)
				})
			}, pull, "no token in bearer response",
		},
		"a token server that is down": {
			func(reg *faulty.Registry) {
				reg.Tokens.Change(func(t *faulty.Tokens) { t.Realm = "http://user:" + plantedURL + "@localhost:1/token?k=" + plantedURL })
			},
			pull, "connection refused",
		},
		"a token server that is none": {
			func(reg *faulty.Registry) {
				reg.Tokens.Change(func(t *faulty.Tokens) { t.Realm = "ftp://user:" + plantedURL + "@localhost/token?k=" + plantedURL })
			},
			pull, "invalid realm",
		},
		"a bad request":        {inject(faulty.ManifestGet, 400), pull, "hint: the registry does not take this"},
		"out of order":         {inject(faulty.ManifestHead, 429), pull, "429"},
		"a proxy that is down": {nil, func(string) []string { return []string{"build", "--base", "registry.invalid/x", "./server"} }, "proxyconnect"},
		"a base":               {nil, func(r string) []string { return []string{"build", "--base", withSecret(r + "/base"), "./server"} }, "credentials are not part of a name"},
		"a base, planned":      {nil, func(r string) []string { return []string{"plan", "--base", withSecret(r + "/base"), "./server"} }, "credentials are not part of a name"},
		"a tag":                {nil, func(r string) []string { return []string{"build", "-t", withSecret(r + "/x:v1"), "./server"} }, "credentials are not part of a name"},
		"a tag to push to":     {nil, func(r string) []string { return []string{"push", "image.tar", withSecret(r + "/x:v1")} }, "image.tar"},
		"an image to inspect":  {nil, func(r string) []string { return []string{"inspect", "--progress", "json", withSecret(r + "/base:v1")} }, "credentials are not part of a name"},
		"a mirror": {nil, func(r string) []string {
			return []string{"build", "--registry-mirror", "docker.io=" + withSecret(r), "./server"}
		}, "credentials are not part of a name"},
		"a mirror, as a URL": {nil, func(r string) []string {
			return []string{"build", "--registry-mirror", "docker.io=https://" + withSecret(r), "./server"}
		}, "credentials are not part of a name"},
		"an insecure registry":    {nil, func(r string) []string { return []string{"build", "--insecure-registry", withSecret(r), "./server"} }, "credentials are not part of a name"},
		"a registry that is told": {inject(faulty.BlobGet, 403), pull, "this is fault 403"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newSecretsCase(t)
			if tt.prepare != nil {
				tt.prepare(c.reg)
			}
			args := tt.args(c.reg.Host)
			if err := c.run(t, args...); err == nil {
				t.Error("no error")
			}
			if args[0] == "build" {
				args = append([]string{"build", "--progress", "json"}, args[1:]...)
				_ = c.run(t, args...)
			}
			if !strings.Contains(c.out.String(), tt.want) {
				t.Errorf("the output has no %q:\n%s", tt.want, &c.out)
			}
			c.search(t)
		})
	}
}

func inject(e faulty.Endpoint, code int) func(*faulty.Registry) {
	return func(reg *faulty.Registry) {
		reg.Inject(e, faulty.Always, faulty.Status(code, "Retry-After", "0"))
	}
}

func pull(r string) []string {
	return []string{"build", "--base", r + "/base:v1", "-t", "x:v1", "-o", "image.tar", "./server"}
}

func push(r string) []string { return []string{"build", "-t", r + "/app:v1", "--push", "./server"} }

// TestSecretsOfRuns gives RUNs secrets that they print, fail with and copy from,
// and searches all that a build leaves.
func TestSecretsOfRuns(t *testing.T) {
	c := newSecretsCase(t)
	file := filepath.Join(t.TempDir(), "key") // outside of what is searched
	if err := os.WriteFile(file, []byte(plantedPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PLANTED", plantedURL)
	t.Setenv("TMPDIR", filepath.Join(c.dir, "tmp")) // where nothing may stay
	if err := os.Mkdir(filepath.Join(c.dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, c.dir, map[string]string{
		"Dockerfile": `FROM scratch AS build
RUN --mount=type=secret,id=key,required --mount=type=secret,id=url,env=URL \
    cat /run/secrets/key && echo "the url is $URL" >&2 && cat /run/secrets/key | wc -c > /size
FROM build
RUN --mount=type=secret,id=key,target=/size,mode=0444 grep -c pl4nted /size > /count
`,
		"Dockerfile.fails": `FROM scratch
RUN --mount=type=secret,id=key --mount=type=secret,id=url,env=URL cat /run/secrets/key && "$URL"
`,
		"Dockerfile.lost": "FROM scratch\nRUN --mount=type=secret,id=url,env=URL cat /$URL\n",
	})
	given := []string{"--secret", "id=key,src=" + file, "--secret", "id=url,env=PLANTED"}
	for _, args := range [][]string{
		{"build", "--progress", "json", "-o", "image.tar", "-o", "type=oci,dest=layout,tar=false", "--metadata-file", "metadata.json"},
		{"build", "--progress", "plain", "--no-cache"},
		{"plan", "-f", "Dockerfile"}, {"plan", "--json", "-f", "Dockerfile"},
	} {
		args = append(append(args, "-f", "Dockerfile"), append(given, ".")...)
		if err := c.run(t, args...); err != nil {
			t.Fatalf("%v:\n%s", err, &c.out)
		}
	}
	for _, name := range []string{"Dockerfile.fails", "Dockerfile.lost"} {
		for _, progress := range []string{"plain", "json"} {
			args := append([]string{"build", "--progress", progress, "-f", name, "-o", "no.tar"}, append(given, ".")...)
			if err := c.run(t, args...); err == nil {
				t.Errorf("%s is built", name)
			}
		}
	}
	if text := c.out.String(); !strings.Contains(text, "the url is ***") || !strings.Contains(text, "exit status") {
		t.Errorf("the RUNs did not print what they should:\n%s", text)
	}
	c.search(t)
}
