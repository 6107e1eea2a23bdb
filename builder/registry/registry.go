// Package registry is the one place that talks to registries: references,
// mirrors, credentials and connections, shared by whoever pulls and pushes.
//
// # What is tried again
//
// Networks break and registries are busy, so what fails for the moment is tried
// again after a wait that doubles each time, or that the registry names in
// Retry-After. It is decided in one place, the [link] below
// go-containerregistry's transports, whose own retries are switched off: they
// know nothing of Retry-After, cannot be canceled while they wait, and would
// multiply with these. Because the link is below what authenticates, a wait
// costs no new token, and an expired token is replaced in the middle of it all.
//
//   - A request that can be sent again as it is (GET, HEAD, the POST that starts
//     an upload, the PUT of a manifest, asking for a token) is repeated by the
//     link.
//   - The data of an upload and its last PUT can't: the registry may have taken
//     some of it, or all. Whoever uploads does so inside [Client.Restart], which
//     starts over, by asking whether the registry has the blob by now. The same
//     goes for a manifest that breaks off while it is read.
//   - A download goes on where it broke off, see [Client.Resume].
//
// Nothing has a total time limit, large layers and slow lines are no errors. A
// connection on which nothing moves for a while is one, see stall.go.
//
// # Where secrets and connections go
//
// Credentials are for the registry that they are kept for and for the token
// server that it names. Plain HTTP is for loopback addresses and the hosts of
// Client.Insecure; all else, 10.0.0.1 as well, which go-containerregistry
// would try plain HTTP with, is spoken to with TLS. Where a registry sends its
// clients to another host (a token server, a redirect, the Location of an
// upload), that host is not at a private address unless the registry is, see
// private.go.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagectl/stagectl/builder/event"
)

// ErrOffline is returned for what would need the network, which the client
// was told not to use.
var ErrOffline = errors.New("not allowed to use the network")

// defaultJobs is how many requests run at once where nobody says so.
const defaultJobs = 4

// Client holds the settings and the connections of a process. Its zero value
// is ready to use; its fields are not changed after the first use.
type Client struct {
	// Keychain finds credentials, authn.DefaultKeychain where nil.
	Keychain authn.Keychain
	// Insecure hosts, as host or host:port, may be spoken to over plain HTTP
	// and with certificates that do not verify.
	Insecure []string
	// Mirrors of registries, in the order in which they are tried.
	Mirrors []Mirror
	// Jobs is how many requests run at once, 4 where it is 0.
	Jobs int
	// UserAgent is sent with each request.
	UserAgent string
	// Offline makes every request fail with ErrOffline.
	Offline bool
	// Progress is told of what has to be tried again, and when.
	Progress event.Func
	// Wait waits before something is tried again; nil waits for the time to
	// pass or ctx to end. Tests have no time.
	Wait func(ctx context.Context, d time.Duration) error

	once  sync.Once
	pools pools

	mu sync.Mutex
	// registries are those that have been asked for, by host.
	registries map[name.Registry]*connected

	// For tests: time.AfterFunc, and isPrivate.
	after   func(d time.Duration, f func()) (stop func() bool)
	private func(netip.AddrPort) bool
}

// connected is what talks to one registry. Its parts know which registry it is
// that they talk to, or that has sent them elsewhere.
type connected struct {
	link   *link
	puller *remote.Puller
	pusher *remote.Pusher
	// readers authenticate for reading, by repository. See Resume.
	readers sync.Map
}

// Parse reads a reference, with Docker Hub, library/ and :latest where they
// are left out.
func (c *Client) Parse(s string) (name.Reference, error) {
	if err := CheckUserInfo(s); err != nil {
		return nil, fmt.Errorf("malformed reference: %w", err)
	}
	ref, err := ParseReference(s)
	if err == nil && c.insecure(ref.Context().RegistryStr()) {
		ref, err = ParseReference(s, name.Insecure)
	}
	if err != nil {
		return nil, fmt.Errorf("malformed reference %q: %w", s, err)
	}
	return ref, nil
}

func (c *Client) insecure(host string) bool {
	return slices.ContainsFunc(c.Insecure, func(h string) bool { return canonicalHost(h) == canonicalHost(host) })
}

// Check says early that the client cannot be used at all.
func (c *Client) Check() error {
	if c.Offline {
		return ErrOffline
	}
	return nil
}

// Puller returns the puller for a registry, which all of the process shares.
func (c *Client) Puller(r name.Registry) (*remote.Puller, error) {
	conn, err := c.connected(r)
	if err != nil {
		return nil, err
	}
	return conn.puller, nil
}

// Pusher returns the pusher for a registry, which all of the process shares.
// It uploads each blob once to each repository.
func (c *Client) Pusher(r name.Registry) (*remote.Pusher, error) {
	conn, err := c.connected(r)
	if err != nil {
		return nil, err
	}
	return conn.pusher, nil
}

func (c *Client) connected(r name.Registry) (*connected, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c.once.Do(func() { c.pools = newPools(c) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn, ok := c.registries[r]; ok {
		return conn, nil
	}
	conn := &connected{link: &link{c: c, host: r.RegistryStr()}}
	opts := []remote.Option{
		remote.WithAuthFromKeychain(c.keychain()),
		remote.WithTransport(conn.link),
		remote.WithJobs(c.Parallel()),
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), // the link does that
	}
	if c.UserAgent != "" {
		opts = append(opts, remote.WithUserAgent(c.UserAgent))
	}
	var err error
	if conn.puller, err = remote.NewPuller(opts...); err != nil {
		return nil, err
	}
	if conn.pusher, err = remote.NewPusher(opts...); err != nil {
		return nil, err
	}
	if c.registries == nil {
		c.registries = map[name.Registry]*connected{}
	}
	c.registries[r] = conn
	return conn, nil
}

// Parallel is how many requests run at once.
func (c *Client) Parallel() int {
	if c.Jobs == 0 {
		return defaultJobs
	}
	return c.Jobs
}

func (c *Client) keychain() authn.Keychain {
	if c.Keychain == nil {
		return keychain{authn.DefaultKeychain}
	}
	return keychain{c.Keychain}
}

// keychain says of its errors what they are about: a config file that cannot
// be read, or a credential helper that is not there.
type keychain struct{ authn.Keychain }

var _ authn.ContextKeychain = keychain{}

// ResolveContext implements authn.ContextKeychain.
func (k keychain) ResolveContext(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	auth, err := authn.Resolve(ctx, k.Keychain, r)
	if err != nil {
		return nil, fmt.Errorf("finding credentials for %s: %w", familiarHost(r.RegistryStr()), err)
	}
	return auth, nil
}
