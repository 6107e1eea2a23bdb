// Package faulty has a registry for tests that fails in all the ways that
// registries and networks do, each at the endpoint that a test names.
package faulty

import (
	"net/http"
	"strings"
	"sync"
)

// Endpoint is one kind of request.
type Endpoint string

// The endpoints of the distribution API, and of the token server.
const (
	Ping         Endpoint = "ping"
	Token        Endpoint = "token"
	ManifestHead Endpoint = "HEAD manifest"
	ManifestGet  Endpoint = "GET manifest"
	ManifestPut  Endpoint = "PUT manifest"
	BlobHead     Endpoint = "HEAD blob"
	BlobGet      Endpoint = "GET blob"
	Mount        Endpoint = "POST mount"
	UploadStart  Endpoint = "POST upload"
	UploadData   Endpoint = "PATCH upload"
	UploadCommit Endpoint = "PUT upload"
	Other        Endpoint = "other"
)

// EndpointOf returns which one a request is for.
func EndpointOf(r *http.Request) Endpoint {
	method, path := r.Method, r.URL.Path
	switch {
	case path == "/v2/":
		return Ping
	case path == tokenPath:
		return Token
	case strings.Contains(path, "/blobs/uploads/"):
		if r.URL.Query().Get("mount") != "" {
			return Mount
		}
		return Endpoint(method + " upload")
	case strings.Contains(path, "/manifests/"):
		return Endpoint(method + " manifest")
	case strings.Contains(path, "/blobs/"):
		return Endpoint(method + " blob")
	}
	return Other
}

// Fault answers a request in the place of next, or changes what next says.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Faults wraps the handler of a registry. Its zero value has no faults.
type Faults struct {
	mu    sync.Mutex
	rules []*rule
	log   []Endpoint
}

type rule struct {
	endpoint Endpoint
	left     int
	match    string
	fault    Fault
}

// Always is how often a fault happens that does not go away.
const Always = 1 << 30

// Inject has the next requests to an endpoint meet a fault, as many as times.
func (f *Faults) Inject(e Endpoint, times int, fault Fault) { f.InjectAt(e, "", times, fault) }

// InjectAt is Inject for requests whose path has match in it.
func (f *Faults) InjectAt(e Endpoint, match string, times int, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{e, times, match, fault})
}

// Clear takes all faults away.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Left is how many of the faults have not happened, but for those that Always do.
func (f *Faults) Left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.rules {
		if r.left < Always/2 {
			n += r.left
		}
	}
	return n
}

// Asked returns how often an endpoint was asked, faults included, and forgets
// it.
func (f *Faults) Asked(e Endpoint) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rest []Endpoint
	for _, asked := range f.log {
		if asked != e {
			rest = append(rest, asked)
		}
	}
	n := len(f.log) - len(rest)
	f.log = rest
	return n
}

// Wrap returns the handler with faults.
func (f *Faults) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault := f.next(r); fault != nil {
			fault(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (f *Faults) next(r *http.Request) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := EndpointOf(r)
	f.log = append(f.log, e)
	for _, rule := range f.rules {
		if rule.endpoint == e && rule.left > 0 && strings.Contains(r.URL.Path, rule.match) {
			rule.left--
			return rule.fault
		}
	}
	return nil
}
