package golang_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/golang"
)

func TestTag(t *testing.T) {
	digest := "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	tests := []struct {
		ref, tag string
		ok       bool
	}{
		{"golang", "latest", true},
		{"golang:1.6-alpine", "1.6-alpine", true},
		{"docker.io/library/golang:1.22.3", "1.22.3", true},
		{"mirror.example.com:5000/library/golang:1", "1", true},
		{"golang:1.22" + digest, "1.22", true},
		{"golang" + digest, "", true},
		{"alpine", "", false},
		{"golang/tip", "", false},
		{"oci:golang", "", false},
		{"Golang:1", "", false},
	}
	for _, tt := range tests {
		if tag, ok := golang.Tag(tt.ref); tag != tt.tag || ok != tt.ok {
			t.Errorf("%s: %q, %v, want %q, %v", tt.ref, tag, ok, tt.tag, tt.ok)
		}
	}
}

func TestRelease(t *testing.T) {
	tests := []struct {
		env  []string
		want string
	}{
		{[]string{"A=1", "GOLANG_VERSION=1.6.4"}, "1.6.4"},
		{[]string{"GOLANG_VERSION=x"}, ""},
		{[]string{"XGOLANG_VERSION=1.6"}, ""},
	}
	for _, tt := range tests {
		if got := golang.Release(tt.env); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.env, got, tt.want)
		}
	}
}

func TestConfig(t *testing.T) {
	path := "PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	old := golang.Config("1.6-alpine", "1.6.4")
	if diff := cmp.Diff([]string{path, "GOLANG_VERSION=1.6.4", "GOPATH=/go"}, old.Env); diff != "" {
		t.Errorf("1.6 (-want +got):\n%s", diff)
	}
	if old.Cmd[0] != "/bin/sh" || old.WorkingDir != "/go" {
		t.Errorf("got %v in %s", old.Cmd, old.WorkingDir)
	}
	recent := golang.Config("1.22", "1.22.3")
	if diff := cmp.Diff([]string{path, "GOLANG_VERSION=1.22.3", "GOTOOLCHAIN=local", "GOPATH=/go"}, recent.Env); diff != "" {
		t.Errorf("1.22 (-want +got):\n%s", diff)
	}
	if recent.Cmd[0] != "bash" {
		t.Errorf("got %v", recent.Cmd)
	}
}
