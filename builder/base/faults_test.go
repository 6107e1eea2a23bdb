package base_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/registry/faulty"
)

// impatient is a resolver that does not wait, and says that it would.
func impatient(t *testing.T) (*base.Resolver, *events) {
	t.Helper()
	seen := &events{}
	r := with(newResolver(t).Cache, &registry.Client{
		Wait:     func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) },
		Progress: seen.add,
	})
	r.Progress = seen.add
	return r, seen
}

// long does not compress to nothing.
func long() string {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "%x\n", i*i*7919)
	}
	return b.String()
}

// TestFaultsSurvived has the registry fail in passing at each request that a
// base takes.
func TestFaultsSurvived(t *testing.T) {
	faults := map[string]faulty.Fault{
		"429, in seconds":   faulty.Status(429, "Retry-After", "5"),
		"429, at a date":    faulty.RetryAt(429, 5*time.Second),
		"500":               faulty.Status(500),
		"502":               faulty.Status(502),
		"503":               faulty.Status(503),
		"504":               faulty.Status(504),
		"reset":             faulty.Reset(0),
		"reset in the body": faulty.Cut(50),
		"a short body":      faulty.Short(50),
	}
	text := long()
	for name, fault := range faults {
		for _, e := range []faulty.Endpoint{faulty.Ping, faulty.ManifestHead, faulty.ManifestGet, faulty.BlobGet} {
			if strings.Contains(name, "body") && (e == faulty.Ping || e == faulty.ManifestHead) {
				continue // there is none
			}
			t.Run(string(e)+" "+name, func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				desc := s.image(t, "x", "latest", amd64, text)
				r, seen := impatient(t)
				s.faults.Inject(e, 2, fault)
				img := resolve(t, r, s.host+"/x", amd64)
				if got, err := read(layersOf(t, img)[0]); err != nil || got != gzipped(t, layerOf(t, text)) || digestOf(t, img) != desc.Digest {
					t.Errorf("got %d bytes of %s, %v", len(got), digestOf(t, img), err)
				}
				if s.faults.Left() > 0 {
					t.Error("the fault did not happen")
				}
				said := seen.of(event.Registry)
				if len(said) == 0 || slices.ContainsFunc(said, func(s event.State) bool { return s != event.Message }) {
					t.Errorf("said of it: %v", said)
				}
				if states := seen.of(event.Pull); slices.Contains(states, event.Failed) {
					t.Errorf("a download that was done failed: %v", states)
				}
			})
		}
	}
}

// TestFaultsSaid is about what a person sees.
func TestFaultsSaid(t *testing.T) {
	s := newServer(t)
	s.image(t, "x", "latest", amd64, "text")
	r, seen := impatient(t)
	s.faults.Inject(faulty.ManifestGet, 1, faulty.Status(429, "Retry-After", "5"))
	resolve(t, r, s.host+"/x", amd64)
	want := event.Event{
		Phase: event.Registry, Subject: s.host, State: event.Message,
		Text: s.host + ": 429 Too Many Requests, trying again in 5s",
	}
	if !slices.Contains(seen.all, want) {
		t.Errorf("got %v, want %v in it", seen.all, want)
	}
}

// TestFaultsPermanent wants the registry's own words at once.
func TestFaultsPermanent(t *testing.T) {
	for _, code := range []int{400, 401, 403, 404} {
		for _, e := range []faulty.Endpoint{faulty.ManifestGet, faulty.BlobGet} {
			t.Run(fmt.Sprint(e, " ", code), func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				s.image(t, "x", "latest", amd64, "text")
				r, seen := impatient(t)
				s.faults.Inject(e, faulty.Always, faulty.Status(code))
				_, err := r.Image(t.Context(), s.host+"/x", amd64)
				want := fmt.Sprintf(": %d %s, FAULT: this is fault %d", code, http.StatusText(code), code)
				if te := (*transport.Error)(nil); err == nil || !strings.HasSuffix(err.Error(), want) || !errors.As(err, &te) {
					t.Errorf("got  %v\nwant …%s", err, want)
				}
				if got, said := s.faults.Asked(e), seen.of(event.Registry); got != 1 || len(said) > 0 {
					t.Errorf("asked %d times, said %v", got, said)
				}
			})
		}
	}
}

