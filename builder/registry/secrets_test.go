package registry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/registry/faulty"
)

// listener is a host that keeps all it is told.
type listener struct {
	host string

	mu   sync.Mutex
	told []string
	// handler answers, unless it is nil.
	handler http.Handler
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	dump, err := httputil.DumpRequest(r, true)
	l.mu.Lock()
	l.told = append(l.told, string(dump))
	l.mu.Unlock()
	switch {
	case err != nil:
		w.WriteHeader(http.StatusInternalServerError)
	case l.handler != nil:
		l.handler.ServeHTTP(w, r)
	case r.Method == http.MethodPatch:
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPut:
		w.WriteHeader(http.StatusCreated)
	}
}

func (l *listener) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.told, "\n")
}

// listen starts a listener, which has the name localhost, and not the address
// that registries have as their name.
func listen(t *testing.T, start func(http.Handler) *httptest.Server) *listener {
	t.Helper()
	l := &listener{}
	server := start(l)
	t.Cleanup(server.Close)
	l.host = strings.Replace(server.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	return l
}

// identity has a keychain that knows a refresh token.
type identity string

func (i identity) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig{IdentityToken: string(i)}), nil
}

// detours send the client of a registry to another host in every way there is.
func detours(to string) map[string]func(reg *faulty.Registry) {
	other := "http://" + to
	inject := func(e faulty.Endpoint, f faulty.Fault) func(*faulty.Registry) {
		return func(reg *faulty.Registry) { reg.Inject(e, faulty.Always, f) }
	}
	return map[string]func(reg *faulty.Registry){
		"a ping":                 inject(faulty.Ping, faulty.Redirect(307, other)),
		"a manifest":             inject(faulty.ManifestGet, faulty.Redirect(302, other)),
		"a manifest's head":      inject(faulty.ManifestHead, faulty.Redirect(301, other)),
		"a manifest to put":      inject(faulty.ManifestPut, faulty.Redirect(307, other)),
		"a blob":                 inject(faulty.BlobGet, faulty.Redirect(307, other)),
		"a blob's head":          inject(faulty.BlobHead, faulty.Redirect(308, other)),
		"the start of an upload": inject(faulty.UploadStart, faulty.Redirect(307, other)),
		"where to upload":        inject(faulty.UploadStart, location(other)),
		"where to commit":        inject(faulty.UploadData, location(other)),
		"upload data":            inject(faulty.UploadData, faulty.Redirect(307, other)),
		"a commit":               inject(faulty.UploadCommit, faulty.Redirect(308, other)),
		"a token":                inject(faulty.Token, faulty.Redirect(307, other)),
		"a token, by GET":        inject(faulty.Token, faulty.Redirect(302, other)),
	}
}

// TestSecretsStay sends the client elsewhere, and looks there for the
// credentials. The realm of a token server is not among it: it gets the
// password by design.
func TestSecretsStay(t *testing.T) {
	const secret = "pl4nted"
	keychains := map[string]authn.Keychain{"password": password{"user", secret}, "refresh token": identity(secret)}
	answers := map[string]http.Handler{
		"in good order": nil,
		"asking who it is": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "realm") {
				_, _ = io.WriteString(w, `{"token":"one for here"}`)
				return
			}
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/realm",service="x"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
		}),
		"asking for a password": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}),
	}
	for what := range detours("") {
		for kind, keys := range keychains {
			for how, handler := range answers {
				t.Run(what+", "+kind+", "+how, func(t *testing.T) {
					t.Parallel()
					elsewhere := listen(t, httptest.NewServer)
					elsewhere.handler = handler
					reg := faulty.NewWithTokens(t, "user", secret)
					reg.Tokens.Refresh = secret
					detours(elsewhere.host)[what](reg)
					c, _ := impatient()
					c.Keychain = keys
					_, err := pushAndPull(t, c, reg.Host)
					told := elsewhere.all()
					if strings.Contains(told, secret) || strings.Contains(told, "dXNlcjpwbDRudGVk") { // user:pl4nted
						t.Errorf("the other host was told:\n%s", told)
					}
					if strings.Contains(told, "Referer") {
						t.Errorf("the other host was told where the client came from:\n%s", told)
					}
					if told == "" && (kind != "refresh token" || what != "a token") {
						t.Error("the other host was told nothing at all")
					}
					if err != nil && strings.Contains(err.Error(), secret) {
						t.Errorf("the error has the secret: %v", err)
					}
				})
			}
		}
	}
}

