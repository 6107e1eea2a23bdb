// Package registry is the one place that talks to registries: references,
// mirrors, credentials and connections, shared by whoever pulls and pushes.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
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

	once   sync.Once
	puller *remote.Puller
	pusher *remote.Pusher
	err    error
}

// Parse reads a reference, with Docker Hub, library/ and :latest where they
// are left out.
func (c *Client) Parse(s string) (name.Reference, error) {
	if err := CheckUserInfo(s); err != nil {
		return nil, fmt.Errorf("malformed reference: %w", err)
	}
	ref, err := name.ParseReference(s)
	if err == nil && c.insecure(ref.Context().RegistryStr()) {
		ref, err = name.ParseReference(s, name.Insecure)
	}
	if err != nil {
		return nil, fmt.Errorf("malformed reference %q: %w", s, err)
	}
	return ref, nil
}

func (c *Client) insecure(host string) bool {
	return slices.ContainsFunc(c.Insecure, func(h string) bool { return canonicalHost(h) == canonicalHost(host) })
}

// Puller returns the puller that all of the process shares.
func (c *Client) Puller() (*remote.Puller, error) {
	c.init()
	return c.puller, c.err
}

// Pusher returns the pusher that all of the process shares. It uploads each
// blob once to each repository.
func (c *Client) Pusher() (*remote.Pusher, error) {
	c.init()
	return c.pusher, c.err
}

func (c *Client) init() {
	c.once.Do(func() {
		if c.Offline {
			c.err = ErrOffline
			return
		}
		opts := []remote.Option{
			remote.WithAuthFromKeychain(c.keychain()),
			remote.WithTransport(c.transport()),
			remote.WithJobs(c.jobs()),
		}
		if c.UserAgent != "" {
			opts = append(opts, remote.WithUserAgent(c.UserAgent))
		}
		if c.puller, c.err = remote.NewPuller(opts...); c.err == nil {
			c.pusher, c.err = remote.NewPusher(opts...)
		}
	})
}

func (c *Client) jobs() int {
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

// transport verifies certificates, but for those of the hosts that the user
// has called insecure.
func (c *Client) transport() http.RoundTripper {
	secure, ok := remote.DefaultTransport.(*http.Transport)
	if !ok || len(c.Insecure) == 0 {
		return remote.DefaultTransport
	}
	unverified := secure.Clone()
	if unverified.TLSClientConfig == nil {
		unverified.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	unverified.TLSClientConfig.InsecureSkipVerify = true
	return byHost{c: c, secure: secure, unverified: unverified}
}

type byHost struct {
	c                  *Client
	secure, unverified http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.c.insecure(r.URL.Host) {
		return t.unverified.RoundTrip(r)
	}
	return t.secure.RoundTrip(r)
}
