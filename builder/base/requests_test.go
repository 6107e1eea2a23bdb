package base_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/registry"
)

// TestRequests is about what a base costs.
func TestRequests(t *testing.T) {
	s := newServer(t)
	desc := s.image(t, "one", "latest", amd64, "text")
	s.index(t, "many", "latest", s.image(t, "many", "", arm64, "other"), s.image(t, "many", "", amd64, "text"))
	tests := map[string]struct {
		name        string
		first, then []string
	}{
		"a tag":    {"/one", []string{"HEAD manifests", "GET manifests", "GET blobs"}, []string{"HEAD manifests"}},
		"a digest": {"/one@" + desc.Digest.String(), []string{"GET manifests", "GET blobs"}, nil},
		"an index": {"/many", []string{"HEAD manifests", "GET manifests", "GET manifests", "GET blobs"}, []string{"HEAD manifests"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newResolver(t)
			s.asked()
			for range 2 {
				resolve(t, r, s.host+tt.name, amd64)
			}
			if diff := cmp.Diff(tt.first, s.asked()); diff != "" {
				t.Errorf("with nothing in the cache (-want +got):\n%s", diff)
			}
			resolve(t, with(r.Cache, &registry.Client{}), s.host+tt.name, amd64)
			if diff := cmp.Diff(tt.then, s.asked()); diff != "" {
				t.Errorf("from the cache (-want +got):\n%s", diff)
			}
			// Even the layers need no request once they were read.
			for range 2 {
				for _, l := range layersOf(t, resolve(t, with(r.Cache, &registry.Client{}), s.host+tt.name, amd64)) {
					if _, err := read(l); err != nil {
						t.Fatal(err)
					}
				}
			}
			want := append(append(append([]string(nil), tt.then...), "GET blobs"), tt.then...)
			if diff := cmp.Diff(want, s.asked()); diff != "" {
				t.Errorf("with layers (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMovedTag has a tag that points to something else after a while.
func TestMovedTag(t *testing.T) {
	s := newServer(t)
	was := s.image(t, "x", "latest", amd64, "old")
	r := newResolver(t)
	if got := digestOf(t, resolve(t, r, s.host+"/x", amd64)); got != was.Digest {
		t.Fatalf("got %s, want %s", got, was.Digest)
	}
	is := s.image(t, "x", "latest", amd64, "new")
	if got := digestOf(t, resolve(t, r, s.host+"/x", amd64)); got != was.Digest {
		t.Errorf("got %s within one build, want %s", got, was.Digest)
	}
	if got := digestOf(t, resolve(t, with(r.Cache, &registry.Client{}), s.host+"/x", amd64)); got != is.Digest {
		t.Errorf("got %s, want %s", got, is.Digest)
	}
	offline := with(r.Cache, &registry.Client{Offline: true})
	if got := digestOf(t, resolve(t, offline, s.host+"/x", amd64)); got != is.Digest {
		t.Errorf("got %s offline, want %s", got, is.Digest)
	}
}

// TestHead has registries that do not answer a HEAD as they should.
func TestHead(t *testing.T) {
	tests := map[string]func(w http.ResponseWriter, r *http.Request, real http.Handler){
		"forbidden": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusForbidden) },
		"no method": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusMethodNotAllowed)
		},
		"not found":   func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusNotFound) },
		"not allowed": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusUnauthorized) },
		"no digest": func(w http.ResponseWriter, r *http.Request, real http.Handler) {
			real.ServeHTTP(withoutDigest{w}, r)
		},
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			want := s.image(t, "x", "latest", amd64, "text")
			s.spoiled(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodHead {
					answer(w, r, s.handler)
				}
				return r.Method == http.MethodHead
			})
			r := newResolver(t)
			if got := digestOf(t, resolve(t, r, s.host+"/x", amd64)); got != want.Digest {
				t.Errorf("got %s, want %s", got, want.Digest)
			}
			if diff := cmp.Diff([]string{"HEAD manifests", "GET manifests", "GET blobs"}, s.asked()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			offline := with(r.Cache, &registry.Client{Offline: true})
			if got := digestOf(t, resolve(t, offline, s.host+"/x", amd64)); got != want.Digest {
				t.Errorf("got %s offline, want %s", got, want.Digest)
			}
		})
	}
}

// withoutDigest leaves a header out.
type withoutDigest struct{ http.ResponseWriter }

