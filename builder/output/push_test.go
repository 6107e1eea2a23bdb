package output_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/registry"
)

// client knows nobody's credentials.
func client() *registry.Client { return &registry.Client{Keychain: authn.NewMultiKeychain()} }

func push(t testing.TB, results ...image.Result) []string {
	t.Helper()
	r := &output.Registry{Client: client(), Jobs: 4}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	written, err := r.Write(t.Context(), results)
	if err != nil {
		t.Fatal(err)
	}
	var where []string
	for _, w := range written {
		if w.Kind != "registry" || w.Size != 0 {
			t.Errorf("written %+v", w)
		}
		where = append(where, w.Where)
	}
	return where
}

// tagged is r under other tags.
func tagged(r image.Result, tags ...string) image.Result {
	r.Tags = tags
	return r
}

func TestPush(t *testing.T) {
	reg := newRegistry(t)
	one := tagged(single(t)[0], reg.host+"/team/server:v1", reg.host+"/team/server:v2", reg.host+"/other/server")
	several := multi(t, reg.host+"/team/multi:v1")
	results := []image.Result{one, several}
	digest := digestOf(t, one).String()
	want := []string{
		reg.host + "/team/server@" + digest,
		reg.host + "/other/server@" + digest,
		reg.host + "/team/multi@" + digestOf(t, several).String(),
	}
	if diff := cmp.Diff(want, push(t, results...)); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	if got := matching(reg.take(), "^GET"); len(got) > 0 {
		t.Errorf("something was downloaded: %q", got)
	}
	for _, r := range results {
		for _, tag := range r.Tags {
			if got := reg.pull(t, strings.TrimPrefix(tag, reg.host+"/")); got != digestOf(t, r) {
				t.Errorf("%s is %s", tag, got)
			}
		}
	}
	reg.take()

	// The second time there is nothing to do but to look.
	if diff := cmp.Diff(want, push(t, results...)); diff != "" {
		t.Errorf("written the second time (-want +got):\n%s", diff)
	}
	log := reg.take()
	looked := []string{
		"HEAD other/server/manifests/" + digest, "HEAD other/server/manifests/latest",
		"HEAD team/multi/manifests/" + digestOf(t, several).String(), "HEAD team/multi/manifests/v1",
		"HEAD team/server/manifests/" + digest, "HEAD team/server/manifests/v1", "HEAD team/server/manifests/v2",
	}
	slices.Sort(log)
	slices.Sort(looked)
	if diff := cmp.Diff(looked, log); diff != "" {
		t.Errorf("requests the second time (-want +got):\n%s", diff)
	}
}

// One changed layer is all that is sent, and the manifest is asked for first.
func TestPushChanged(t *testing.T) {
	reg := newRegistry(t)
	kept, changed := newLayer(t, "kept", 1000), newLayer(t, "changed", 1000)
	tag := reg.host + "/server:v1"
	push(t, newResult("server", []image.Platform{newImage(t, amd64, kept, newLayer(t, "old", 1000))}, tag))
	reg.take()
	unread := opened{kept, func(v1.Layer) (io.ReadCloser, error) { return nil, errors.New("the layer was opened") }}
	r := newResult("server", []image.Platform{newImage(t, amd64, unread, changed)}, tag)
	push(t, r)
	log := reg.take()
	if want := "HEAD server/manifests/" + digestOf(t, r).String(); log[0] != want {
		t.Errorf("the first request is %s, want %s", log[0], want)
	}
	m, err := r.Images[0].Image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"PUT server upload " + digestOf(t, changed).String(), "PUT server upload " + m.Config.Digest.String()}
	got := matching(log, "^PUT server upload")
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("uploads (-want +got):\n%s", diff)
	}
	if got := reg.pull(t, "server:v1"); got != digestOf(t, r) {
		t.Errorf("the tag stands for %s", got)
	}
}