// TestFaultyContent has content that is not what it should be, at first or only
// where a download goes on. None of it is kept.
func TestFaultyContent(t *testing.T) {
	text := long()
	part := func(fault faulty.Fault) []faulty.Fault { return []faulty.Fault{faulty.Short(1000), fault} }
	tests := map[string]struct {
		e      faulty.Endpoint
		faults []faulty.Fault
		want   string
	}{
		"a manifest":       {faulty.ManifestGet, []faulty.Fault{faulty.Body(faulty.Wrong)}, "does not match requested digest"},
		"a short manifest": {faulty.ManifestGet, []faulty.Fault{faulty.Body(func(b []byte) []byte { return b[:len(b)-1] })}, "does not match requested digest"},
		"a layer":          {faulty.BlobGet, []faulty.Fault{faulty.Body(faulty.Wrong)}, "error verifying sha256 checksum"},
		"a short layer":    {faulty.BlobGet, []faulty.Fault{faulty.Body(func(b []byte) []byte { return b[:100] })}, "error verifying"},
		"a long layer":     {faulty.BlobGet, []faulty.Fault{faulty.Body(func(b []byte) []byte { return append(b, b...) })}, "it has more bytes than it is listed with"},
		"the rest of one":  {faulty.BlobGet, part(faulty.Body(faulty.Wrong)), "sha256:"},
		"too little more":  {faulty.BlobGet, part(faulty.Body(func(b []byte) []byte { return b[:100] })), "sha256:"},
		"too much more":    {faulty.BlobGet, part(faulty.Body(func(b []byte) []byte { return append(b, b...) })), "it has more bytes than it is listed with"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			desc := s.image(t, "x", "latest", amd64, text)
			r, _ := impatient(t)
			bad := desc.Digest
			if tt.e == faulty.BlobGet {
				bad = digestOfLayer(t, resolve(t, newResolver(t), s.host+"/x", amd64))
			}
			for _, fault := range tt.faults {
				s.faults.InjectAt(tt.e, bad.String(), 1, fault)
			}
			img, err := r.Image(t.Context(), s.host+"/x", amd64)
			if err == nil {
				_, err = read(layersOf(t, img)[0])
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if b, err := r.Cache.Blob(bad); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the cache has %v, %v", b, err)
			}
			// It is there the next time.
			if got, err := read(layersOf(t, resolve(t, r, s.host+"/x", amd64))[0]); err != nil || got != gzipped(t, layerOf(t, text)) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestFaultyMirror goes on to the origin when a mirror stays out of order.
func TestFaultyMirror(t *testing.T) {
	for _, e := range []faulty.Endpoint{faulty.Ping, faulty.ManifestHead, faulty.ManifestGet, faulty.BlobGet} {
		t.Run(string(e), func(t *testing.T) {
			mirror, origin := newServer(t), newServer(t)
			mirror.image(t, "x", "latest", amd64, "text")
			desc := origin.image(t, "x", "latest", amd64, "text")
			mirror.faults.Inject(e, faulty.Always, faulty.Status(503))
			r, _ := impatient(t)
			r.Registry.Mirrors = []registry.Mirror{{Host: origin.host, Prefix: mirror.host}}
			img := resolve(t, r, origin.host+"/x", amd64)
			if _, err := read(layersOf(t, img)[0]); err != nil || digestOf(t, img) != desc.Digest {
				t.Errorf("got %s, %v", digestOf(t, img), err)
			}
			if got := mirror.faults.Asked(e); got < 5 {
				t.Errorf("the mirror was asked %d times, want 5 for each thing", got)
			}
		})
	}
}

func digestOfLayer(t *testing.T, img v1.Image) v1.Hash {
	t.Helper()
	h, err := layersOf(t, img)[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}