// TestFormStays has a token server that redirects the form with a refresh
// token in it.
func TestFormStays(t *testing.T) {
	elsewhere := listen(t, httptest.NewServer)
	reg := faulty.NewWithTokens(t, "user", "secret")
	reg.Inject(faulty.Token, faulty.Always, faulty.Redirect(307, "http://"+elsewhere.host))
	c, w := impatient()
	c.Keychain = identity("refresh")
	_, err := pushAndPull(t, c, reg.Host)
	wantError(t, err, reg.Host+" redirects a request for a token to "+elsewhere.host)
	if told := elsewhere.all(); told != "" || len(w.all) > 0 {
		t.Errorf("waits %v, told:\n%s", w.all, told)
	}
}

// plainAndTLS has every name lead to one server with TLS on port 443 and one
// without it on all others, whose registries' certificate is trusted.
func plainAndTLS(t *testing.T) (secure, plain *listener) {
	t.Helper()
	plain = listen(t, httptest.NewServer)
	secure = &listener{}
	server := httptest.NewTLSServer(secure) // whose certificate is for example.com and what is below it
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	restore := remote.DefaultTransport
	t.Cleanup(func() { remote.DefaultTransport = restore })
	remote.DefaultTransport = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			to := plain.host
			if strings.HasSuffix(addr, ":443") {
				to = server.Listener.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		},
	}
	return secure, plain
}

// TestPlain has registries that have TLS and send their clients to plain HTTP,
// and ones that have not even that.
func TestPlain(t *testing.T) {
	redirect := func(path, to string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, path) {
				http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
				return
			}
			if r.URL.Path == "/v2/" {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Header().Set("Location", to+r.URL.Path+"x")
			w.WriteHeader(map[string]int{http.MethodHead: 404, http.MethodPost: 202, http.MethodPatch: 202, http.MethodPut: 201}[r.Method])
		})
	}
	tests := map[string]struct {
		host     string
		insecure []string
		handler  http.Handler
		refused  bool
	}{
		"a ping":                  {"registry.example.com", nil, redirect("/v2/", "http://registry.example.com"), true},
		"a ping, with a port":     {"registry.example.com", nil, redirect("/v2/", "http://registry.example.com:80"), true},
		"a manifest":              {"registry.example.com", nil, redirect("/manifests/", "http://registry.example.com:80"), true},
		"a manifest elsewhere":    {"registry.example.com", nil, redirect("/manifests/", "http://cdn.example.com"), true},
		"a location":              {"registry.example.com", nil, redirect("nothing", "http://registry.example.com:80"), true},
		"a location elsewhere":    {"registry.example.com", nil, redirect("nothing", "http://cdn.example.com"), true},
		"a realm":                 {"registry.example.com", nil, bearer("http://token.example.com/token"), true},
		"another host, declared":  {"registry.example.com", []string{"registry.example.com:80"}, redirect("/v2/", "http://registry.example.com"), true},
		"declared":                {"registry.example.com:80", []string{"registry.example.com:80"}, nil, false},
		"not declared":            {"registry.example.com:80", nil, nil, true},
		"a private address":       {"10.1.2.3:5000", nil, nil, true},
		"another private address": {"192.168.1.2", nil, nil, true},
		"a declared address":      {"10.1.2.3:5000", []string{"10.1.2.3:5000"}, nil, false},
		"localhost":               {"localhost:5000", nil, nil, false},
		"below localhost":         {"registry.localhost:5000", nil, nil, false},
		"loopback":                {"127.0.0.1:5000", nil, nil, false},
		"loopback, IPv6":          {"[::1]:5000", nil, nil, false},
		"not quite localhost":     {"localhost.example.com:80", nil, nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			secure, plain := plainAndTLS(t)
			secure.handler = tt.handler
			c, w := impatient()
			c.Keychain, c.Insecure = password{"user", "pl4nted"}, tt.insecure
			ref := parse(t, c, tt.host+"/a:v1")
			err := upload(t, c, ref.Context(), static.NewLayer(content, types.OCILayer))
			if err == nil && tt.refused {
				_, err = pullManifest(t, c, tt.host+"/a:v1")
			}
			if told := plain.all(); tt.refused != (told == "") {
				t.Errorf("plain HTTP was told %q, error %v", told, err)
			}
			if tt.refused && err == nil {
				t.Error("no error")
			}
			if tt.refused && name != "a realm" && !errors.Is(err, registry.ErrPlain) && !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
				t.Errorf("got %v", err)
			}
			if len(w.all) > 0 {
				t.Errorf("waits %v", w.all)
			}
		})
	}
}

