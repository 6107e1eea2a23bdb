package registry

import (
	"net/netip"
	"time"
)

// SetTimers has stalled connections noticed by f instead of time.AfterFunc.
func (c *Client) SetTimers(f func(d time.Duration, stalled func()) (stop func() bool)) { c.after = f }

// SetPrivate says which addresses are private.
func (c *Client) SetPrivate(f func(netip.AddrPort) bool) { c.private = f }

// IsPrivate is what says so otherwise.
var IsPrivate = isPrivate

// Dialed is what tells connections that did not come about from others.
var Dialed = dialed
