package output_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

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

// Docker Hub is written docker.io.
func TestPushDockerHub(t *testing.T) {
	reg := newRegistry(t)
	transport(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		if req.URL.Host != "index.docker.io" {
			return nil, fmt.Errorf("request to %s", req.URL)
		}
		sent := req.Clone(req.Context())
		sent.URL.Scheme, sent.URL.Host = "http", reg.host
		resp, err := next.RoundTrip(sent)
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

// transport lets f carry out the requests of clients that are made from now on.
func transport(t *testing.T, f func(next http.RoundTripper, req *http.Request) (*http.Response, error)) {
	t.Helper()
	next := remote.DefaultTransport
	t.Cleanup(func() { remote.DefaultTransport = next })
	remote.DefaultTransport = roundTripper(func(req *http.Request) (*http.Response, error) { return f(next, req) })
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