func (w withoutDigest) WriteHeader(status int) {
	w.Header().Del("Docker-Content-Digest")
	w.ResponseWriter.WriteHeader(status)
}

// TestHeadLies has registries whose HEAD is about something else.
func TestHeadLies(t *testing.T) {
	tests := map[string]struct {
		header map[string]string
		want   string
	}{
		"another digest": {
			map[string]string{"Docker-Content-Digest": "sha256:" + strings.Repeat("0", 64)},
			"/x@sha256:" + strings.Repeat("0", 64) + ": 404 Not Found, MANIFEST_UNKNOWN: Unknown manifest",
		},
		"a digest of another kind": {
			map[string]string{"Docker-Content-Digest": "sha512:" + strings.Repeat("0", 128)},
			"/x:latest: manifest sha512:" + strings.Repeat("0", 128) + ": only sha256 digests are supported",
		},
		"too large": {
			map[string]string{"Content-Length": "4194305"},
			" has 4194305 bytes, the limit is 4194304",
		},
		"schema 1": {
			map[string]string{"Content-Type": string(types.DockerManifestSchema1Signed)},
			"(schema 1)",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			desc := s.image(t, "x", "latest", amd64, "text")
			s.spoiled(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodHead {
					return false
				}
				w.Header().Set("Content-Type", string(desc.MediaType))
				w.Header().Set("Content-Length", fmt.Sprint(desc.Size))
				w.Header().Set("Docker-Content-Digest", desc.Digest.String())
				for k, v := range tt.header {
					w.Header().Set(k, v)
				}
				return true
			})
			_, err := newResolver(t).Image(t.Context(), s.host+"/x", amd64)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestTooLarge has content that is larger than its description says, or than is
// kept in memory.
func TestTooLarge(t *testing.T) {
	s := newServer(t)
	long := strings.Repeat(" ", 4<<20)
	manifest := s.put(t, "x", "", types.OCIManifestSchema1, "{"+long+"}")
	config := s.blob(t, types.OCIConfigJSON, "{"+long+"}")
	config.Size = 100
	lying := s.put(t, "x", "", types.OCIManifestSchema1, `{"config":`+asJSON(t, config)+`,"layers":[]}`)
	tests := map[string]struct {
		digest v1.Hash
		want   string
	}{
		"a manifest": {manifest.Digest, fmt.Sprintf("manifest %s has 4194306 bytes, the limit is 4194304", manifest.Digest)},
		"a config":   {lying.Digest, config.Digest.String() + ": it has more bytes than it is listed with"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newResolver(t)
			_, err := r.Image(t.Context(), s.host+"/x@"+tt.digest.String(), amd64)
			if err == nil || !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			for _, h := range []v1.Hash{manifest.Digest, config.Digest} {
				if _, err := r.Cache.Blob(h); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is in the cache: %v", h, err)
				}
			}
		})
	}
}

