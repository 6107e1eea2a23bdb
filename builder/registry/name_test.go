package registry_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stagectl/stagectl/builder/registry"
)

const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func parse(t *testing.T, c *registry.Client, s string) name.Reference {
	t.Helper()
	ref, err := c.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

// What leads elsewhere in a URL is no repository.
func TestParseRefuses(t *testing.T) {
	c := &registry.Client{Insecure: []string{"plain.example.com"}}
	for s, want := range map[string]string{
		"ghcr.io/../x":               `malformed reference "ghcr.io/../x": repository "../x": it has ".." for an element`,
		"ghcr.io/team/../../x:v1":    `repository "team/../../x": it has ".." for an element`,
		"plain.example.com/./x":      `repository "./x": it has "." for an element`,
		"ghcr.io//x":                 `repository "/x": it has "" for an element`,
		"/./x":                       `it has "" for an element`,
		"ghcr.io/team/x/@" + digest:  `repository "team/x/": it has "" for an element`,
		"ghcr.io/team/..@" + digest:  `it has ".." for an element`,
		"ghcr.io/team/x@sha256:../x": "malformed reference",
	} {
		_, err := c.Parse(s)
		wantError(t, err, want)
	}
}

func TestParse(t *testing.T) {
	c := &registry.Client{Insecure: []string{"plain.example.com:5000", "docker.io"}}
	tests := []struct{ name, in, want, scheme string }{
		{"short", "alpine", "docker.io/library/alpine:latest", "http"},
		{"tag", "alpine:3.20", "docker.io/library/alpine:3.20", "http"},
		{"user", "team/app", "docker.io/team/app:latest", "http"},
		{"full", "docker.io/library/alpine:3", "docker.io/library/alpine:3", "http"},
		{"Docker Hub's own host", "index.docker.io/library/alpine:3", "docker.io/library/alpine:3", "http"},
		{"registry", "ghcr.io/team/app:v1", "ghcr.io/team/app:v1", "https"},
		{"digest", "ghcr.io/team/app@" + digest, "ghcr.io/team/app@" + digest, "https"},
		{"tag and digest", "ghcr.io/team/app:v1@" + digest, "ghcr.io/team/app@" + digest, "https"},
		{"insecure", "plain.example.com:5000/app", "plain.example.com:5000/app:latest", "http"},
		{"another port", "plain.example.com/app", "plain.example.com/app:latest", "https"},
		{"Docker Hub's host in the path", "ghcr.io/index.docker.io/app", "ghcr.io/index.docker.io/app:latest", "https"},
		{"host that ends as Docker Hub's", "my-index.docker.io/app", "my-index.docker.io/app:latest", "https"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ref := parse(t, c, tt.in)
			if got := registry.Name(ref); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			repo, _, _ := strings.Cut(strings.TrimSuffix(tt.want, ":"+ref.Identifier()), "@")
			if got := registry.RepoName(ref.Context()); got != repo {
				t.Errorf("the repository is %s, want %s", got, repo)
			}
			if got := ref.Context().Scheme(); got != tt.scheme {
				t.Errorf("the scheme is %s, want %s", got, tt.scheme)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for name, s := range map[string]string{
		"empty": "", "upper case": "Alpine", "no tag": "alpine:", "blank": "alpine 3", "url": "https://ghcr.io/app", "short digest": "alpine@sha256:00",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := new(registry.Client).Parse(s)
			wantError(t, err, "malformed reference \""+s+"\": ")
		})
	}
}

func TestParseMirror(t *testing.T) {
	tests := []struct {
		name, in string
		want     registry.Mirror
		wantErr  string
	}{
		{name: "host", in: "ghcr.io=mirror.example.com", want: registry.Mirror{Host: "ghcr.io", Prefix: "mirror.example.com"}},
		{name: "port", in: "ghcr.io:443=localhost:5000", want: registry.Mirror{Host: "ghcr.io:443", Prefix: "localhost:5000"}},
		{name: "path", in: "ghcr.io=mirror.example.com/a/b", want: registry.Mirror{Host: "ghcr.io", Prefix: "mirror.example.com/a/b"}},
		{name: "slash at the end", in: "ghcr.io=mirror.example.com/a/", want: registry.Mirror{Host: "ghcr.io", Prefix: "mirror.example.com/a"}},
		{name: "Docker Hub", in: "docker.io=mirror.example.com", want: registry.Mirror{Host: "index.docker.io", Prefix: "mirror.example.com"}},
		{name: "Docker Hub by its host", in: "registry-1.docker.io=mirror.example.com", want: registry.Mirror{Host: "index.docker.io", Prefix: "mirror.example.com"}},
		{name: "on Docker Hub", in: "ghcr.io=docker.io/team", want: registry.Mirror{Host: "ghcr.io", Prefix: "docker.io/team"}},
		{name: "IPv6", in: "ghcr.io=[::1]:5000", want: registry.Mirror{Host: "ghcr.io", Prefix: "[::1]:5000"}},
		{name: "empty", in: "", wantErr: `malformed mirror "": it is HOST=MIRROR, as docker.io=mirror.example.com`},
		{name: "no mirror", in: "ghcr.io", wantErr: "it is HOST=MIRROR"},
		{name: "no host", in: "=mirror.example.com", wantErr: "it is HOST=MIRROR"},
		{name: "host with a path", in: "ghcr.io/team=mirror.example.com", wantErr: "it is HOST=MIRROR"},
		{name: "host is a url", in: "https://ghcr.io=mirror.example.com", wantErr: "it is HOST=MIRROR"},
		{name: "empty mirror", in: "ghcr.io=", wantErr: `"" is not a host or host/path`},
		{name: "slash", in: "ghcr.io=/", wantErr: `"" is not a host or host/path`},
		{name: "mirror is a url", in: "ghcr.io=https://mirror.example.com", wantErr: `"https://mirror.example.com" is not a host or host/path`},
		{name: "mirror is a word", in: "ghcr.io=mirror", wantErr: `"mirror" is not a host or host/path, the host with a dot or a port`},
		{name: "mirror is two words", in: "ghcr.io=mirror/a", wantErr: `"mirror/a" is not a host or host/path`},
		{name: "mirror with an empty part", in: "ghcr.io=mirror.example.com//a", wantErr: "is not a host or host/path"},
		{name: "upper case in the path", in: "ghcr.io=mirror.example.com/A", wantErr: "is not a host or host/path"},
		{name: "tag", in: "ghcr.io=mirror.example.com/a:b", wantErr: "is not a host or host/path"},
		{name: "blank", in: "ghcr.io= mirror.example.com", wantErr: "is not a host or host/path"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := registry.ParseMirror(tt.in)
			if tt.wantErr != "" {
				wantError(t, err, tt.wantErr)
			} else if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("mirror (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidHost(t *testing.T) {
	for _, host := range []string{"ghcr.io", "localhost", "localhost:5000", "10.0.0.1:80", "[::1]:5000", "registry"} {
		if err := registry.ValidHost(host); err != nil {
			t.Error(err)
		}
	}
	for _, host := range []string{"", "https://ghcr.io", "ghcr.io/team", "ghcr.io/", "a b", "host:port", "user@ghcr.io", "ghcr.io?x", "ghcr.io:"} {
		wantError(t, registry.ValidHost(host), "malformed host \""+host+"\": it is HOST or HOST:PORT")
	}
}

func TestCandidates(t *testing.T) {
	c := &registry.Client{Insecure: []string{"plain.example.com"}}
	for _, s := range []string{
		"docker.io=first.example.com", "ghcr.io=other.example.com", "docker.io=plain.example.com/hub", "docker.io=docker.io/copies",
	} {
		m, err := registry.ParseMirror(s)
		if err != nil {
			t.Fatal(err)
		}
		c.Mirrors = append(c.Mirrors, m)
	}
	// As a user of the library may write it.
	c.Mirrors = append(c.Mirrors, registry.Mirror{Host: "docker.io", Prefix: "last.example.com"})
	tests := []struct {
		name, in string
		want     []string
	}{
		{"tag on Docker Hub", "alpine:3", []string{
			"https first.example.com/library/alpine:3", "http plain.example.com/hub/library/alpine:3",
			"https docker.io/copies/library/alpine:3", "https last.example.com/library/alpine:3", "https docker.io/library/alpine:3",
		}},
		{"digest on Docker Hub", "team/app@" + digest, []string{
			"https first.example.com/team/app@" + digest, "http plain.example.com/hub/team/app@" + digest,
			"https docker.io/copies/team/app@" + digest, "https last.example.com/team/app@" + digest, "https docker.io/team/app@" + digest,
		}},
		{"another registry", "ghcr.io/a/b/c", []string{"https other.example.com/a/b/c:latest", "https ghcr.io/a/b/c:latest"}},
		{"registry without a mirror", "quay.io/a/b:1", []string{"https quay.io/a/b:1"}},
		{"same host, another port", "ghcr.io:443/a/b:1", []string{"https ghcr.io:443/a/b:1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refs, err := c.Candidates(parse(t, c, tt.in))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ref := range refs {
				got = append(got, ref.Context().Scheme()+" "+registry.Name(ref))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("candidates (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCandidatesError(t *testing.T) {
	c := &registry.Client{Mirrors: []registry.Mirror{{Host: "docker.io", Prefix: "UPPER"}}}
	_, err := c.Candidates(parse(t, c, "alpine"))
	wantError(t, err, `malformed reference "UPPER/library/alpine:latest"`)
}
