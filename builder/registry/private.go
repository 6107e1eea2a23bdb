package registry

import (
	"fmt"
	"net/netip"
	"slices"
)

// PrivateError is returned where a registry at a public address sends its
// clients to a private one: a machine in their own network, or the service
// that hands out a cloud machine's credentials.
type PrivateError struct {
	// Registry that did so.
	Registry string
	// Host it named, and the address of that.
	Host    string
	Address netip.Addr
}

func (e *PrivateError) Error() string {
	if e.Registry == "" {
		return fmt.Sprintf("the address %s is private", e.Address)
	}
	return fmt.Sprintf("%s sends its clients to %s at the private address %s", familiarHost(e.Registry), e.Host, e.Address)
}

// isPrivate tells whether an address is one that only this machine or its
// network can reach.
func (c *Client) isPrivate(addr netip.AddrPort) bool {
	if c.private != nil {
		return c.private(addr)
	}
	return isPrivate(addr.Addr())
}

// Ranges that net/netip has no method for.
var (
	privateRanges = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),        // "this network", RFC 791
		netip.MustParsePrefix("100.64.0.0/10"),    // carrier-grade NAT, RFC 6598; metadata of Alibaba Cloud
		netip.MustParsePrefix("192.0.0.0/24"),     // protocol assignments, RFC 6890; metadata of Oracle Cloud
		netip.MustParsePrefix("198.18.0.0/15"),    // benchmarks, RFC 2544
		netip.MustParsePrefix("168.63.129.16/32"), // metadata of Azure, which is no private address by the books
		netip.MustParsePrefix("fec0::/10"),        // site-local, RFC 3879
	}
	// nat64 has the IPv4 address that it stands for in its last 32 bits, RFC 6052.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	// sixToFour has it in the 32 bits after the prefix, RFC 3056.
	sixToFour = netip.MustParsePrefix("2002::/16")
)

func isPrivate(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	b := addr.As16()
	switch {
	case nat64.Contains(addr):
		return isPrivate(netip.AddrFrom4([4]byte(b[12:])))
	case sixToFour.Contains(addr):
		return isPrivate(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsUnspecified() || addr.IsMulticast() ||
		addr.IsLinkLocalUnicast() || // where most clouds have their metadata
		slices.ContainsFunc(privateRanges, func(p netip.Prefix) bool { return p.Contains(addr) })
}