// TestErrors wants one line that names the base.
func TestErrors(t *testing.T) {
	const page = "<html>\n<head><title>no</title></head>\n<body>no</body>\n</html>\n"
	answers := func(status int, body string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	tests := map[string]struct {
		spoil  func(w http.ResponseWriter, r *http.Request) bool
		status int
		name   string // "/x" where empty
		want   string // HOST stands for the registry's
	}{
		"no such tag": {
			status: http.StatusNotFound, name: "/x:nope",
			want: "resolving base HOST/x:nope: HOST/x:nope: 404 Not Found, MANIFEST_UNKNOWN: Unknown manifest",
		},
		"no such repository": {
			status: http.StatusNotFound, name: "/nope",
			want: "resolving base HOST/nope: HOST/nope:latest: 404 Not Found, NAME_UNKNOWN: Unknown name",
		},
		"no such digest": {
			status: http.StatusNotFound, name: "/x@sha256:" + strings.Repeat("0", 64),
			want: "resolving base HOST/x@sha256:" + strings.Repeat("0", 64) + ": HOST/x@sha256:" + strings.Repeat("0", 64) + ": 404 Not Found, MANIFEST_UNKNOWN: Unknown manifest",
		},
		"a digest of another kind": {
			name: "/x@sha512:" + strings.Repeat("0", 128),
			want: "resolving base HOST/x@sha512:" + strings.Repeat("0", 128) + ": manifest sha512:" + strings.Repeat("0", 128) + ": only sha256 digests are supported",
		},
		"not allowed": {
			spoil:  answers(http.StatusUnauthorized, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":{"a":"b"}}]}`),
			status: http.StatusUnauthorized,
			want:   "resolving base HOST/x: HOST/x:latest: 401 Unauthorized, UNAUTHORIZED: authentication required",
		},
		"forbidden, a page": {
			spoil:  answers(http.StatusForbidden, page),
			status: http.StatusForbidden,
			want:   "resolving base HOST/x: HOST/x:latest: 403 Forbidden",
		},
		"forbidden, two lines": {
			spoil:  answers(http.StatusForbidden, `{"errors":[{"code":"DENIED","message":"one\ntwo"},{"code":"X","message":"three"}]}`),
			status: http.StatusForbidden,
			want:   "resolving base HOST/x: HOST/x:latest: 403 Forbidden, DENIED: one two, X: three",
		},
		"forbidden, endless": {
			spoil:  answers(http.StatusForbidden, `{"errors":[{"code":"DENIED","message":"x`+strings.Repeat("é", 1000)+`"}]}`),
			status: http.StatusForbidden,
			want:   "resolving base HOST/x: HOST/x:latest: 403 Forbidden, DENIED: x" + strings.Repeat("é", 245) + "…",
		},
		"out of order": {
			spoil:  answers(http.StatusInsufficientStorage, page),
			status: http.StatusInsufficientStorage,
			want:   "resolving base HOST/x: HOST/x:latest: 507 Insufficient Storage",
		},
		"the whole registry forbidden": {
			spoil: func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusForbidden)
				return true
			},
			status: http.StatusForbidden,
			want:   "resolving base HOST/x: HOST/x:latest: 403 Forbidden",
		},
		"malformed": {
			name: "/X",
			want: `resolving base HOST/X: malformed reference "HOST/X": `,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.image(t, "x", "latest", amd64, "text")
			s.spoiled(tt.spoil)
			if tt.name == "" {
				tt.name = "/x"
			}
			_, err := newResolver(t).Image(t.Context(), s.host+tt.name, amd64)
			want := strings.ReplaceAll(tt.want, "HOST", s.host)
			if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") || name != "malformed" && err.Error() != want {
				t.Fatalf("got  %v\nwant %s", err, want)
			}
			if te := (*transport.Error)(nil); tt.status != 0 && (!errors.As(err, &te) || te.StatusCode != tt.status) {
				t.Errorf("the cause is not an answer of status %d: %v", tt.status, te)
			}
			// A server that is in trouble is not asked for more.
			if tt.status >= 500 {
				if diff := cmp.Diff([]string{"HEAD manifests"}, s.asked()); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
			}
			_, again := newResolver(t).Platforms(t.Context(), s.host+tt.name)
			if diff := cmp.Diff(err.Error(), fmt.Sprint(again)); diff != "" {
				t.Errorf("Platforms (-Image +Platforms):\n%s", diff)
			}
		})
	}
}

// down is the address of a registry that is down. Nothing gets this port by
// chance.
const down = "127.0.0.1:1"

// keychain counts how often credentials are asked for, which is once for each
// attempt to connect, and fails where it has an error.
type keychain struct {
	asked atomic.Int32
	err   error
}

func (k *keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	k.asked.Add(1)
	return authn.Anonymous, k.err
}

func TestRegistryDown(t *testing.T) {
	host, keys := down, &keychain{}
	r := newResolver(t)
	r.Registry.Keychain = keys
	_, err := r.Image(t.Context(), host+"/x", amd64)
	if err == nil || !strings.HasPrefix(err.Error(), "resolving base "+host+"/x: "+host+"/x:latest: ") ||
		!strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if n := keys.asked.Load(); n != 1 {
		t.Errorf("%d attempts to connect, want 1", n)
	}
}

