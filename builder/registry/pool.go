package registry

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pools are the connections of a process. They differ in what they trust.
type pools struct {
	// open connects anywhere: to the registries that the user has named, and to
	// proxies.
	open pool
	// guarded connects to public addresses only.
	guarded pool
	// files connects to all addresses at which there may be one.
	files pool
	// proxy says which proxy the user has configured for a request.
	proxy func(*http.Request) (*url.URL, error)
}

// pool verifies certificates, or does not, for the hosts that the user has
// called insecure.
type pool struct{ verified, unverified http.RoundTripper }

func newPools(c *Client) pools {
	base, ok := remote.DefaultTransport.(*http.Transport)
	if !ok { // somebody else's, and what it connects to as well
		p := pool{remote.DefaultTransport, remote.DefaultTransport}
		return pools{open: p, guarded: p, files: p, proxy: noProxy}
	}
	p := pools{
		open: newPool(base), guarded: newPool(controlled(base, c.refusePrivate)),
		files: newPool(controlled(base, refuseMetadata)), proxy: base.Proxy,
	}
	if p.proxy == nil {
		p.proxy = noProxy
	}
	return p
}

// controlled is base with a check of each address that it connects to.
func controlled(base *http.Transport, control func(network, address string, c syscall.RawConn) error) *http.Transport {
	t := base.Clone()
	t.Proxy = nil // what goes through a proxy goes through the open pool
	t.DialContext = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: control}).DialContext
	return t
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

func newPool(verified *http.Transport) pool {
	unverified := verified.Clone()
	if unverified.TLSClientConfig == nil {
		unverified.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	unverified.TLSClientConfig.InsecureSkipVerify = true
	return pool{verified, unverified}
}

// transport returns the connections that a request of the link may use.
func (l *link) transport(req *http.Request) http.RoundTripper {
	p := l.c.pools.guarded
	switch direct := l.own(req.URL) || l.private.Load(); {
	case l.proxied(req), direct && !l.file:
		p = l.c.pools.open
	case direct:
		p = l.c.pools.files
	}
	if l.c.insecure(req.URL.Host) {
		return p.unverified
	}
	return p.verified
}

// own tells whether a request goes to the registry itself, under whatever
// scheme.
func (l *link) own(u *url.URL) bool { return u.Host == l.host }

func (l *link) proxied(req *http.Request) bool {
	u, err := l.c.pools.proxy(req)
	return u != nil || err != nil // the open pool reports the error
}

// watched has the link notice where its registry is.
func (l *link) watched(req *http.Request) context.Context {
	if !l.own(req.URL) || l.proxied(req) {
		return req.Context()
	}
	return httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if addr, err := netip.ParseAddrPort(info.Conn.RemoteAddr().String()); err == nil {
				l.private.Store(l.c.isPrivate(addr))
			}
		},
	})
}

// refusePrivate is the Control function of the guarded pool's dialer. It sees
// addresses, so names that stand for private ones are covered as well.
func (c *Client) refusePrivate(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if c.isPrivate(addr) {
		return &PrivateError{Address: addr.Addr()}
	}
	return nil
}