// Tags move when everything is there, and not at all if one manifest is missing.
func TestPushTagsLast(t *testing.T) {
	old := newResult("old", []image.Platform{newImage(t, amd64, newLayer(t, "old", 1000))})
	several, one := multi(t), single(t)[0]
	child := digestOf(t, several.Images[1].Image).String()
	tests := []struct{ name, refused string }{
		{"a platform in a later repository", "b/manifests/" + child},
		{"the index of it", "b/manifests/" + digestOf(t, several).String()},
		{"another image", "d/manifests/" + digestOf(t, one).String()},
		{"nothing", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg, other := newRegistry(t), newRegistry(t)
			tags := []string{reg.host + "/a:v1", reg.host + "/b:v1", reg.host + "/b:v2", other.host + "/c:v1"}
			push(t, tagged(old, append(slices.Clone(tags), reg.host+"/d:v1")...))
			reg.take()
			reg.setIntercept(func(w http.ResponseWriter, req *http.Request) bool {
				refused := req.Method == http.MethodPut && req.URL.Path == "/v2/"+tt.refused
				if refused {
					http.Error(w, `{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}`, http.StatusBadRequest)
				}
				return refused
			})
			results := []image.Result{tagged(several, tags...), tagged(one, reg.host+"/d:v1")}
			_, err := (&output.Registry{Client: client(), Jobs: 4}).Write(t.Context(), results)
			puts := matching(reg.take(), "^PUT ./manifests/")
			first := slices.IndexFunc(puts, func(line string) bool { return strings.Contains(line, "manifests/v") })
			want, wantOne := digestOf(t, several), digestOf(t, one)
			if tt.refused == "" {
				if err != nil {
					t.Fatal(err)
				}
				if late := matching(puts[first:], "sha256:"); len(late) > 0 || len(puts[first:]) != 4 {
					t.Errorf("manifests after the first tag: %q", puts[first:])
				}
			} else {
				path := "/v2/" + tt.refused
				repo, _, _ := strings.Cut(tt.refused, "/")
				wantError(t, err, "pushing to "+reg.host+"/"+repo+": PUT http://"+reg.host+path+": MANIFEST_INVALID: no")
				if first >= 0 {
					t.Errorf("tags were put: %q", puts)
				}
				want, wantOne = digestOf(t, old), digestOf(t, old)
			}
			for _, tag := range []string{"a:v1", "b:v1", "b:v2"} {
				if got := reg.pull(t, tag); got != want {
					t.Errorf("%s is %s", tag, got)
				}
			}
			if got := other.pull(t, "c:v1"); got != want {
				t.Errorf("c:v1 in the other registry is %s", got)
			}
			if got := reg.pull(t, "d:v1"); got != wantOne {
				t.Errorf("d:v1 is %s", got)
			}
		})
	}
}

func TestPushTagRefused(t *testing.T) {
	reg := newRegistry(t)
	reg.setIntercept(func(w http.ResponseWriter, req *http.Request) bool {
		refused := req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, "/manifests/v1")
		if refused {
			http.Error(w, `{"errors":[{"code":"DENIED","message":"tag is immutable"}]}`, http.StatusConflict)
		}
		return refused
	})
	_, err := (&output.Registry{Client: client()}).Write(t.Context(), []image.Result{tagged(single(t)[0], reg.host+"/server:v1")})
	want := fmt.Sprintf("pushing to %s/server: tag v1: PUT http://%[1]s/v2/server/manifests/v1: DENIED: tag is immutable", reg.host)
	wantError(t, err, want)
}

