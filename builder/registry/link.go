package registry

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
)

// link carries the requests that are made of one registry, and on its behalf of
// whom it names: token servers and where its content is. It is below
// everything of go-containerregistry, and above the connections.
type link struct {
	c    *Client
	host string
	// file says that it is no registry, but where a file is.
	file bool
	// private says that the registry is at a private address.
	private atomic.Bool
	// strayed says that what was to tell how to authenticate was another host's.
	strayed atomic.Bool
}

var _ http.RoundTripper = (*link)(nil)

// ErrPlain is returned where a secret, or a client that came with TLS, would
// have to go over plain HTTP.
var ErrPlain = errors.New("plain HTTP is for hosts that are declared insecure")

// RoundTrip implements http.RoundTripper.
func (l *link) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := l.allow(req); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	e := effortOf(req.Context())
	e.clear()
	for n := 1; ; n++ {
		resp, err := l.once(req)
		t, ok := l.trouble(req, resp, err)
		if !ok || req.Context().Err() != nil {
			return resp, err
		}
		if !repeatable(req) {
			e.broken(t)
			return resp, err
		}
		d, ok := t.delay(n)
		if !ok || e.exhausted() {
			e.exhaust()
			return resp, err
		}
		if resp != nil {
			discard(resp.Body)
		}
		if err := l.c.wait(req.Context(), t, d); err != nil {
			return nil, err
		}
	}
}

// allow refuses what would give away secrets.
func (l *link) allow(req *http.Request) error {
	if l.file {
		return allowFile(req)
	}
	if req.URL.Scheme == "http" && !l.plain(req) {
		return fmt.Errorf("%w: %s is not", ErrPlain, familiarHost(req.URL.Host))
	}
	// The form by which a token is asked for has a secret in it.
	form := req.Header.Get("Content-Type") == "application/x-www-form-urlencoded"
	password := strings.HasPrefix(req.Header.Get("Authorization"), "Basic ")
	switch {
	case form && req.Response != nil && req.Response.Request.URL.Host != req.URL.Host:
		return fmt.Errorf("%s redirects a request for a token to %s, which does not get the credentials",
			req.Response.Request.URL.Host, req.URL.Host)
	case (form || password) && l.strayed.Load() && !l.own(req.URL):
		return fmt.Errorf("%s redirects to another host, on whose word %s does not get the credentials",
			familiarHost(l.host), req.URL.Host)
	}
	return nil
}

// stray notes that the answer to a ping, which names the token server, is not
// that of the registry. Some registries that need no credentials redirect
// everything, so that is not an error yet.
func (l *link) stray(req *http.Request) {
	first := req
	for first.Response != nil {
		first = first.Response.Request
	}
	if first != req && !l.own(req.URL) && first.URL.Path == "/v2/" {
		l.strayed.Store(true)
	}
}

// plain tells whether a request may go over plain HTTP. Without credentials it
// may as well where the registry has that itself.
func (l *link) plain(req *http.Request) bool {
	return l.c.mayBePlain(req.URL.Host) ||
		req.Header.Get("Authorization") == "" && req.Body == nil && l.c.mayBePlain(l.host)
}

// mayBePlain tells whether a host may be spoken to over plain HTTP: where the
// user has said so, or where nobody can listen.
func (c *Client) mayBePlain(host string) bool {
	if c.insecure(host) {
		return true
	}
	h := (&url.URL{Host: host}).Hostname()
	addr, err := netip.ParseAddr(h)
	return h == "localhost" || strings.HasSuffix(h, ".localhost") || err == nil && addr.IsLoopback()
}

// once does one round trip. The body of the request is there again after it.
func (l *link) once(req *http.Request) (*http.Response, error) {
	out := req.Clone(l.watched(req))
	if req.GetBody != nil {
		// Whoever authenticates sends the same request again after a 401.
		req.Body = &reopened{get: req.GetBody}
	}
	out.Header.Del("Referer") // may be a URL with a secret in it
	resp, err := l.c.timed(l.transport(out), out)
	l.stray(req)
	if resp != nil {
		resp.Request = req // which has not the context of this attempt
	}
	if pe := (*PrivateError)(nil); errors.As(err, &pe) {
		return nil, &PrivateError{Registry: l.host, Host: req.URL.Host, Address: pe.Address}
	}
	return resp, err
}

// repeatable tells whether a request can be sent again as it is. What uploads a
// blob can't: some of it may have arrived.
func repeatable(req *http.Request) bool {
	hasBody := req.Body != nil && req.Body != http.NoBody
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodPost:
		return !hasBody || req.GetBody != nil
	case http.MethodPut:
		return hasBody && req.GetBody != nil
	}
	return false
}

// reopened is a body that is opened when it is read.
type reopened struct {
	get func() (io.ReadCloser, error)
	rc  io.ReadCloser
}

func (b *reopened) Read(p []byte) (n int, err error) {
	if b.rc == nil {
		if b.rc, err = b.get(); err != nil {
			return 0, err
		}
	}
	return b.rc.Read(p)
}

func (b *reopened) Close() error {
	if b.rc == nil {
		return nil
	}
	return b.rc.Close()
}

// discard reads the rest of an answer that nobody wants, if it is short, so
// that its connection can be used again.
func discard(body io.ReadCloser) {
	const most = 64 << 10
	_, _ = io.CopyN(io.Discard, body, most)
	_ = body.Close()
}

// dialed tells whether err is that of a connection that did not come about, and
// whether a name server had no time for it. Without any network, which package
// net counts as temporary as well, there is nothing to wait for.
func dialed(err error) (failed, temporary bool) {
	var op *net.OpError
	var dns *net.DNSError
	failed = errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
	return failed, errors.As(err, &dns) && dns.IsTemporary && !strings.Contains(dns.Err, "network is unreachable")
}
