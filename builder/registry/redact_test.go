package registry_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stagectl/stagectl/builder/registry"
)

func TestRedact(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"nothing":            {"reading manifest: unexpected EOF", "reading manifest: unexpected EOF"},
		"a plain URL":        {`Get "https://r.test/v2/": dial tcp: refused`, `Get "https://r.test/v2/": dial tcp: refused`},
		"a port and a colon": {"GET http://r.test:5000/v2/x: denied", "GET http://r.test:5000/v2/x: denied"},
		"user and password":  {`Get "https://user:pl4nted@r.test/x": EOF`, `Get "https://REDACTED@r.test/x": EOF`},
		"a user alone":       {"https://pl4nted@r.test/x", "https://REDACTED@r.test/x"},
		"a signature":        {`Put "https://cdn.test/b?X-Amz-Signature=pl4nted&digest=sha256%3Aab": EOF`, `Put "https://cdn.test/b?X-Amz-Signature=REDACTED&digest=sha256%3Aab": EOF`},
		"a bare query":       {"https://cdn.test/b?pl4nted", "https://cdn.test/b?REDACTED"},
		"a fragment":         {"https://cdn.test/b#pl4nted", "https://cdn.test/b#REDACTED"},
		"a token's scope":    {"GET https://a.test/token?scope=repository%3Ax%3Apull&service=r: 401", "GET https://a.test/token?scope=repository%3Ax%3Apull&service=r: 401"},
		"two":                {"https://a:pl4nted@x.test, https://y.test?k=pl4nted", "https://REDACTED@x.test, https://y.test?k=REDACTED"},
		"broken":             {"http://user:pl4nted%zz@x.test/ no", "http://REDACTED no"},
		"a token's answer":   {"no token in bearer response:\n{\"refresh_token\":\"pl4nted\"}", "no token in bearer response"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := registry.Redact(tt.in); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			err := registry.Clean(fmt.Errorf("%s%w", tt.in, fs.ErrExist))
			if want := registry.Redact(tt.in + fs.ErrExist.Error()); err.Error() != want || !errors.Is(err, fs.ErrExist) {
				t.Errorf("cleaned: got  %v\nwant %s", err, want)
			}
		})
	}
	if registry.Clean(nil) != nil {
		t.Error("nothing became an error")
	}
}

func TestUserInfo(t *testing.T) {
	for _, s := range []string{
		"user:pl4nted@r.test/app", "pl4nted@r.test/app", "https://user:pl4nted@r.test/app", "user:pl4nted@r.test",
		"user:pl4nted@r.test/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	} {
		_, refErr := new(registry.Client).Parse(s)
		_, mirrorErr := registry.ParseMirror("docker.io=" + s)
		_, hostErr := registry.ParseMirror(s + "=r.test")
		for _, err := range []error{refErr, mirrorErr, hostErr} {
			if !errors.Is(err, registry.ErrUserInfo) {
				t.Errorf("%s: got %v", s, err)
			}
		}
	}
	if err := registry.ValidHost("user:pl4nted@r.test"); !errors.Is(err, registry.ErrUserInfo) {
		t.Errorf("host: got %v", err)
	}
	for _, s := range []string{"alpine", "alpine:3@" + digest, "alpine@" + digest, "r.test:5000/a/b:v1@" + digest} {
		if _, err := new(registry.Client).Parse(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}
