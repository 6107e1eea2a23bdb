package registry_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagectl/stagectl/builder/registry"
)

// noKeychain keeps the credentials of whoever runs the tests out of them.
var noKeychain = authn.NewMultiKeychain()

// requests counts what a server is asked, by the host that was meant.
type requests struct {
	mu     sync.Mutex
	byHost map[string]int
	last   *http.Request
}

func (rs *requests) of(host string) int {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.byHost[host]
}

// serve starts a registry that answers for every host there is, and returns
// what it is asked. The connections of all clients go there, whatever name
// they have for it: so no name is one that is trusted because it is local.
func serve(t *testing.T, start func(http.Handler) *httptest.Server) *requests {
	t.Helper()
	rs := &requests{byHost: map[string]int{}}
	handler := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rs.mu.Lock()
		rs.byHost[r.Host]++
		rs.last = r.Clone(context.Background())
		rs.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	restore := remote.DefaultTransport
	t.Cleanup(func() { remote.DefaultTransport = restore })
	remote.DefaultTransport = &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}
	return rs
}

// exchange pushes an image to a reference and asks for it.
func exchange(t *testing.T, c *registry.Client, s string) error {
	t.Helper()
	ref := parse(t, c, s)
	pusher, err := c.Pusher(ref.Context().Registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := pusher.Push(t.Context(), ref, empty.Image); err != nil {
		return err
	}
	puller, err := c.Puller(ref.Context().Registry)
	if err != nil {
		t.Fatal(err)
	}
	_, err = puller.Head(t.Context(), ref)
	return err
}

func TestInsecure(t *testing.T) {
	const untrusted, plain = "x509: certificate", "server gave HTTP response to HTTPS client"
	tests := []struct {
		name     string
		start    func(http.Handler) *httptest.Server
		insecure []string
		ref      string
		wantErr  string
	}{
		{"own certificate", httptest.NewTLSServer, nil, "registry.test/app", untrusted},
		{"own certificate, host named", httptest.NewTLSServer, []string{"registry.test"}, "registry.test/app", ""},
		{"own certificate, another host named", httptest.NewTLSServer, []string{"other.test"}, "registry.test/app", untrusted},
		{"own certificate, host with port", httptest.NewTLSServer, []string{"a.test", "registry.test:5000"}, "registry.test:5000/app", ""},
		{"own certificate, another port", httptest.NewTLSServer, []string{"registry.test:5000"}, "registry.test:5001/app", untrusted},
		{"own certificate, Docker Hub named", httptest.NewTLSServer, []string{"docker.io"}, "alpine", ""},
		{"own certificate, Docker Hub by its host", httptest.NewTLSServer, []string{"registry-1.docker.io"}, "alpine", ""},
		{"plain HTTP", httptest.NewServer, nil, "registry.test/app", plain},
		{"plain HTTP, host named", httptest.NewServer, []string{"registry.test"}, "registry.test/app", ""},
		{"plain HTTP, another host named", httptest.NewServer, []string{"other.test"}, "registry.test/app", plain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rs := serve(t, tt.start)
			c := &registry.Client{Keychain: noKeychain, Insecure: tt.insecure}
			err := exchange(t, c, tt.ref)
			host := parse(t, c, tt.ref).Context().RegistryStr()
			if tt.wantErr != "" {
				wantError(t, err, tt.wantErr)
				if n := rs.of(host); n > 0 {
					t.Errorf("%d requests were made to a server that is not trusted", n)
				}
				return
			}
			if err != nil || rs.of(host) == 0 {
				t.Errorf("got error %v after %d requests, want some and none", err, rs.of(host))
			}
		})
	}
}

// The settings of the process's transport stay with an insecure host, and what
// is done for that does not change those of other clients.
func TestInsecureKeepsTransport(t *testing.T) {
	serve(t, httptest.NewTLSServer)
	if err := exchange(t, &registry.Client{Keychain: noKeychain, Insecure: []string{"registry.test"}}, "registry.test/app"); err != nil {
		t.Fatal(err)
	}
	wantError(t, exchange(t, &registry.Client{Keychain: noKeychain}, "registry.test/app"), "x509: certificate")
}

// A transport that is not the standard library's is used as it is.
func TestOtherTransport(t *testing.T) {
	restore := remote.DefaultTransport
	t.Cleanup(func() { remote.DefaultTransport = restore })
	broken := errors.New("broken")
	remote.DefaultTransport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, broken })
	err := exchange(t, &registry.Client{Keychain: noKeychain, Insecure: []string{"registry.test"}}, "registry.test/app")
	wantError(t, err, "broken")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestUserAgent(t *testing.T) {
	rs := serve(t, httptest.NewServer)
	c := &registry.Client{Keychain: noKeychain, Insecure: []string{"registry.test"}, UserAgent: "stagectl/test"}
	if err := exchange(t, c, "registry.test/app"); err != nil {
		t.Fatal(err)
	}
	if got := rs.last.UserAgent(); !strings.HasPrefix(got, "stagectl/test ") {
		t.Errorf("the user agent is %q, want stagectl/test first", got)
	}
}