func TestCredentialsFail(t *testing.T) {
	r := newResolver(t)
	r.Registry.Keychain = &keychain{err: errors.New("one\ntwo")}
	_, err := r.Image(t.Context(), "registry.example.com/x", amd64)
	const want = "resolving base registry.example.com/x: registry.example.com/x:latest: finding credentials for registry.example.com: one two"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestFailureIsForgotten resolves what was not there at first.
func TestFailureIsForgotten(t *testing.T) {
	s, r := newServer(t), newResolver(t)
	if _, err := r.Image(t.Context(), s.host+"/x", amd64); err == nil {
		t.Fatal("no error")
	}
	s.image(t, "x", "latest", amd64, "text")
	resolve(t, r, s.host+"/x", amd64)
}

func TestMirrors(t *testing.T) {
	tests := map[string]struct {
		// at says which of the mirrors m and n and the origin o have the image.
		at       string
		digest   bool
		mirrors  string // "d" is one that is down
		want     string // where the image is found; an error where empty
		requests string // in their order, by the first letter
	}{
		"the first":            {at: "mno", mirrors: "mn", want: "m", requests: "mmm"},
		"the second":           {at: "no", mirrors: "mn", want: "n", requests: "mmnnn"},
		"the origin":           {at: "o", mirrors: "mn", want: "o", requests: "mmnnooo"},
		"one is down":          {at: "no", mirrors: "dn", want: "n", requests: "nnn"},
		"no mirrors":           {at: "mno", want: "o", requests: "ooo"},
		"nowhere":              {mirrors: "mdn", requests: "mmnnoo"},
		"a digest, the first":  {at: "mno", digest: true, mirrors: "mn", want: "m", requests: "mm"},
		"a digest, the second": {at: "no", digest: true, mirrors: "mn", want: "n", requests: "mnn"},
		"a digest, down":       {at: "o", digest: true, mirrors: "dm", want: "o", requests: "moo"},
		"a digest, nowhere":    {digest: true, mirrors: "m", requests: "mo"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log requestLog
			servers := map[rune]*server{}
			var desc v1.Descriptor
			for _, c := range "mno" {
				s, repo := newServer(t), "cache/team/x"
				servers[c] = s
				if c == 'o' {
					repo = "team/x"
				}
				s.spoiled(log.note(c))
				if strings.ContainsRune(tt.at, c) {
					desc = s.image(t, repo, "v1", amd64, "text")
				} else { // the repository is there
					s.image(t, repo, "other", amd64, string(c))
				}
			}
			origin := servers['o'].host
			client := &registry.Client{}
			for _, c := range tt.mirrors {
				host := down
				if s := servers[c]; s != nil {
					host = s.host
				}
				client.Mirrors = append(client.Mirrors, registry.Mirror{Host: origin, Prefix: host + "/cache"})
			}
			name := origin + "/team/x:v1"
			if tt.digest {
				name = origin + "/team/x@" + desc.Digest.String()
				if tt.at == "" {
					name = origin + "/team/x@sha256:" + strings.Repeat("0", 64)
				}
			}
			r := with(newResolver(t).Cache, client)
			img, err := r.Image(t.Context(), name, amd64)
			if got := log.String(); got != tt.requests {
				t.Errorf("requests %q, want %q", got, tt.requests)
			}
			if tt.want == "" {
				checkNowhere(t, err, origin, tt.digest, servers)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if digestOf(t, img) != desc.Digest || img.Reference != name {
				t.Errorf("got %s of %s, want %s of %s", digestOf(t, img), img.Reference, desc.Digest, name)
			}
			if got, err := read(layersOf(t, img)[0]); err != nil || got != gzipped(t, layerOf(t, "text")) {
				t.Errorf("the layer is wrong: %v", err)
			}
			// What came through a mirror is known by its own name.
			offline := with(r.Cache, &registry.Client{Offline: true})
			if got := digestOf(t, resolve(t, offline, name, amd64)); got != desc.Digest {
				t.Errorf("got %s offline, want %s", got, desc.Digest)
			}
		})
	}
}

// checkNowhere wants one line with each place, and what is wrong there.
func checkNowhere(t *testing.T, err error, origin string, digest bool, servers map[rune]*server) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	places := []string{servers['m'].host + "/cache/team/x", origin + "/team/x"}
	if !digest {
		places = append(places, servers['n'].host+"/cache/team/x")
		if !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("the error does not say that one is down: %v", err)
		}
	}
	for _, place := range places {
		if !strings.Contains(err.Error(), place) {
			t.Errorf("the error does not name %s: %v", place, err)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Count(err.Error(), "404 Not Found") != len(places) {
		t.Errorf("got %v", err)
	}
	if te := (*transport.Error)(nil); !errors.As(err, &te) {
		t.Errorf("the cause is no answer of a registry: %v", err)
	}
}

// TestMirrorWithoutLayer has a mirror that has less than it says.
func TestMirrorWithoutLayer(t *testing.T) {
	mirror, origin := newServer(t), newServer(t)
	mirror.image(t, "x", "latest", amd64, "text")
	origin.image(t, "x", "latest", amd64, "text")
	mirror.spoiled(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		return true
	})
	client := &registry.Client{Mirrors: []registry.Mirror{{Host: origin.host, Prefix: mirror.host}}}
	r := with(newResolver(t).Cache, client)
	if _, err := read(layersOf(t, resolve(t, r, origin.host+"/x", amd64))[0]); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"GET blobs", "GET blobs"}, origin.asked()); diff != "" {
		t.Errorf("requests to the origin (-want +got):\n%s", diff)
	}
}

