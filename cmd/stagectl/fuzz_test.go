package main

import (
	"path"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
)

// FuzzFlags takes any text for the value of each flag that has a syntax. What is
// accepted is within what the flag can mean.
func FuzzFlags(f *testing.F) {
	for _, s := range []string{
		"type=docker,dest=a.tar", "type=oci,dest=d,tar=false", `type=oci,"dest=a,b"`, "type=registry", "-", "a.tar", `"`, "type=oci,tar=", "dest=-,type=docker",
		"36h", "30d", "-1h", "9223372036854775807d", "106752d", "213505d", "-213505d", "2GB", "1e400", "NaN", "Inf", "-0", "0x1p10B", "1_0kB", "500 MB", "B",
		"8080", "53/UDP", "1-65535/tcp", "0", "a:b", "A=b", "=b", "a b=c", "65532:65532", "user", "1:", "SIGTERM", "64", "sigrtmin+1", "/a/../b", "/a//b/", "gzip:9", "none",
		"docker.io=mirror.example.com/x", "a=b", "localhost:5000=http://x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if spec, err := parseOutput(s); err == nil && (spec.kind == "registry") != (spec.dest == "") {
			t.Errorf("-o %q: %+v", s, spec)
		}
		if d, err := parseAge(s); err == nil && d < 0 {
			t.Errorf("--older-than %q: %v", s, d)
		}
		if days, ok := strings.CutSuffix(s, "d"); ok {
			n, err := strconv.Atoi(days)
			if d, failed := parseAge(s); err == nil && failed == nil && int(d.Hours()) != 24*n {
				t.Errorf("--older-than %q: %v", s, d)
			}
		}
		if n, err := parseSize(s); err == nil && (n < 0 || n > 1e18) {
			t.Errorf("--keep-size %q: %d", s, n)
		}
		if ports, err := plan.ParsePort(s); err == nil && (len(ports) == 0 || len(ports) > 65535 || !strings.Contains(ports[0], "/")) {
			t.Errorf("-p %q: %d ports", s, len(ports))
		}
		if key, value, err := plan.ParseKeyValue("variable", s); err == nil && (key+"="+value != s || key == "") {
			t.Errorf("-e %q: %q, %q", s, key, value)
		}
		if p, err := plan.ParseAbs("path", s); err == nil && (p != path.Clean(p) || !path.IsAbs(p)) {
			t.Errorf("-w %q: %q", s, p)
		}
		if user, err := plan.ParseUser(s); err == nil && (user == "" || strings.ContainsFunc(user, unicode.IsSpace)) {
			t.Errorf("-u %q: %q", s, user)
		}
		if signal, err := plan.ParseSignal(s); err == nil && (signal != strings.ToUpper(s) || signal == "") {
			t.Errorf("--stop-signal %q: %q", s, signal)
		}
		if c, err := plan.ParseCompression(s); err == nil && (c.Algorithm == "" || c.Level < 0) {
			t.Errorf("--compression %q: %+v", s, c)
		}
		if m, err := registry.ParseMirror(s); err == nil && (registry.ValidHost(m.Host) != nil || m.Prefix == "") {
			t.Errorf("--registry-mirror %q: %+v", s, m)
		}
	})
}
