package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/registry/faulty"
)

// waits are those of a client that has all the time in the world.
type waits struct {
	mu       sync.Mutex
	all      []time.Duration
	messages []string
	// then is called at each wait.
	then func()
}

func (w *waits) wait(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
	if w.then != nil {
		w.then()
	}
	return context.Cause(ctx)
}

func (w *waits) event(e event.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Phase == event.Registry && e.State == event.Message {
		w.messages = append(w.messages, e.Text)
	}
}

func (w *waits) taken() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// impatient is a client that does not wait.
func impatient() (*registry.Client, *waits) {
	w := &waits{}
	return &registry.Client{Keychain: noKeychain, Wait: w.wait, Progress: w.event}, w
}

// password is that of a keychain for everything.
type password struct{ user, word string }

func (p password) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: p.user, Password: p.word}, nil
}

// content is large enough not to be in a socket's buffer alone.
var content = bytes.Repeat([]byte("0123456789abcdef"), 16<<10)

func smallImage(t *testing.T, layer v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layer)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// pushAndPull talks with every endpoint there is, and returns what it has read.
func pushAndPull(t *testing.T, c *registry.Client, host string) ([]byte, error) {
	t.Helper()
	layer := static.NewLayer(content, types.OCILayer)
	img := smallImage(t, layer)
	a, b := parse(t, c, host+"/a:v1"), parse(t, c, host+"/b:v1")
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := upload(t, c, a.Context(), layer); err != nil {
		return nil, err
	}
	mountable := &remote.MountableLayer{Layer: layer, Reference: a.Context().Digest(digest.String())}
	if err := upload(t, c, b.Context(), mountable); err != nil {
		return nil, err
	}
	pusher, err := c.Pusher(a.Context().Registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := pusher.Put(t.Context(), a, img); err != nil {
		return nil, err
	}
	return pull(t, c, a, v1.Descriptor{Digest: digest, Size: int64(len(content))})
}

func upload(t *testing.T, c *registry.Client, repo name.Repository, l v1.Layer) error {
	t.Helper()
	pusher, err := c.Pusher(repo.Registry)
	if err != nil {
		t.Fatal(err)
	}
	return c.Restart(t.Context(), func(ctx context.Context) error { return pusher.Upload(ctx, repo, l) })
}

func pull(t *testing.T, c *registry.Client, ref name.Reference, desc v1.Descriptor) (_ []byte, err error) {
	t.Helper()
	puller, err := c.Puller(ref.Context().Registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := puller.Head(t.Context(), ref); err != nil {
		return nil, err
	}
	if err := c.Restart(t.Context(), func(ctx context.Context) error {
		_, err := puller.Get(ctx, ref)
		return err
	}); err != nil {
		return nil, err
	}
	l, err := puller.Layer(t.Context(), ref.Context().Digest(desc.Digest.String()))
	if err != nil {
		return nil, err
	}
	rc, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	rc = c.Resume(t.Context(), ref.Context(), desc, rc)
	defer func() { err = errors.Join(err, rc.Close()) }()
	return io.ReadAll(rc)
}

var endpoints = []faulty.Endpoint{
	faulty.Ping, faulty.Token, faulty.ManifestHead, faulty.ManifestGet, faulty.ManifestPut, faulty.BlobHead,
	faulty.BlobGet, faulty.Mount, faulty.UploadStart, faulty.UploadData, faulty.UploadCommit,
}

// TestSurvived has every endpoint meet every fault that may go away.
func TestSurvived(t *testing.T) {
	faults := map[string]faulty.Fault{
		"429, in seconds":    faulty.Status(429, "Retry-After", "3"),
		"429, at a date":     faulty.RetryAt(429, 3*time.Second),
		"429":                faulty.Status(429),
		"408":                faulty.Status(408),
		"500":                faulty.Status(500),
		"502":                faulty.Status(502),
		"503":                faulty.Status(503),
		"503, at a date":     faulty.RetryAt(503, 3*time.Second),
		"504":                faulty.Status(504),
		"reset":              faulty.Reset(0),
		"reset in the body":  faulty.Reset(100_000),
		"reset afterwards":   faulty.LostAnswer,
		"504 afterwards":     faulty.LateStatus(504),
		"reset in an answer": faulty.Cut(5),
		"a short answer":     faulty.Short(5),
	}
	for name, fault := range faults {
		for _, e := range endpoints {
			// These two need an answer with a body, that somebody reads.
			if inAnswer := name == "reset in an answer" || name == "a short answer"; inAnswer &&
				e != faulty.ManifestGet && e != faulty.BlobGet && e != faulty.Token {
				continue
			}
			t.Run(string(e)+" "+name, func(t *testing.T) {
				t.Parallel()
				reg := faulty.NewWithTokens(t, "user", "secret")
				c, w := impatient()
				c.Keychain = password{"user", "secret"}
				// What commits and says that it did not has done it the first time.
				times := 2
				if e == faulty.UploadCommit && strings.HasSuffix(name, "afterwards") {
					times = 1
				}
				reg.Inject(e, times, fault)
				got, err := pushAndPull(t, c, reg.Host)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, content) {
					t.Errorf("got %d bytes that are not the %d that there are", len(got), len(content))
				}
				if reg.Left() > 0 {
					t.Error("the fault did not happen")
				}
				// On a connection that was used before, net/http tries it again
				// by itself.
				if n := len(w.taken()); n < 1 || n > times || !strings.HasPrefix(name, "reset") && n < times || len(w.messages) != n {
					t.Errorf("waits %v, messages %q, want %d", w.all, w.messages, times)
				}
			})
		}
	}
}

// TestNotMultiplied counts how often a registry is asked that stays out of
// order, and wants to see its own words.
func TestNotMultiplied(t *testing.T) {
	for _, e := range endpoints {
		for _, code := range []int{429, 503} {
			t.Run(fmt.Sprint(e, " ", code), func(t *testing.T) {
				t.Parallel()
				reg := faulty.NewWithTokens(t, "user", "secret")
				c, w := impatient()
				c.Keychain = password{"user", "secret"}
				reg.Inject(e, faulty.Always, faulty.Status(code))
				_, err := pushAndPull(t, c, reg.Host)
				wants := 5
				if e == faulty.Mount { // what cannot be mounted is uploaded
					if err != nil {
						t.Fatal(err)
					}
				} else {
					te := (*transport.Error)(nil)
					if !errors.As(err, &te) || te.StatusCode != code {
						t.Fatalf("got %v, want an answer of status %d", err, code)
					}
					if e != faulty.ManifestHead && e != faulty.BlobHead { // whose answers have no body
						wantError(t, err, fmt.Sprintf("this is fault %d", code))
					}
				}
				if got := reg.Asked(e); got != wants {
					t.Errorf("asked %d times, want %d", got, wants)
				}
				if got := w.taken(); len(got) != wants-1 {
					t.Errorf("waits %v, want %d", got, wants-1)
				}
			})
		}
	}
}

// TestMountAndUpload has a registry that is asked to mount and is then in no
// better state to take an upload.
func TestMountAndUpload(t *testing.T) {
	reg := faulty.New(t)
	c, w := impatient()
	reg.Inject(faulty.Mount, faulty.Always, faulty.Status(503))
	reg.Inject(faulty.UploadStart, faulty.Always, faulty.Status(503))
	layer := static.NewLayer(content, types.OCILayer)
	from := parse(t, c, reg.Host+"/b")
	err := upload(t, c, parse(t, c, reg.Host+"/a").Context(), &remote.MountableLayer{Layer: layer, Reference: from})
	wantError(t, err, "this is fault 503")
	if mounts, starts := reg.Asked(faulty.Mount), reg.Asked(faulty.UploadStart); mounts != 5 || starts != 1 {
		t.Errorf("asked to mount %d times, and to upload %d times, want 5 and 1", mounts, starts)
	}
	if len(w.taken()) != 4 {
		t.Errorf("waits %v", w.all)
	}
}

// TestPermanent has faults that nothing is gained by waiting for.
func TestPermanent(t *testing.T) {
	for _, code := range []int{400, 401, 403, 404, 405, 409, 413, 501, 507} {
		for _, e := range endpoints {
			t.Run(fmt.Sprint(e, " ", code), func(t *testing.T) {
				t.Parallel()
				reg := faulty.NewWithTokens(t, "user", "secret")
				c, w := impatient()
				c.Keychain = password{"user", "secret"}
				reg.Inject(e, faulty.Always, faulty.Status(code))
				_, err := pushAndPull(t, c, reg.Host)
				if got := w.taken(); len(got) > 0 {
					t.Errorf("waits %v, want none", got)
				}
				switch {
				case e == faulty.Mount, e == faulty.BlobHead && code == 404: // it is uploaded then
					if err != nil {
						t.Error(err)
					}
					return
				case e == faulty.Ping && code == 401: // that is no challenge
					if err == nil {
						t.Error("no error")
					}
					return
				}
				te := (*transport.Error)(nil)
				if !errors.As(err, &te) || te.StatusCode != code {
					t.Fatalf("got %v, want an answer of status %d", err, code)
				}
				if e != faulty.ManifestHead && e != faulty.BlobHead {
					wantError(t, err, fmt.Sprintf("this is fault %d", code))
				}
				if got := reg.Asked(e); got != 1 {
					t.Errorf("asked %d times, want once", got)
				}
			})
		}
	}
}

// TestBackoff is about how long it waits and what it says.
func TestBackoff(t *testing.T) {
	reg := faulty.New(t)
	c, w := impatient()
	reg.Inject(faulty.ManifestHead, 4, faulty.Status(503))
	if _, err := pushAndPull(t, c, reg.Host); err != nil {
		t.Fatal(err)
	}
	if len(w.all) != 4 {
		t.Fatalf("waits %v", w.all)
	}
	for i, d := range w.all {
		base := time.Second << i
		if d < base*3/4 || d > base*5/4 {
			t.Errorf("wait %d is %s, want about %s", i+1, d, base)
		}
		if want := fmt.Sprintf("%s: 503 Service Unavailable, trying again in %s", reg.Host, d); w.messages[i] != want {
			t.Errorf("got  %s\nwant %s", w.messages[i], want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	tests := map[string]struct {
		fault faulty.Fault
		want  []time.Duration // nil where it fails, 0 for the usual wait
	}{
		"seconds":      {faulty.Status(429, "Retry-After", "7"), []time.Duration{7 * time.Second}},
		"at once":      {faulty.Status(429, "Retry-After", "0"), []time.Duration{-1}},
		"a date":       {faulty.RetryAt(429, 90*time.Second), []time.Duration{90 * time.Second}},
		"a past date":  {faulty.RetryAt(429, -time.Hour), []time.Duration{-1}},
		"the longest":  {faulty.Status(503, "Retry-After", "120"), []time.Duration{2 * time.Minute}},
		"an hour":      {faulty.Status(429, "Retry-After", "3600"), nil},
		"in a day":     {faulty.RetryAt(503, 24*time.Hour), nil},
		"an overflow":  {faulty.Status(429, "Retry-After", "99999999999999999999"), []time.Duration{0}},
		"negative":     {faulty.Status(429, "Retry-After", "-1"), []time.Duration{0}},
		"nonsense":     {faulty.Status(429, "Retry-After", "soon"), []time.Duration{0}},
		"not for this": {faulty.Status(404, "Retry-After", "7"), nil},
	}
	for name, tt := range tests {
		for _, e := range []faulty.Endpoint{faulty.ManifestGet, faulty.UploadData} {
			t.Run(name+", "+string(e), func(t *testing.T) {
				t.Parallel()
				reg := faulty.New(t)
				c, w := impatient()
				reg.Inject(e, 1, tt.fault)
				_, err := pushAndPull(t, c, reg.Host)
				if (err == nil) != (tt.want != nil) {
					t.Fatalf("got error %v", err)
				}
				got := w.taken()
				for i, d := range got {
					if i < len(tt.want) && tt.want[i] == 0 && d > 0 {
						got[i] = 0
					} else if d == 0 {
						got[i] = -1
					}
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("waits (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestWaitEnds cancels what waits.
func TestWaitEnds(t *testing.T) {
	cause := errors.New("enough")
	for _, e := range []faulty.Endpoint{faulty.Ping, faulty.ManifestPut, faulty.UploadData, faulty.UploadCommit} {
		t.Run(string(e), func(t *testing.T) {
			reg := faulty.New(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			c := &registry.Client{Keychain: noKeychain, Progress: func(event.Event) { cancel(cause) }} // which really waits
			reg.Inject(e, faulty.Always, faulty.Status(429, "Retry-After", "120"))
			ref := parse(t, c, reg.Host+"/a:v1")
			pusher, err := c.Pusher(ref.Context().Registry)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Restart(ctx, func(ctx context.Context) error {
				layer := static.NewLayer(content, types.OCILayer)
				if err := pusher.Upload(ctx, ref.Context(), layer); err != nil {
					return err
				}
				return pusher.Put(ctx, ref, smallImage(t, layer))
			})
			if !errors.Is(err, cause) {
				t.Errorf("got %v, want %v", err, cause)
			}
		})
	}
}

// TestTokenExpires has the token expire before each kind of request. The body of
// an upload, of which some was sent, is sent again.
func TestTokenExpires(t *testing.T) {
	for _, e := range endpoints {
		if e == faulty.Ping || e == faulty.Token {
			continue
		}
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			reg := faulty.NewWithTokens(t, "user", "secret")
			c, w := impatient()
			c.Keychain = password{"user", "secret"}
			reg.Inject(e, 1, reg.Tokens.Expired)
			got, err := pushAndPull(t, c, reg.Host)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			if reg.Left() > 0 || len(w.taken()) > 0 {
				t.Errorf("%d faults left, waits %v", reg.Left(), w.all)
			}
		})
	}
}

// TestWherever has answers that send the client on, or leave something out.
func TestWherever(t *testing.T) {
	tests := map[string]struct {
		e     faulty.Endpoint
		fault func(reg *faulty.Registry) faulty.Fault
	}{
		"a mount is answered as an upload": {faulty.Mount, func(*faulty.Registry) faulty.Fault {
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.URL.RawQuery = ""
				next.ServeHTTP(w, r)
			}
		}},
		"an absolute location": {faulty.UploadStart, func(reg *faulty.Registry) faulty.Fault {
			return faulty.Location(func(s string) string { return "http://" + reg.Host + s })
		}},
		"a location without a slash": {faulty.UploadStart, func(*faulty.Registry) faulty.Fault {
			return faulty.Location(func(s string) string { return s[strings.LastIndex(s, "/")+1:] })
		}},
		"another host": {faulty.UploadStart, func(reg *faulty.Registry) faulty.Fault {
			return faulty.Location(func(s string) string { return "http://" + elsewhere(reg) + s })
		}},
		"another host, to commit": {faulty.UploadData, func(reg *faulty.Registry) faulty.Fault {
			return faulty.Location(func(s string) string { return "http://" + elsewhere(reg) + s })
		}},
		"a query": {faulty.UploadStart, func(*faulty.Registry) faulty.Fault {
			return faulty.Location(func(s string) string { return s + "?_state=x%2By" })
		}},
		"a redirected blob":     {faulty.BlobGet, func(reg *faulty.Registry) faulty.Fault { return faulty.Redirect(307, "http://"+elsewhere(reg)) }},
		"a redirected manifest": {faulty.ManifestGet, func(reg *faulty.Registry) faulty.Fault { return faulty.Redirect(302, "http://"+elsewhere(reg)) }},
		"no digest": {faulty.ManifestGet, func(*faulty.Registry) faulty.Fault {
			return faulty.Header(func(h http.Header) { h.Del("Docker-Content-Digest") })
		}},
		"a blob without a length": {faulty.BlobGet, func(*faulty.Registry) faulty.Fault {
			return faulty.Header(func(h http.Header) { h.Del("Content-Length") })
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reg := faulty.New(t)
			c, w := impatient()
			reg.Inject(tt.e, 1, tt.fault(reg))
			got, err := pushAndPull(t, c, reg.Host)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			if reg.Left() > 0 || len(w.taken()) > 0 {
				t.Errorf("%d faults left, waits %v", reg.Left(), w.all)
			}
		})
	}
}

// elsewhere is the registry under another name.
func elsewhere(reg *faulty.Registry) string {
	return strings.Replace(reg.Host, "127.0.0.1", "localhost", 1)
}

// TestSlowCommit has a registry that takes its time when it has got a layer.
func TestSlowCommit(t *testing.T) {
	for _, e := range []faulty.Endpoint{faulty.UploadData, faulty.UploadCommit} {
		t.Run(string(e), func(t *testing.T) {
			reg := faulty.New(t)
			c, w := impatient()
			waiting, ready := make(chan struct{}), make(chan struct{})
			reg.Inject(e, 1, func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				close(waiting)
				<-ready
				maps.Copy(rw.Header(), rec.Header())
				rw.WriteHeader(rec.Code)
			})
			var mu sync.Mutex
			var last time.Duration // that the client waits for something
			c.SetTimers(func(d time.Duration, _ func()) func() bool {
				mu.Lock()
				defer mu.Unlock()
				last = d
				return func() bool { return true }
			})
			go func() {
				<-waiting
				mu.Lock()
				defer mu.Unlock()
				if last < 5*time.Minute {
					t.Errorf("the registry may take %s", last)
				}
				close(ready)
			}()
			if err := upload(t, c, parse(t, c, reg.Host+"/a").Context(), static.NewLayer(content, types.OCILayer)); err != nil {
				t.Fatal(err)
			}
			if len(w.taken()) > 0 {
				t.Errorf("waits %v", w.all)
			}
		})
	}
}

// stalls is a clock that runs when a test says so.
type stalls struct {
	mu    sync.Mutex
	over  bool
	next  int
	alive map[int]func()
	// changed is closed when the next timer starts.
	changed chan struct{}
}

// started returns what is closed when another timer starts.
func (s *stalls) started() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *stalls) after(_ time.Duration, f func()) func() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		f()
		return func() bool { return false }
	}
	if s.alive == nil {
		s.alive = map[int]func(){}
	}
	s.next++
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	n := s.next
	s.alive[n] = f
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, ok := s.alive[n]
		delete(s.alive, n)
		return ok
	}
}

// pass has all time pass, until stop.
func (s *stalls) pass() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, f := range s.alive {
		f()
	}
	s.alive = nil
}

func (s *stalls) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = false
}

// TestStalled has connections on which nothing moves any more: before an
// answer, in an answer, and in an upload.
func TestStalled(t *testing.T) {
	for _, e := range endpoints {
		for _, n := range []int{-1, 3} {
			if n >= 0 && e != faulty.BlobGet && e != faulty.ManifestGet && e != faulty.Token {
				continue
			}
			t.Run(fmt.Sprint(e, " ", n), func(t *testing.T) {
				t.Parallel()
				reg := faulty.NewWithTokens(t, "user", "secret")
				c, w := impatient()
				c.Keychain = password{"user", "secret"}
				clock, released := &stalls{}, make(chan struct{}, 8)
				w.then = func() {
					clock.stop()
					released <- struct{}{}
				}
				c.SetTimers(clock.after)
				reg.Inject(e, 1, func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
					if e == faulty.UploadData { // some is taken, and then no more
						_, _ = io.CopyN(io.Discard, r.Body, 1000)
						clock.pass()
						<-released
						return
					}
					reading := clock.started()
					if n < 0 {
						reading = nil // there is nothing to read
					}
					faulty.Stall(n)(rw, r.WithContext(stalling{r.Context(), clock, reading}), next)
				})
				got, err := pushAndPull(t, c, reg.Host)
				if err != nil || !bytes.Equal(got, content) {
					t.Fatalf("got %d bytes, %v", len(got), err)
				}
				if len(w.messages) != 1 || !strings.Contains(w.messages[0], ": the connection has stalled: nothing has moved for 1") {
					t.Errorf("messages %q", w.messages)
				}
			})
		}
	}
}

// stalling is a context that has time pass as soon as somebody waits for it.
type stalling struct {
	context.Context //nolint:containedctx // it is one itself
	clock           *stalls
	// reading is closed when the client reads the answer, nil where there is none.
	reading <-chan struct{}
}

func (s stalling) Done() <-chan struct{} {
	if s.reading != nil {
		<-s.reading
	}
	s.clock.pass()
	return s.Context.Done()
}