// TestPlainElsewhere has a registry that the user has declared insecure send its
// clients to hosts that nobody has.
func TestPlainElsewhere(t *testing.T) {
	const host, other = "registry.example.com:80", "other.example.com"
	tests := map[string]struct {
		declared []string
		inject   func(reg *faulty.Registry)
		refused  bool
	}{
		"a token server":             {nil, func(reg *faulty.Registry) { reg.Tokens.Realm = "http://" + other + "/token" }, true},
		"a declared token server":    {[]string{other}, func(reg *faulty.Registry) { reg.Tokens.Realm = "http://" + other + "/token" }, false},
		"an upload":                  {nil, func(reg *faulty.Registry) { reg.Inject(faulty.UploadStart, faulty.Always, location("http://"+other)) }, true},
		"a declared upload":          {[]string{other}, func(reg *faulty.Registry) { reg.Inject(faulty.UploadStart, faulty.Always, location("http://"+other)) }, false},
		"a blob, which is no secret": {nil, func(reg *faulty.Registry) { reg.Inject(faulty.BlobGet, 1, faulty.Redirect(307, "http://"+other)) }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, plain := plainAndTLS(t)
			reg := faulty.NewWithTokens(t, "user", "pl4nted")
			plain.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Host == other && r.URL.Path != "/token" {
					reg.Handler.ServeHTTP(w, r) // it wants no token
					return
				}
				reg.ServeHTTP(w, r)
			})
			reg.Tokens.Realm = "http://" + host + "/token"
			tt.inject(reg)
			c, w := impatient()
			c.Keychain, c.Insecure = password{"user", "pl4nted"}, slices.Concat(tt.declared, []string{host})
			c.SetPrivate(func(netip.AddrPort) bool { return true }) // which has all names lead to the server
			_, err := pushAndPull(t, c, host)
			if tt.refused != errors.Is(err, registry.ErrPlain) || !tt.refused && err != nil {
				t.Errorf("got %v", err)
			}
			if told := plain.all(); tt.refused && strings.Contains(told, "Host: "+other) {
				t.Errorf("the other host was told:\n%s", told)
			}
			if len(w.all) > 0 {
				t.Errorf("waits %v", w.all)
			}
		})
	}
}

func location(to string) faulty.Fault {
	return faulty.Location(func(s string) string { return to + s })
}