// A base's layers are mounted from where the base was found, and never read.
func TestPushMountsBase(t *testing.T) {
	reg := newRegistry(t)
	dockerBase, err := random.Image(2000, 2)
	if err != nil {
		t.Fatal(err)
	}
	base := reg.base(t, "base/alpine:v1", dockerBase)
	tests := []struct {
		name, repo string
		refused    bool
		status     int
		// mounted from, and whether it comes to an upload.
		mounts, uploads int
	}{
		{"mounted", "team/a", false, 0, 2, 0},
		{"refused", "team/b", true, 0, 2, 2},
		{"answered with an error", "team/c", true, http.StatusForbidden, 2, 2},
		{"the base's own repository", "base/alpine", false, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg.mu.Lock()
			reg.mounts = !tt.refused
			reg.mu.Unlock()
			reg.setIntercept(func(w http.ResponseWriter, req *http.Request) bool {
				if tt.status == 0 || req.URL.Query().Get("mount") == "" {
					return false
				}
				w.WriteHeader(tt.status)
				return true
			})
			own := newLayer(t, "own", 1000)
			r := newResult("x", []image.Platform{onBase(t, amd64, base, own)}, reg.host+"/"+tt.repo+":own")
			reg.take()
			push(t, r)
			log := reg.take()
			m, err := r.Images[0].Image.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			var mounts, uploads int
			for _, l := range m.Layers[:2] {
				mounts += len(matching(log, "^MOUNT "+tt.repo+" from base/alpine: "+l.Digest.String()))
				uploads += len(matching(log, "^PUT "+tt.repo+" upload "+l.Digest.String()))
			}
			if mounts != tt.mounts || uploads != tt.uploads {
				t.Errorf("%d mounts and %d uploads, want %d and %d: %q", mounts, uploads, tt.mounts, tt.uploads, log)
			}
			if got := matching(log, "^GET base/alpine/blobs"); len(got) != tt.uploads {
				t.Errorf("downloads of the base: %q", got)
			}
			if got := reg.pull(t, tt.repo+":own"); got != digestOf(t, r) {
				t.Errorf("pulled %s", got)
			}
		})
	}
	t.Run("another registry", func(t *testing.T) {
		other := newRegistry(t)
		r := newResult("x", []image.Platform{onBase(t, amd64, base)}, other.host+"/x:v1")
		push(t, r)
		if got := matching(other.take(), "^MOUNT"); len(got) > 0 {
			t.Errorf("mounts from another registry: %q", got)
		}
		other.pull(t, "x:v1")
	})
}

// However many repositories there are, each layer is sent to a registry once.
func TestPushMountsOwn(t *testing.T) {
	reg, other := newRegistry(t), newRegistry(t)
	common := newLayer(t, "common", 1000)
	named := func(name string) image.Result {
		images := []image.Platform{
			newImage(t, amd64, common, newLayer(t, name+" amd64", 1000)),
			newImage(t, arm64, common, newLayer(t, name+" arm64", 1000)),
		}
		return newResult(name, images, reg.host+"/"+name+":v1", reg.host+"/copy/"+name+":v1", other.host+"/"+name+":v1")
	}
	results := []image.Result{named("a"), named("b"), named("c")}
	push(t, results...)
	for _, where := range []*fakeRegistry{reg, other} {
		uploads := map[string]int{}
		for _, line := range matching(where.take(), "^PUT .* upload") {
			uploads[line[strings.LastIndex(line, " ")+1:]]++
		}
		for _, r := range results {
			for _, p := range r.Images {
				m, err := p.Image.Manifest()
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range m.Layers {
					if got := uploads[l.Digest.String()]; got != 1 {
						t.Errorf("layer %s was uploaded %d times", l.Digest, got)
					}
				}
			}
		}
	}
	for _, tag := range []string{"a:v1", "copy/a:v1", "b:v1", "copy/b:v1", "c:v1", "copy/c:v1"} {
		reg.pull(t, tag)
	}
	other.pull(t, "c:v1")
}

// An image that keeps its slice of layers gets it back as it was.
func TestPushLeavesImage(t *testing.T) {
	reg := newRegistry(t)
	img := newImage(t, amd64, newLayer(t, "server", 1000))
	layers, err := img.Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	own := &keepsLayers{img.Image, layers}
	before := layers[0]
	img.Image = own
	push(t, newResult("x", []image.Platform{img}, reg.host+"/a:v1", reg.host+"/b:v1", reg.host+"/c:v1"))
	if own.layers[0] != before {
		t.Errorf("its layer is a %T now", own.layers[0])
	}
}

