package dockerfile

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/stagectl/stagectl/builder/plan"
)

// expose splits words after expansion, so that a variable may have several
// ports or, where it is not set, none.
func (c *converter) expose(s *stage, cmd *command, in *instructions.ExposeCommand) error {
	var ports []string
	for _, arg := range in.Ports {
		words, err := c.lex.ProcessWords(arg, s.env)
		if err != nil {
			return err
		}
		for _, word := range words {
			port, err := containerPort(word)
			if err != nil {
				return err
			}
			declared, err := plan.ParsePort(port)
			if err != nil {
				return err
			}
			ports = append(ports, declared...)
		}
	}
	s.setConfig(cmd.position, plan.Config{Ports: ports})
	return nil
}

// containerPort is what is left of [[IP:]HOSTPORT:]PORT. That the rest may be
// there at all comes from what it was taken from, `docker run -p`.
func containerPort(s string) (string, error) {
	host, port := "", s
	if colon := strings.LastIndex(s, ":"); colon >= 0 {
		host, port = s[:colon], s[colon+1:]
	}
	if host == "" {
		return strings.TrimSuffix(port, "/"), nil
	}
	ip, hostPort := "", host
	if colon := strings.LastIndex(host, ":"); colon >= 0 {
		ip, hostPort = host[:colon], host[colon+1:]
	}
	if ip != "" {
		if _, err := netip.ParseAddr(strings.Trim(ip, "[]")); err != nil {
			return "", fmt.Errorf("malformed port %q: %s is no IP address", s, ip)
		}
	}
	if hostPort != "" {
		if _, err := plan.ParsePort(hostPort); err != nil {
			return "", fmt.Errorf("malformed port %q: %s is no port of the host", s, hostPort)
		}
	}
	return strings.TrimSuffix(port, "/"), nil
}
