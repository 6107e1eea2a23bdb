package output_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	remotetransport "github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/registry/faulty"
)

// pushEndpoints are those that a push asks. A push of an image on a base of the
// same registry asks to mount as well.
var pushEndpoints = []faulty.Endpoint{
	faulty.Ping, faulty.Token, faulty.ManifestHead, faulty.BlobHead, faulty.Mount,
	faulty.UploadStart, faulty.UploadData, faulty.UploadCommit, faulty.ManifestPut,
}

type loggedIn struct{}

func (loggedIn) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "user", Password: "secret"}, nil
}

// faultyPush is a push to a registry that is about to fail.
type faultyPush struct {
	reg    *faulty.Registry
	events recorder
	// old is what the tags stand for before.
	old, want image.Result
	tags      []string
}

// faultyLayers are the same for all tests.
var faultyLayers = sync.OnceValues(func() (map[string]v1.Layer, error) {
	layers := map[string]v1.Layer{}
	for name, size := range map[string]int64{"old": 1000, "common": 200_000, "amd64": 50_000, "arm64": 50_000} {
		l, err := random.Layer(size, types.OCIUncompressedLayer)
		if err != nil {
			return nil, err
		}
		layers[name] = l
	}
	return layers, nil
})

// newFaultyPush prepares a push of two platforms to two repositories.
func newFaultyPush(t *testing.T) *faultyPush {
	t.Helper()
	layers, err := faultyLayers()
	if err != nil {
		t.Fatal(err)
	}
	p := &faultyPush{reg: faulty.NewWithTokens(t, "user", "secret")}
	p.tags = []string{p.reg.Host + "/a:v1", p.reg.Host + "/a:v2", p.reg.Host + "/b:v1"}
	random, err := random.Image(1000, 1)
	if err != nil {
		t.Fatal(err)
	}
	base := ref(t, p.reg.Host+"/base:v1")
	if err := remote.Write(base, random, remote.WithAuthFromKeychain(loggedIn{})); err != nil {
		t.Fatal(err)
	}
	found, err := remote.Image(base, remote.WithAuthFromKeychain(loggedIn{}))
	if err != nil {
		t.Fatal(err)
	}
	p.old = newResult("old", []image.Platform{newImage(t, amd64, layers["old"])}, p.tags...)
	if err := p.push(t, p.old); err != nil {
		t.Fatal(err)
	}
	p.want = newResult("new", []image.Platform{
		onBase(t, amd64, found, layers["common"], layers["amd64"]),
		onBase(t, arm64, found, layers["common"], layers["arm64"]),
	}, p.tags...)
	for _, e := range pushEndpoints {
		p.reg.Asked(e)
	}
	return p
}

func ref(t *testing.T, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func (p *faultyPush) push(t *testing.T, r image.Result) error {
	t.Helper()
	c := &registry.Client{
		Keychain: loggedIn{}, Progress: p.events.Event,
		Wait: func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) },
	}
	_, err := (&output.Registry{Client: c, Jobs: 4, Progress: p.events.Event}).Write(t.Context(), []image.Result{r})
	return err
}

// check wants all tags to stand for r, of which all has to be there.
func (p *faultyPush) check(t *testing.T, r image.Result) {
	t.Helper()
	p.reg.Clear()
	for _, tag := range p.tags {
		desc, err := remote.Get(ref(t, tag), remote.WithAuthFromKeychain(loggedIn{}))
		if err != nil {
			t.Fatal(err)
		}
		if desc.Digest != digestOf(t, r) {
			t.Errorf("%s is %s, want %s", tag, desc.Digest, digestOf(t, r))
		}
		if r.Index == nil {
			continue
		}
		if err := validateRemote(desc); err != nil {
			t.Errorf("validating %s: %v", tag, err)
		}
	}
}

func validateRemote(desc *remote.Descriptor) error {
	idx, err := desc.ImageIndex()
	if err != nil {
		return err
	}
	return validate.Index(idx, validate.Fast)
}

// TestPushFaultsSurvived has each request of a push fail in passing.
func TestPushFaultsSurvived(t *testing.T) {
	faults := map[string]faulty.Fault{
		"429, in seconds":  faulty.Status(429, "Retry-After", "5"),
		"429, at a date":   faulty.RetryAt(429, 5*time.Second),
		"500":              faulty.Status(500),
		"502":              faulty.Status(502),
		"503":              faulty.Status(503),
		"504":              faulty.Status(504),
		"reset":            faulty.Reset(0),
		"reset mid-upload": faulty.Reset(50_000),
		"reset afterwards": faulty.LostAnswer,
		"504 afterwards":   faulty.LateStatus(504),
	}
	for name, fault := range faults {
		for _, e := range pushEndpoints {
			t.Run(string(e)+" "+name, func(t *testing.T) {
				t.Parallel()
				p := newFaultyPush(t)
				p.reg.Inject(e, 2, fault)
				if err := p.push(t, p.want); err != nil {
					t.Fatal(err)
				}
				if p.reg.Left() > 0 {
					t.Error("the fault did not happen")
				}
				p.check(t, p.want)
				for _, line := range p.events.summary() {
					if strings.Contains(line, "failed") {
						t.Errorf("an upload that was done failed: %s", line)
					}
				}
				// A reset on a connection that was used before is net/http's affair.
				if !strings.HasPrefix(name, "reset") && !slices.ContainsFunc(p.events.summary(), func(s string) bool { return strings.Contains(s, ", trying again in ") }) {
					t.Errorf("nothing was said of it: %q", p.events.summary())
				}
			})
		}
	}
}