type keepsLayers struct {
	v1.Image
	layers []v1.Layer
}

func (k *keepsLayers) Layers() ([]v1.Layer, error) { return k.layers, nil }

func TestPushForeignLayer(t *testing.T) {
	reg := newRegistry(t)
	img := newImage(t, amd64, foreign{newLayer(t, "foreign", 1000)}, newLayer(t, "own", 1000))
	r := newResult("x", []image.Platform{img}, reg.host+"/x:v1")
	push(t, r)
	if got := matching(reg.take(), "^PUT x upload"); len(got) != 2 {
		t.Errorf("not only the own layer and the config were uploaded: %q", got)
	}
	desc, err := remote.Get(reg.ref(t, "x:v1"))
	if err != nil || desc.Digest != digestOf(t, r) {
		t.Errorf("got %v, %v", desc, err)
	}
}

// What was opened from a file is pushed as it is.
func TestPushOpened(t *testing.T) {
	reg := newRegistry(t)
	dir := t.TempDir()
	writeLayout(t, dir, multi(t, "multi:v1"))
	f, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := f.Images[0]
	push(t, image.Result{Tags: []string{reg.host + "/multi:v1"}, Images: o.Images, Index: o.Index})
	if got := reg.pull(t, "multi:v1"); got != o.Digest() {
		t.Errorf("pulled %s, want %s", got, o.Digest())
	}
}

// An index may list what is neither an image nor an index, and have a method of
// its own for what it lists.
func TestPushIndex(t *testing.T) {
	reg := newRegistry(t)
	r := multi(t, reg.host+"/a:v1", reg.host+"/b:v1")
	thing := static.NewLayer([]byte("thing"), "application/x-thing")
	r.Index = mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: r.Images[0].Image}, mutate.IndexAddendum{Add: r.Images[1].Image}, mutate.IndexAddendum{Add: thing})
	push(t, r)
	log := reg.take()
	for _, repo := range []string{"a", "b"} {
		l, err := remote.Layer(reg.ref(t, repo+"@"+digestOf(t, thing).String()).(name.Digest))
		if err != nil {
			t.Fatal(err)
		}
		if rc, err := l.Compressed(); err != nil {
			t.Errorf("%s has not got the thing: %v", repo, err)
		} else if err := rc.Close(); err != nil {
			t.Error(err)
		}
		if desc, err := remote.Get(reg.ref(t, repo+":v1")); err != nil || desc.Digest != digestOf(t, r) {
			t.Errorf("got %v, %v", desc, err)
		}
	}
	if got := matching(log, "^MOUNT b from a: "); len(got) != 3 {
		t.Errorf("not all layers were mounted: %q", got)
	}
	r.Index = onlyIndex{r.Index}
	r.Tags = []string{reg.host + "/c:v1"}
	_, err := (&output.Registry{Client: client()}).Write(t.Context(), []image.Result{r})
	wantError(t, err, fmt.Sprintf("pushing to %s/c: finding %s in the index: file does not exist", reg.host, digestOf(t, thing)))
}

// onlyIndex has the methods of an index and no others.
type onlyIndex struct{ imageIndex }

type imageIndex = v1.ImageIndex

