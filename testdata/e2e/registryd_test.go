//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// The two registries, by the names that the sandbox's /etc/hosts has.
const (
	mirrorName   = "mirror.e2e.test"
	mirrorAddr   = "127.0.0.1:5000"
	registryName = "registry.e2e.test"
	registryAddr = "127.0.0.1:443"

	user     = "ci"
	password = "correct horse"
)

// registry is a running docker-registry.
type registry struct {
	// Host is its name in references.
	Host string

	url    string
	log    string
	client *http.Client
	marks  int
}

// startRegistry starts a registry with more of its configuration in extra:
// TLS below http, then auth.
func (s *stack) startRegistry(dir, host, addr, extra string) (*registry, error) {
	config := fmt.Sprintf(`version: 0.1
log: {level: warn, accesslog: {disabled: false}}
storage: {filesystem: {rootdirectory: %q}}
http:
  addr: %s
  secret: e2e
%s`, filepath.Join(dir, host), addr, extra)
	file := filepath.Join(dir, host+".yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(s.CA); err != nil || !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading %s: %w", s.CA, err)
	}
	r := &registry{Host: host, url: "https://" + host, client: &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}}
	if addr == mirrorAddr {
		_, port, _ := strings.Cut(addr, ":")
		r.Host += ":" + port
		r.url = "http://" + r.Host
	}
	ready := func(ctx context.Context) error {
		_, err := r.get(ctx, "/v2/")
		return err
	}
	d, err := s.start(dir, host, ready, exec.Command("docker-registry", "serve", file))
	if err != nil {
		return nil, err
	}
	r.log = d.log
	return r, nil
}

// htpasswd makes the password file and returns the configuration that names it.
func htpasswd(dir string) (string, error) {
	cmd := exec.Command("htpasswd", "-inB", user)
	cmd.Stdin = strings.NewReader(password)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("htpasswd: %w", err)
	}
	file := filepath.Join(dir, "htpasswd")
	auth := fmt.Sprintf("auth: {htpasswd: {realm: e2e, path: %q}}\n", file)
	return auth, os.WriteFile(file, out, 0o600)
}

// dockerConfig makes a directory for DOCKER_CONFIG with the given password of
// the registry's user.
func dockerConfig(t testing.TB, password string) string {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	config := map[string]any{"auths": map[string]any{registryName: map[string]string{"auth": auth}}}
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// remote are the options with which ggcr reaches the registry.
func (r *registry) remote(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithTransport(r.client.Transport),
		remote.WithAuth(&authn.Basic{Username: user, Password: password}),
	}
}

// digest is the digest that the registry has for a reference, or "".
func (r *registry) digest(t testing.TB, ref string) string {
	t.Helper()
	var options []name.Option
	if strings.HasPrefix(r.url, "http:") {
		options = append(options, name.Insecure)
	}
	parsed, err := name.ParseReference(ref, options...)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := remote.Head(parsed, r.remote(t.Context())...)
	if err != nil {
		return ""
	}
	return desc.Digest.String()
}

// get asks for a path and returns the answer's status.
func (r *registry) get(ctx context.Context, path string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, nil)
	if err != nil {
		return 0, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// request is one line of a registry's access log.
type request struct {
	Method string
	Path   string
	Query  url.Values
	Status int
}

// requests is a part of an access log.
type requests []request

// during runs f and returns the requests that the registry had meanwhile.
func (r *registry) during(t testing.TB, f func()) requests {
	t.Helper()
	begin := r.mark(t)
	f()
	end := r.mark(t)
	data, err := os.ReadFile(r.log)
	if err != nil {
		t.Fatal(err)
	}
	return parseAccessLog(t, string(data[begin:end]))
}

// mark is the size of the log once all answered requests are in it: it sends
// one of its own and waits for its line.
func (r *registry) mark(t testing.TB) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r.marks++
	sentinel := fmt.Sprintf("/v2/?mark=%d ", r.marks)
	if _, err := r.get(ctx, strings.TrimSpace(sentinel)); err != nil {
		t.Fatal(err)
	}
	var size int
	err := poll(ctx, func() error {
		data, err := os.ReadFile(r.log)
		if err != nil {
			return err
		}
		_, rest, ok := strings.Cut(string(data), sentinel)
		if !ok || !strings.Contains(rest, "\n") {
			return errors.New("the registry's log does not have " + sentinel)
		}
		size = len(data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// accessLine matches `… "PUT /v2/… HTTP/1.1" 201 0 "" "agent"`.
var accessLine = regexp.MustCompile(`(?m)^\S+ - \S+ \[[^]]*\] "([A-Z]+) (\S+) HTTP/[0-9.]+" ([0-9]{3}) `)

// parseAccessLog returns the requests in a log, without the marks.
func parseAccessLog(t testing.TB, log string) requests {
	t.Helper()
	var all requests
	for _, m := range accessLine.FindAllStringSubmatch(log, -1) {
		u, err := url.ParseRequestURI(m[2])
		if err != nil {
			t.Fatal(err)
		}
		status, err := strconv.Atoi(m[3])
		if err != nil {
			t.Fatal(err)
		}
		if !u.Query().Has("mark") {
			all = append(all, request{Method: m[1], Path: u.Path, Query: u.Query(), Status: status})
		}
	}
	return all
}

// match returns the requests with one of the methods, "GET|HEAD", and a path
// that contains part.
func (rs requests) match(methods, part string) requests {
	var some requests
	for _, r := range rs {
		for method := range strings.SplitSeq(methods, "|") {
			if r.Method == method && strings.Contains(r.Path, part) {
				some = append(some, r)
			}
		}
	}
	return some
}