// TestPushFaultsTokens has the token expire before each request.
func TestPushFaultsTokens(t *testing.T) {
	for _, e := range pushEndpoints[2:] {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			p := newFaultyPush(t)
			p.reg.Inject(e, 1, p.reg.Tokens.Expired)
			if err := p.push(t, p.want); err != nil {
				t.Fatal(err)
			}
			p.check(t, p.want)
		})
	}
}

// TestPushFaultsMoveNoTag ends a push at every request in turn, with a fault
// that stays. What the tags stood for, they still do.
func TestPushFaultsMoveNoTag(t *testing.T) {
	faults := map[string]struct {
		fault faulty.Fault
		code  int
	}{
		"400":   {faulty.Status(400), 400},
		"401":   {faulty.Status(401), 401},
		"403":   {faulty.Status(403), 403},
		"404":   {faulty.Status(404), 404},
		"429":   {faulty.Status(429, "Retry-After", "86400"), 429},
		"503":   {faulty.Status(503), 503},
		"reset": {faulty.Reset(1000), 0},
	}
	for name, tt := range faults {
		for _, e := range pushEndpoints {
			if e == faulty.Mount || tt.code == 404 && (e == faulty.ManifestHead || e == faulty.BlobHead) || tt.code == 403 && e == faulty.ManifestHead {
				continue // it is uploaded then
			}
			for _, skip := range []int{0, 2} {
				t.Run(fmt.Sprint(e, " ", name, " after ", skip), func(t *testing.T) {
					t.Parallel()
					p := newFaultyPush(t)
					p.reg.Inject(e, skip, func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
					// Only what comes before the tags.
					p.reg.InjectAt(e, untagged(e), faulty.Always, tt.fault)
					err := p.push(t, p.want)
					if err == nil {
						if p.reg.Asked(e) > skip && e != faulty.Ping && e != faulty.Token {
							t.Error("no error")
						}
						return // there are not so many requests of the kind
					}
					if !strings.HasPrefix(err.Error(), "pushing to "+p.reg.Host+"/") {
						t.Errorf("got %v", err)
					}
					if te := (*remotetransport.Error)(nil); tt.code > 0 && name != "401" && (!errors.As(err, &te) || te.StatusCode != tt.code) {
						t.Errorf("got %v, want an answer of status %d", err, tt.code)
					}
					p.check(t, p.old)
				})
			}
		}
	}
}

// untagged is what the paths of a request have that are about no tag.
func untagged(e faulty.Endpoint) string {
	if e == faulty.ManifestPut || e == faulty.ManifestHead {
		return "/manifests/sha256:"
	}
	return ""
}

// TestPushFaultsNotMultiplied counts the uploads that there are in vain.
func TestPushFaultsNotMultiplied(t *testing.T) {
	p := newFaultyPush(t)
	one := newLayer(t, "one", 100_000)
	p.want = newResult("one", []image.Platform{newImage(t, amd64, one)}, p.tags[0])
	var uploads atomic.Int32
	p.reg.Inject(faulty.UploadData, faulty.Always, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.ContentLength < 100_000 { // the config
			next.ServeHTTP(w, r)
			return
		}
		uploads.Add(1)
		faulty.Status(503)(w, r, next)
	})
	err := p.push(t, p.want)
	if err == nil || !strings.Contains(err.Error(), "this is fault 503") {
		t.Errorf("got %v", err)
	}
	if got := uploads.Load(); got != 5 {
		t.Errorf("%d uploads of the layer, want 5", got)
	}
	p.check(t, p.old)
	// What is there of it is counted from the start each time.
	size, err := one.Size()
	if err != nil {
		t.Fatal(err)
	}
	line := matching(p.events.summary(), digestOf(t, one).Hex[:12])
	if want := fmt.Sprintf("failed %d/%[1]d ", size); len(line) != 1 || !strings.Contains(line[0], want) {
		t.Errorf("events %q, want %s in it", line, want)
	}
}

// TestPushFaultsAlone has one of several uploads break. The others do not start
// over.
func TestPushFaultsAlone(t *testing.T) {
	p := newFaultyPush(t)
	p.reg.Inject(faulty.UploadData, 1, faulty.Reset(10))
	if err := p.push(t, p.want); err != nil {
		t.Fatal(err)
	}
	// In each repository: the common layer, one for each platform, two configs;
	// what the second one has is mounted, but for the configs.
	if got := p.reg.Asked(faulty.UploadData); got != 5+2+1 {
		t.Errorf("%d uploads, want one more than there are things to upload", got)
	}
	p.check(t, p.want)
}

// TestPushRequests counts the requests of a push that meets no fault.
func TestPushRequests(t *testing.T) {
	p := newFaultyPush(t)
	p.want.Tags = []string{p.tags[0], p.tags[1]}
	if err := p.push(t, p.want); err != nil {
		t.Fatal(err)
	}
	got := map[faulty.Endpoint]int{}
	for _, e := range pushEndpoints {
		got[e] = p.reg.Asked(e)
	}
	want := map[faulty.Endpoint]int{
		faulty.Ping: 2, faulty.Token: 2, // once more for a token that allows to mount from the base
		faulty.ManifestHead: 3 + 2, // the index, two manifests, two tags
		faulty.ManifestPut:  3 + 2,
		faulty.BlobHead:     1 + 3 + 2, // the base's layer, own layers, configs
		faulty.Mount:        1,
		faulty.UploadStart:  3 + 2,
		faulty.UploadData:   3 + 2,
		faulty.UploadCommit: 3 + 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