// TestMirrorWithoutImage has a mirror that has the index alone.
func TestMirrorWithoutImage(t *testing.T) {
	mirror, origin := newServer(t), newServer(t)
	desc := origin.image(t, "x", "", amd64, "text")
	index := origin.index(t, "x", "latest", desc)
	mirror.image(t, "x", "", amd64, "text") // without which it would not take the index
	mirror.index(t, "x", "latest", desc)
	mirror.spoiled(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, desc.Digest.String()) {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		return true
	})
	client := &registry.Client{Mirrors: []registry.Mirror{{Host: origin.host, Prefix: mirror.host}}}
	r := with(newResolver(t).Cache, client)
	l := layersOf(t, resolve(t, r, origin.host+"/x@"+index.Digest.String(), amd64))[0]
	if ml, ok := l.(*remote.MountableLayer); !ok || ml.Reference.Context().RegistryStr() != origin.host {
		t.Errorf("the layer is not one of %s: %#v", origin.host, l)
	}
	if diff := cmp.Diff([]string{"GET manifests", "GET manifests"}, mirror.asked()); diff != "" {
		t.Errorf("requests to the mirror (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"GET manifests", "GET blobs"}, origin.asked()); diff != "" {
		t.Errorf("requests to the origin (-want +got):\n%s", diff)
	}
}

