package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/event"
)

func TestPlain(t *testing.T) {
	l := &lines{&plainView{}, testTime}
	f := event.Func(l.Event)
	resolve := f.Start(event.Resolve, "alpine", 0)
	l.pass(300 * time.Millisecond)
	resolve.End(nil, "docker.io/library/alpine@"+testDigest("1a"))
	compile := f.Start(event.Compile, "linux/amd64", 0)
	f.Start(event.Pull, testDigest("ab"), 3_400_000).End(nil, "cached")
	pull := f.Start(event.Pull, testDigest("cd"), 40_000_000)
	unknown := f.Start(event.Load, "docker", 0)
	unknown.Add(5)
	compile.Message("go: downloading golang.org/x/sync v0.24.0")
	for range 10 { // 4 MB a second
		l.pass(time.Second)
		pull.Add(4_000_000)
	}
	pull.End(nil, "")
	fast := f.Start(event.Push, "server:v1", 40_000_000)
	for range 4 {
		l.pass(300 * time.Millisecond)
		fast.Add(10_000_000)
	}
	fast.End(nil, testDigest("ef"))
	l.pass(time.Minute)
	unknown.End(nil, "server:latest")
	compile.Message("# example.com/server\r")
	compile.End(fmt.Errorf("go build: exit status 1\nsecond line"), "")
	f.Start(event.Layer, "/app/\x1b[2Jserver\n", 0).End(nil, "")
	want := `resolve alpine: docker.io/library/alpine@sha256:1a1a1a1a1a1a, 0.3s
compile linux/amd64: started
pull sha256:abababababab: cached, 3.4 MB
load docker: started
go: downloading golang.org/x/sync v0.24.0
pull sha256:cdcdcdcdcdcd: started, 40.0 MB
pull sha256:cdcdcdcdcdcd: 30%, 12.0/40.0 MB, 4.0 MB/s
pull sha256:cdcdcdcdcdcd: 50%, 20.0/40.0 MB, 4.0 MB/s
pull sha256:cdcdcdcdcdcd: 80%, 32.0/40.0 MB, 4.0 MB/s
pull sha256:cdcdcdcdcdcd: done, 40.0 MB, 10.0s
push server:v1: started, 40.0 MB
push server:v1: sha256:efefefefefef, 40.0 MB, 1.2s
load docker: server:latest, 5 B, 1m11s
# example.com/server` + "\r" + `
compile linux/amd64: failed, 1m11s
layer /app/?[2Jserver: done
`
	if diff := cmp.Diff(want, string(l.frame(l.now, true))); diff != "" {
		t.Errorf("plain (-want +got):\n%s", diff)
	}
	if b := l.frame(l.now, true); len(b) > 0 {
		t.Errorf("written twice: %q", b)
	}
}