func bearer(realm string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="x"`, realm))
		w.WriteHeader(http.StatusUnauthorized)
	})
}

func pullManifest(t *testing.T, c *registry.Client, s string) (*remote.Descriptor, error) {
	t.Helper()
	ref := parse(t, c, s)
	puller, err := c.Puller(ref.Context().Registry)
	if err != nil {
		t.Fatal(err)
	}
	return puller.Get(t.Context(), ref)
}

// TestPrivate has a registry at a public address send its clients to a private
// one, by a name and by the address.
func TestPrivate(t *testing.T) {
	for what := range detours("") {
		for _, literal := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, literal %t", what, literal), func(t *testing.T) {
				t.Parallel()
				internal := listen(t, httptest.NewServer)
				to := internal.host
				if literal {
					to = strings.Replace(to, "localhost", "127.0.0.1", 1)
				}
				reg := faulty.NewWithTokens(t, "user", "secret")
				detours(to)[what](reg)
				c, w := impatient()
				c.Keychain = password{"user", "secret"}
				c.SetPrivate(onlyPort(t, internal.host))
				_, err := pushAndPull(t, c, reg.Host)
				if told := internal.all(); told != "" {
					t.Errorf("the private host was told:\n%s", told)
				}
				if err == nil || len(w.all) > 0 {
					t.Errorf("got error %v, waits %v", err, w.all)
				}
				if pe := (*registry.PrivateError)(nil); !literal && (!errors.As(err, &pe) || pe.Registry != reg.Host || pe.Host != to) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// onlyPort has the one host be at a private address, and all others not.
func onlyPort(t *testing.T, host string) func(netip.AddrPort) bool {
	t.Helper()
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	return func(addr netip.AddrPort) bool { return fmt.Sprint(addr.Port()) == port }
}

// TestPrivateRealm is about token servers, and the ones that may be private.
func TestPrivateRealm(t *testing.T) {
	tests := map[string]struct {
		private func(t *testing.T, reg, token string) func(netip.AddrPort) bool
		refused bool
	}{
		"only the token server": {func(t *testing.T, _, token string) func(netip.AddrPort) bool { return onlyPort(t, token) }, true},
		"both": {func(*testing.T, string, string) func(netip.AddrPort) bool {
			return func(netip.AddrPort) bool { return true }
		}, false},
		"by the book":       {func(*testing.T, string, string) func(netip.AddrPort) bool { return nil }, false},
		"only the registry": {func(t *testing.T, reg, _ string) func(netip.AddrPort) bool { return onlyPort(t, reg) }, false},
		"neither": {func(*testing.T, string, string) func(netip.AddrPort) bool {
			return func(netip.AddrPort) bool { return false }
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token := listen(t, httptest.NewServer)
			reg := faulty.NewWithTokens(t, "user", "secret")
			token.handler = reg.Tokens
			reg.Tokens.Realm = "http://" + token.host + "/token"
			c, _ := impatient()
			c.Keychain = password{"user", "secret"}
			c.SetPrivate(tt.private(t, reg.Host, token.host))
			_, err := pushAndPull(t, c, reg.Host)
			if (err != nil) != tt.refused || (token.all() == "") != tt.refused {
				t.Errorf("got error %v; the token server was told:\n%s", err, token.all())
			}
			if tt.refused {
				wantError(t, err, reg.Host+" sends its clients to "+token.host+" at the private address ")
			}
		})
	}
}

// TestPrivateProxy has a proxy that the user has configured do what the client
// may not.
func TestPrivateProxy(t *testing.T) {
	reg := faulty.NewWithTokens(t, "user", "secret")
	reg.Tokens.Realm = "http://internal.test/token"
	proxy := listen(t, httptest.NewServer)
	proxy.handler = reg
	u := &url.URL{Scheme: "http", Host: proxy.host}
	restore := remote.DefaultTransport
	t.Cleanup(func() { remote.DefaultTransport = restore })
	remote.DefaultTransport = &http.Transport{Proxy: http.ProxyURL(u)}
	c, _ := impatient()
	c.Keychain, c.Insecure = password{"user", "secret"}, []string{"registry.test", "internal.test"}
	if _, err := pushAndPull(t, c, "registry.test"); err != nil {
		t.Fatal(err)
	}
	if told := proxy.all(); !strings.Contains(told, "http://internal.test/token") {
		t.Errorf("the token was not asked for through the proxy:\n%s", told)
	}
}

func TestIsPrivate(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.255.0.1": true, "::1": true, "0.0.0.0": true, "0.1.2.3": true, "::": true,
		"10.0.0.1": true, "172.16.0.1": true, "172.31.255.255": true, "192.168.0.1": true,
		"169.254.169.254": true, "fe80::1": true, "fe80::1%eth0": true, "fd00:ec2::254": true, "fc00::1": true, "fec0::1": true,
		"100.64.0.1": true, "100.100.100.200": true, "100.127.255.255": true, "192.0.0.192": true, "168.63.129.16": true,
		"198.18.0.1": true, "224.0.0.1": true, "ff02::1": true,
		"::ffff:10.0.0.1": true, "64:ff9b::a00:1": true, "64:ff9b::a9fe:a9fe": true, "2002:a00:1::1": true, "2002:7f00:1::": true,
		"8.8.8.8": false, "172.32.0.1": false, "172.15.0.1": false, "100.128.0.1": false, "100.63.255.255": false,
		"169.253.0.1": false, "192.0.1.1": false, "168.63.129.17": false, "2606:4700::1111": false,
		"::ffff:8.8.8.8": false, "64:ff9b::808:808": false, "2002:808:808::1": false,
	} {
		if got := registry.IsPrivate(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: private is %t, want %t", addr, got, want)
		}
	}
}