// Docker Hub is written docker.io.
func TestPushDockerHub(t *testing.T) {
	reg := newRegistry(t)
	before := remote.DefaultTransport
	t.Cleanup(func() { remote.DefaultTransport = before })
	remote.DefaultTransport = roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host != "index.docker.io" {
			return nil, fmt.Errorf("request to %s", req.URL)
		}
		sent := req.Clone(req.Context())
		sent.URL.Scheme, sent.URL.Host = "http", reg.host
		resp, err := before.RoundTrip(sent)
		if err == nil {
			resp.Request = req
		}
		return resp, err
	})
	r := tagged(single(t)[0], "server:v1", "team/server:v1")
	digest := digestOf(t, r).String()
	want := []string{"docker.io/library/server@" + digest, "docker.io/team/server@" + digest}
	if diff := cmp.Diff(want, push(t, r)); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestPushProgress(t *testing.T) {
	reg := newRegistry(t)
	l, there := newLayer(t, "server", 100_000), newLayer(t, "there", 1000)
	push(t, newResult("x", []image.Platform{newImage(t, amd64, there)}, reg.host+"/x:v1"))
	r := newResult("x", []image.Platform{newImage(t, amd64, there, l)}, reg.host+"/x:v2", reg.host+"/y:v2")
	var events recorder
	if _, err := (&output.Registry{Client: client(), Progress: events.Event}).Write(t.Context(), []image.Result{r}); err != nil {
		t.Fatal(err)
	}
	size, err := l.Size()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("push %s/x %s: started updated done %d/%[3]d", reg.host, digestOf(t, l).Hex[:12], size),
		fmt.Sprintf("push %s/x: started done 0/0 %s", reg.host, digestOf(t, r)),
		fmt.Sprintf("push %s/y: started done 0/0 %s", reg.host, digestOf(t, r)),
	}
	if diff := cmp.Diff(want, events.summary()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A registry that breaks an upload off leaves no task that seems done.
func TestPushBrokenOff(t *testing.T) {
	reg := newRegistry(t)
	reg.setIntercept(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPatch || req.ContentLength < 1<<20 {
			return false
		}
		_, _ = io.CopyN(io.Discard, req.Body, 1<<20)
		w.Header().Set("Connection", "close")
		http.Error(w, `{"errors":[{"code":"SIZE_INVALID","message":"too big"}]}`, http.StatusBadRequest)
		return true
	})
	// More than what is on its way between the two.
	l := newLayer(t, "server", 32<<20)
	r := newResult("x", []image.Platform{newImage(t, amd64, l)}, reg.host+"/x:v1")
	var events recorder
	_, err := (&output.Registry{Client: client(), Progress: events.Event}).Write(t.Context(), []image.Result{r})
	if err == nil || !strings.HasPrefix(err.Error(), "pushing to "+reg.host+"/x: ") {
		t.Errorf("got %v", err)
	}
	lines := events.summary()
	for _, line := range lines {
		if !strings.Contains(line, "started") || strings.Contains(line, "done") {
			t.Errorf("event %s", line)
		}
	}
	want := fmt.Sprintf("push %s/x %s: started updated failed ", reg.host, digestOf(t, l).Hex[:12])
	if got := matching(lines, "^"+want+".* the upload was cut short$"); len(lines) != 2 || len(got) != 1 {
		t.Errorf("events %q", lines)
	}
}

func TestPushRefused(t *testing.T) {
	reg := newRegistry(t)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	downHost := strings.TrimPrefix(down.URL, "http://")
	digest := digestOf(t, single(t)[0]).String()
	answer := func(status int, code string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, req *http.Request) bool {
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			} else if req.URL.Path == "/v2/" {
				return false
			}
			http.Error(w, `{"errors":[{"code":"`+code+`","message":"no"}]}`, status)
			return true
		}
	}
	tests := []struct {
		name, tag string
		intercept func(http.ResponseWriter, *http.Request) bool
		status    int
		want      string
	}{
		{"not logged in", reg.host + "/x:v1", answer(401, "UNAUTHORIZED"), 401, "pushing to " + reg.host + "/x: HEAD http://" + reg.host + "/v2/x/manifests/" + digest + ": unexpected status code 401 Unauthorized"},
		{"not allowed", reg.host + "/x:v1", answer(403, "DENIED"), 403, "pushing to " + reg.host + "/x: "},
		{"down", downHost + "/x:v1", nil, 0, `pushing to ` + downHost + `/x: Get "`},
		{"digest", reg.host + "/x@" + digest, nil, 0, "pushing " + reg.host + "/x@" + digest + ": a push needs a tag, not a digest"},
		{"malformed", reg.host + "/X:v1", nil, 0, `malformed reference "` + reg.host + `/X:v1": `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg.setIntercept(tt.intercept)
			written, err := (&output.Registry{Client: client()}).Write(t.Context(), []image.Result{tagged(single(t)[0], tt.tag)})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || written != nil {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if te, ok := errors.AsType[*transport.Error](err); ok != (tt.status != 0) || ok && te.StatusCode != tt.status {
				t.Errorf("a caller sees %v", te)
			}
		})
	}
	t.Run("offline", func(t *testing.T) {
		r := &output.Registry{Client: &registry.Client{Offline: true}}
		const want = "pushing: not allowed to use the network"
		wantError(t, r.Check(), want)
		_, err := r.Write(t.Context(), []image.Result{tagged(single(t)[0], reg.host+"/x:v1")})
		wantError(t, err, want)
	})
}