func TestOffline(t *testing.T) {
	s := newServer(t)
	desc := s.image(t, "x", "latest", amd64, "text")
	tests := map[string]struct {
		name string
		drop func(t *testing.T, c *cache.Cache)
		want string
	}{
		"all there, by tag":    {name: "/x"},
		"all there, by digest": {name: "/x@" + desc.Digest.String()},
		"another tag":          {name: "/x:other", want: "HOST/x:other is not in the cache: not allowed to use the network"},
		"another digest": {
			name: "/x@sha256:" + strings.Repeat("0", 64),
			want: "HOST/x@sha256:" + strings.Repeat("0", 64) + " is not in the cache: not allowed to use the network",
		},
		"no manifest": {
			name: "/x", drop: func(t *testing.T, c *cache.Cache) { t.Helper(); removeBlob(t, c, desc.Digest) },
			want: "HOST/x@" + desc.Digest.String() + " is not in the cache: not allowed to use the network",
		},
		"no config": {
			name: "/x", drop: func(t *testing.T, c *cache.Cache) { t.Helper(); removeBlob(t, c, configOf(t, s, desc).Digest) },
			want: "HOST/x@" + configOf(t, s, desc).Digest.String() + " is not in the cache: not allowed to use the network",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			online := newResolver(t)
			resolve(t, online, s.host+"/x", amd64)
			if tt.drop != nil {
				tt.drop(t, online.Cache)
			}
			img, err := with(online.Cache, &registry.Client{Offline: true}).Image(t.Context(), s.host+tt.name, amd64)
			if tt.want != "" {
				want := "resolving base " + s.host + tt.name + ": " + strings.ReplaceAll(tt.want, "HOST", s.host)
				if err == nil || err.Error() != want || !errors.Is(err, registry.ErrOffline) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			// The layer was never read, and so is not there.
			layer := layersOf(t, img)[0]
			digest, err := layer.Digest()
			if err != nil {
				t.Fatal(err)
			}
			_, err = read(layer)
			want := "reading a layer of base " + s.host + tt.name + ": " + s.host + "/x@" + digest.String() + " is not in the cache: not allowed to use the network"
			if err == nil || err.Error() != want || !errors.Is(err, registry.ErrOffline) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			for _, l := range layersOf(t, resolve(t, online, s.host+tt.name, amd64)) {
				if _, err := read(l); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := read(layer); err != nil || got != gzipped(t, layerOf(t, "text")) {
				t.Errorf("the layer is wrong: %v", err)
			}
		})
	}
}

// TestDamagedCache damages everything that a base has left in the cache.
func TestDamagedCache(t *testing.T) {
	s := newServer(t)
	want := s.image(t, "x", "latest", amd64, "text")
	online := newResolver(t)
	if _, err := read(layersOf(t, resolve(t, online, s.host+"/x", amd64))[0]); err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(filepath.Join(online.Cache.Dir(), "blobs", "sha256", "*"))
	if err != nil || len(blobs) != 3 {
		t.Fatalf("%d blobs in the cache, want 3: %v", len(blobs), err)
	}
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		func(b []byte) []byte { return b[:len(b)-1] },
		func([]byte) []byte { return nil },
	} {
		for _, name := range blobs {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, change(raw), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		img := resolve(t, with(online.Cache, &registry.Client{}), s.host+"/x", amd64)
		if got := digestOf(t, img); got != want.Digest {
			t.Errorf("got %s, want %s", got, want.Digest)
		}
		if got, err := read(layersOf(t, img)[0]); err != nil || got != gzipped(t, layerOf(t, "text")) {
			t.Errorf("the layer is wrong: %v", err)
		}
	}
}

// TestCacheIsHeldToTheIndex has a manifest in the cache that an index describes
// wrongly.
func TestCacheIsHeldToTheIndex(t *testing.T) {
	s, r := newServer(t), newResolver(t)
	desc := s.image(t, "x", "", amd64, "text")
	resolve(t, r, s.host+"/x@"+desc.Digest.String(), amd64)
	s.index(t, "x", "latest", resized(desc, 7))
	_, err := r.Image(t.Context(), s.host+"/x", amd64)
	want := fmt.Sprintf("resolving base %s/x: %s has %d bytes, not the 7 it is listed with", s.host, desc.Digest, desc.Size)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestCachedLayerIsNoManifest asks for a manifest by the digest of a layer,
// which is too large to be kept in memory.
func TestCachedLayerIsNoManifest(t *testing.T) {
	s, r := newServer(t), newResolver(t)
	s.image(t, "x", "latest", amd64, "text")
	large := strings.Repeat(" ", 4<<20+1)
	h := describe(t, "", large).Digest
	if _, err := r.Cache.Put(h, strings.NewReader(large)); err != nil {
		t.Fatal(err)
	}
	_, err := r.Image(t.Context(), s.host+"/x@"+h.String(), amd64)
	if te := (*transport.Error)(nil); !errors.As(err, &te) || te.StatusCode != http.StatusNotFound {
		t.Errorf("got %v, want an answer of the registry", err)
	}
}

func removeBlob(t *testing.T, c *cache.Cache, h v1.Hash) {
	t.Helper()
	if err := os.Remove(filepath.Join(c.Dir(), "blobs", "sha256", h.Hex)); err != nil {
		t.Fatal(err)
	}
}

// configOf describes the config of an image that s stores.
func configOf(t *testing.T, s *server, desc v1.Descriptor) v1.Descriptor {
	t.Helper()
	m, err := resolve(t, newResolver(t), s.host+"/x@"+desc.Digest.String(), amd64).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return m.Config
}

func TestCancelled(t *testing.T) {
	s := newServer(t)
	s.image(t, "x", "latest", amd64, "text")
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	r := newResolver(t)
	img, err := r.Image(ctx, s.host+"/x", amd64)
	if err != nil {
		t.Fatal(err)
	}
	s.spoiled(func(_ http.ResponseWriter, req *http.Request) bool {
		cancel(cause)
		<-req.Context().Done()
		return true
	})
	if _, err := read(layersOf(t, img)[0]); !errors.Is(err, cause) {
		t.Errorf("reading a layer: got %v, want %v", err, cause)
	}
	for _, name := range []string{"/y", "/y@sha256:" + strings.Repeat("0", 64)} {
		ctx, cancel := context.WithCancelCause(t.Context())
		s.spoiled(func(_ http.ResponseWriter, req *http.Request) bool {
			cancel(cause)
			<-req.Context().Done()
			return true
		})
		_, err := r.Image(ctx, s.host+name, amd64)
		if want := "resolving base " + s.host + name + ": enough"; err == nil || err.Error() != want || !errors.Is(err, cause) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if _, err := r.Platforms(ctx, s.host+name); !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
	}
	// Others go on.
	s.spoiled(nil)
	if _, err := read(layersOf(t, resolve(t, r, s.host+"/x", amd64))[0]); err != nil {
		t.Error(err)
	}
}