// All of a process has one puller and one pusher for a registry.
func TestShared(t *testing.T) {
	c := &registry.Client{Keychain: noKeychain}
	a, b := parse(t, c, "a.test/app").Context().Registry, parse(t, c, "b.test/app").Context().Registry
	pullers, pushers := make([]*remote.Puller, 8), make([]*remote.Pusher, 8)
	var wg sync.WaitGroup
	for i := range pullers {
		wg.Go(func() {
			var err1, err2 error
			pullers[i], err1 = c.Puller(a)
			pushers[i], err2 = c.Pusher(a)
			if err := errors.Join(err1, err2); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range pullers {
		if pullers[i] == nil || pullers[i] != pullers[0] || pushers[i] == nil || pushers[i] != pushers[0] {
			t.Errorf("call %d got a puller or pusher of its own", i)
		}
	}
	if other, err := c.Puller(b); err != nil || other == pullers[0] {
		t.Errorf("two registries have the same puller, %v", err)
	}
}

func TestJobs(t *testing.T) {
	for _, jobs := range []int{0, 1, 100} {
		if _, err := (&registry.Client{Keychain: noKeychain, Jobs: jobs}).Puller(name.Registry{}); err != nil {
			t.Errorf("%d jobs: %v", jobs, err)
		}
	}
	if _, err := (&registry.Client{Keychain: noKeychain, Jobs: -1}).Puller(name.Registry{}); err == nil {
		t.Error("less than no jobs are taken")
	}
}

func TestOffline(t *testing.T) {
	c := &registry.Client{Offline: true}
	if _, err := c.Puller(name.Registry{}); !errors.Is(err, registry.ErrOffline) {
		t.Errorf("puller: got error %v, want ErrOffline", err)
	}
	if _, err := c.Pusher(name.Registry{}); !errors.Is(err, registry.ErrOffline) {
		t.Errorf("pusher: got error %v, want ErrOffline", err)
	}
	if got := registry.Name(parse(t, c, "alpine")); got != "docker.io/library/alpine:latest" {
		t.Errorf("a reference cannot be read offline: %s", got)
	}
}

// dockerConfig makes a docker config of its own the only one there is.
func dockerConfig(t *testing.T, content string) (name string) {
	t.Helper()
	dir := t.TempDir()
	for _, key := range []string{"HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"} {
		t.Setenv(key, t.TempDir())
	}
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("DOCKER_CONFIG", dir)
	name = filepath.Join(dir, "config.json")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDockerConfig(t *testing.T) {
	rs := serve(t, func(h http.Handler) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, _, ok := r.BasicAuth(); !ok {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		}))
	})
	dockerConfig(t, `{"auths":{"registry.test":{"auth":"dXNlcjpzZWNyZXQ="}}}`)
	if err := exchange(t, &registry.Client{Insecure: []string{"registry.test"}}, "registry.test/app"); err != nil {
		t.Fatal(err)
	}
	if user, password, _ := rs.last.BasicAuth(); user != "user" || password != "secret" {
		t.Errorf("the registry was told %q and %q, want the credentials of the config", user, password)
	}
}

func TestDockerConfigErrors(t *testing.T) {
	tests := []struct{ name, content, ref, want string }{
		{"not JSON", `{"auths":`, "registry.test/app", "finding credentials for registry.test: parsing config file ("},
		{"not an object", `[]`, "alpine", "finding credentials for docker.io: parsing config file ("},
		{"not base64", `{"auths":{"registry.test":{"auth":"!"}}}`, "registry.test/app", "finding credentials for registry.test: parsing config file ("},
		{"no such helper", `{"credsStore":"stagectl-test-none"}`, "registry.test/app", "docker-credential-stagectl-test-none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rs := serve(t, httptest.NewServer)
			file := dockerConfig(t, tt.content)
			c := &registry.Client{Insecure: []string{"registry.test"}}
			err := exchange(t, c, tt.ref)
			wantError(t, err, tt.want)
			wantError(t, err, "finding credentials for ")
			if tt.name != "no such helper" {
				wantError(t, err, file)
			}
			if n := rs.of(name.DefaultRegistry) + rs.of("registry.test"); n > 1 {
				t.Errorf("%d requests were made without credentials, want one to ask what is needed at most", n)
			}
		})
	}
}
