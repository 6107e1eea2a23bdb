package faulty

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
)

// Registry is a registry with faults.
type Registry struct {
	Faults
	// Host is where it is: an IP address and a port.
	Host string
	// Tokens, unless nil, are asked for by whoever has the password.
	Tokens *Tokens
	// Handler is the registry without faults.
	Handler http.Handler

	mu   sync.Mutex
	seen []*http.Request
}

// New starts a registry.
func New(t testing.TB) *Registry {
	t.Helper()
	return start(t, &Registry{})
}

// NewWithTokens starts a registry that wants to see tokens, which its own token
// server hands out for a password.
func NewWithTokens(t testing.TB, user, password string) *Registry {
	t.Helper()
	return start(t, &Registry{Tokens: &Tokens{User: user, Password: password}})
}

func start(t testing.TB, r *Registry) *Registry {
	t.Helper()
	b := &blobs{content: map[string][]byte{}}
	r.Handler = b.mounting(ggcr.New(ggcr.WithBlobHandler(b), ggcr.Logger(log.New(io.Discard, "", 0))))
	server := httptest.NewUnstartedServer(r)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	r.Host = strings.TrimPrefix(server.URL, "http://")
	return r
}

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.seen = append(r.seen, req.Clone(req.Context()))
	r.mu.Unlock()
	next := r.Handler
	if r.Tokens != nil {
		next = r.Tokens.wrap(r.Host, next)
	}
	r.Wrap(next).ServeHTTP(w, req)
}

// Seen returns all requests so far.
func (r *Registry) Seen() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

const tokenPath = "/token"

// Tokens are what a registry wants to see.
type Tokens struct {
	User, Password string
	// Refresh is a refresh token that is as good as the password.
	Refresh string
	// Realm of the token server, the registry's own where it is empty.
	Realm string

	mu     sync.Mutex
	number int
	valid  map[string]bool
}

// Change has f change the fields while the registry is at work.
func (t *Tokens) Change(f func(*Tokens)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t)
}

// accepts tells whether a token may be handed out for these.
func (t *Tokens) accepts(user, password, refresh string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return user == t.User && password == t.Password || refresh != "" && refresh == t.Refresh
}

// Expire makes the tokens that there are invalid.
func (t *Tokens) Expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.valid = nil
}

// Expired is a fault: the token expires just before the request.
func (t *Tokens) Expired(w http.ResponseWriter, r *http.Request, next http.Handler) {
	t.Expire()
	next.ServeHTTP(w, r)
}

// Token returns the last token that was handed out.
func (t *Tokens) Token() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("token-%d-of-%s", t.number, t.Password)
}

func (t *Tokens) issue() string {
	t.mu.Lock()
	t.number++
	t.mu.Unlock()
	token := t.Token()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.valid == nil {
		t.valid = map[string]bool{}
	}
	t.valid[token] = true
	return token
}

// ServeHTTP implements http.Handler: it is the token server.
func (t *Tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	refresh := r.PostFormValue("refresh_token")
	if !t.accepts(user, password, refresh) {
		Status(http.StatusUnauthorized)(w, r, nil)
		return
	}
	_, _ = fmt.Fprintf(w, `{"token":%q}`, t.issue())
}

func (t *Tokens) wrap(host string, next http.Handler) http.Handler {
	t.mu.Lock()
	realm := t.Realm
	t.mu.Unlock()
	if realm == "" {
		realm = "http://" + host + tokenPath
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == tokenPath {
			t.ServeHTTP(w, r)
			return
		}
		t.mu.Lock()
		ok := t.valid[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		t.mu.Unlock()
		if ok {
			next.ServeHTTP(w, r)
			return
		}
		challenge := fmt.Sprintf("Bearer realm=%q,service=%q", realm, host)
		Status(http.StatusUnauthorized, "WWW-Authenticate", challenge)(w, r, nil)
	})
}