func TestPushCancelled(t *testing.T) {
	reg := newRegistry(t)
	results := []image.Result{tagged(multi(t), reg.host+"/x:v1", reg.host+"/y:v1")}
	for _, at := range []string{"HEAD /v2/x/manifests/sha256:", "PATCH /v2/x/blobs/uploads/", "PUT /v2/y/manifests/sha256:"} {
		t.Run(at, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			reg.setIntercept(func(_ http.ResponseWriter, req *http.Request) bool {
				if strings.HasPrefix(req.Method+" "+req.URL.Path, at) {
					cancel(errBoom)
					_, _ = io.Copy(io.Discard, req.Body) // only then a server watches the client
					<-req.Context().Done()
					return true
				}
				return false
			})
			var events recorder
			_, err := (&output.Registry{Client: client(), Progress: events.Event}).Write(ctx, results)
			wantError(t, err, "boom")
			for _, line := range events.summary() {
				if strings.HasSuffix(line, "started") || strings.HasSuffix(line, "updated") {
					t.Errorf("a task that never ends: %s", line)
				}
			}
		})
	}
	reg.setIntercept(nil)
	if got := matching(reg.take(), "manifests/v1"); len(got) > 0 {
		t.Errorf("tags were touched: %q", got)
	}
}

func TestPushUnreadableImage(t *testing.T) {
	for _, method := range []string{"layers", "layer digest", "manifest", "digest"} {
		t.Run(method, func(t *testing.T) {
			reg := newRegistry(t)
			img := newImage(t, amd64, newLayer(t, "server", 1000))
			img.Image = broken{img.Image, method}
			for _, images := range [][]image.Platform{{img}, {img, newImage(t, arm64)}} {
				r := newResult("server", images, reg.host+"/x:v1")
				if _, err := (&output.Registry{Client: client()}).Write(t.Context(), []image.Result{r}); !errors.Is(err, errBoom) {
					t.Errorf("got %v", err)
				}
			}
			if got := matching(reg.take(), "^PUT x/manifests/v1"); len(got) > 0 {
				t.Errorf("the tag was put")
			}
		})
	}
}

// Several pushes at once share images, a client and what is known of the registry.
func TestPushConcurrently(t *testing.T) {
	reg := newRegistry(t)
	var opens atomic.Int32
	common := opened{newLayer(t, "common", 1000), func(l v1.Layer) (io.ReadCloser, error) {
		opens.Add(1)
		return l.Compressed()
	}}
	var results []image.Result
	for i := range 4 {
		images := []image.Platform{newImage(t, amd64, common, newLayer(t, fmt.Sprint(i), 1000)), newImage(t, arm64, common)}
		r := newResult(fmt.Sprint(i), images)
		for j := range 3 {
			r.Tags = append(r.Tags, fmt.Sprintf("%s/%d-%d:v1", reg.host, i, j))
		}
		results = append(results, r)
	}
	c := client()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var events recorder
			if _, err := (&output.Registry{Client: c, Jobs: 8, Progress: events.Event}).Write(t.Context(), results); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := opens.Load(); got != 1 {
		t.Errorf("the common layer was read %d times", got)
	}
	for _, r := range results {
		for _, tag := range r.Tags {
			reg.pull(t, strings.TrimPrefix(tag, reg.host+"/"))
		}
	}
}
