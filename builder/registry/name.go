package registry

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// dockerHub is what people call the registry whose host is name.DefaultRegistry.
const dockerHub = "docker.io"

func canonicalHost(host string) string {
	if host == dockerHub || host == "registry-1.docker.io" {
		return name.DefaultRegistry
	}
	return host
}

func familiarHost(host string) string {
	if host == name.DefaultRegistry {
		return dockerHub
	}
	return host
}

// Name is ref as users and annotations write it: fully qualified, with
// docker.io for Docker Hub.
func Name(ref name.Reference) string { return familiar(ref.Name()) }

// RepoName is the name of a repository in the same form.
func RepoName(repo name.Repository) string { return familiar(repo.Name()) }

func familiar(full string) string {
	host, rest, _ := strings.Cut(full, "/")
	return familiarHost(host) + "/" + rest
}

// ParseReference reads a reference as package name does, and refuses a repository
// that would be another one in a URL, or none: with "..", ".", or nothing between
// two slashes.
func ParseReference(s string, opts ...name.Option) (name.Reference, error) {
	ref, err := name.ParseReference(s, opts...)
	if err != nil {
		return nil, err
	}
	repo := ref.Context().RepositoryStr()
	for element := range strings.SplitSeq(repo, "/") {
		if element == "" || element == "." || element == ".." {
			return nil, fmt.Errorf("repository %q: it has %q for an element", repo, element)
		}
	}
	return ref, nil
}

// ValidHost says what is wrong with the name of a registry, or nil.
func ValidHost(host string) error {
	if err := CheckUserInfo(host); err != nil {
		return fmt.Errorf("malformed host: %w", err)
	}
	if _, err := name.NewRegistry(host); err != nil || host == "" || strings.HasSuffix(host, ":") {
		return fmt.Errorf("malformed host %q: it is HOST or HOST:PORT", host)
	}
	return nil
}

// Mirror says that what Host serves may be had from Prefix, a host or
// host/path. A missing image or a mirror that is down is looked for in the
// next mirror and at last at the origin.
type Mirror struct{ Host, Prefix string }

// ParseMirror reads HOST=MIRROR. Docker Hub is docker.io.
func ParseMirror(s string) (Mirror, error) {
	host, prefix, ok := strings.Cut(s, "=")
	if err := cmp.Or(CheckUserInfo(host), CheckUserInfo(prefix)); err != nil {
		return Mirror{}, fmt.Errorf("malformed mirror: %w", err)
	}
	if !ok || ValidHost(host) != nil {
		return Mirror{}, fmt.Errorf("malformed mirror %q: it is HOST=MIRROR, as docker.io=mirror.example.com", s)
	}
	prefix = strings.TrimSuffix(prefix, "/")
	if !isPrefix(prefix) {
		return Mirror{}, fmt.Errorf("malformed mirror %q: %q is not a host or host/path, the host with a dot or a port", s, prefix)
	}
	return Mirror{Host: canonicalHost(host), Prefix: prefix}, nil
}

// isPrefix tells whether repositories below prefix are in the registry that
// its first part names. A word without dot or port would be a user's name on
// Docker Hub.
func isPrefix(prefix string) bool {
	host, _, _ := strings.Cut(prefix, "/")
	repo, err := name.NewRepository(prefix + "/x")
	return err == nil && ValidHost(host) == nil && path.Clean(prefix) == prefix &&
		canonicalHost(repo.RegistryStr()) == canonicalHost(host)
}

// Candidates are the references under which ref may be found: in each of its
// registry's mirrors, then ref itself.
func (c *Client) Candidates(ref name.Reference) ([]name.Reference, error) {
	var refs []name.Reference
	for _, m := range c.Mirrors {
		if canonicalHost(m.Host) != canonicalHost(ref.Context().RegistryStr()) {
			continue
		}
		sep := ":"
		if _, ok := ref.(name.Digest); ok {
			sep = "@"
		}
		mirrored, err := c.Parse(m.Prefix + "/" + ref.Context().RepositoryStr() + sep + ref.Identifier())
		if err != nil {
			return nil, err
		}
		refs = append(refs, mirrored)
	}
	return append(refs, ref), nil
}
