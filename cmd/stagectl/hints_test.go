package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/registry"
)

func TestRegistryHints(t *testing.T) {
	answer := func(code int, where string) error {
		u, err := url.Parse(where)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Errorf("pulling: %w", &transport.Error{StatusCode: code, Request: &http.Request{Method: http.MethodGet, URL: u}})
	}
	const manifest, token = "https://index.docker.io/v2/x/manifests/y", "https://auth.docker.io/token?service=registry.docker.io"
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"400", answer(400, manifest), "the registry does not take this: check the name, "},
		{"401", answer(401, manifest), "log in with `docker login docker.io`, "},
		{"401 of a token server", answer(401, token), "log in with `docker login`, "},
		{"403", answer(403, manifest), "the credentials for docker.io do not allow this; log in with others by `docker login docker.io`"},
		{"404", answer(404, manifest), "check the name and the tag"},
		{"413", answer(413, manifest), "limits how large a layer may be"},
		{"429", answer(429, manifest), "the registry limits requests: "},
		{"500", answer(500, manifest), "the registry was asked several times: "},
		{"504", answer(504, manifest), "the registry was asked several times: "},
		{"418", answer(418, manifest), ""},
		{"offline", registry.ErrOffline, "run once without --offline"},
		{"plain", fmt.Errorf("x: %w", registry.ErrPlain), "pass --insecure-registry HOST"},
		{"private", fmt.Errorf("x: %w", &registry.PrivateError{}), "only registries that are at a private address themselves may do that"},
		{"stalled", fmt.Errorf("x: %w", registry.ErrStalled), "it was tried several times: "},
		{"reset", fmt.Errorf("x: %w", syscall.ECONNRESET), "it was tried several times: "},
		{"an early end", fmt.Errorf("x: %w", io.ErrUnexpectedEOF), "it was tried several times: "},
		{"a download, offline", fmt.Errorf("x: %w", builder.ErrOffline), "run once without --offline"},
		{"a file that is not there", fmt.Errorf("x: %w", &registry.StatusError{Code: 404}), "check the URL; no credentials are sent"},
		{"a server out of order", fmt.Errorf("x: %w", &registry.StatusError{Code: 503}), "the server was asked several times: "},
		{"another checksum", fmt.Errorf("x: %w", &builder.ChecksumError{}), "if the file is meant to be another one by now"},
		{"metadata", fmt.Errorf("x: %w", &registry.MetadataError{}), "a build has no business there"},
		{"no key", errors.New("git ls-remote: exit status 128: git@x: Permission denied (publickey)"), "--ssh default gives git"},
		{"no user", errors.New("git ls-remote: exit status 128: fatal: could not read Username for 'https://x'"), "those of ~/.netrc are used"},
		{"a last stage on golang", fmt.Errorf("x: %w", &builder.GolangError{Err: registry.ErrOffline}), "end with a stage on a small base"},
		{"something else", errors.New("x"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := hint(tt.err); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
}
