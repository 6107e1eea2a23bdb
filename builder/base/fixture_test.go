package base_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/registry/faulty"
)

var (
	amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = v1.Platform{OS: "linux", Architecture: "arm64"}
)

// server is a registry that counts and may spoil what is asked of it.
type server struct {
	host    string
	handler http.Handler
	blobs   ggcr.BlobHandler
	faults  faulty.Faults

	mu       sync.Mutex
	requests []string
	// spoil, unless nil, answers requests, or says that it did not.
	spoil func(w http.ResponseWriter, r *http.Request) bool
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{blobs: ggcr.NewInMemoryBlobHandler()}
	s.handler = ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)), ggcr.WithBlobHandler(s.blobs))
	h := httptest.NewServer(s.faults.Wrap(s))
	t.Cleanup(h.Close)
	s.host = strings.TrimPrefix(h.URL, "http://")
	return s
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	spoil := s.spoil
	for _, kind := range []string{"manifests", "blobs"} {
		if strings.Contains(r.URL.Path, "/"+kind+"/") {
			s.requests = append(s.requests, r.Method+" "+kind)
		}
	}
	s.mu.Unlock()
	if spoil == nil || !spoil(w, r) {
		s.handler.ServeHTTP(w, r)
	}
}

// spoiled sets what answers from now on.
func (s *server) spoiled(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil = f
}

// asked returns what was asked for since the last time.
func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := s.requests
	s.requests = nil
	return requests
}

// put stores a manifest under a tag, or only under its digest where that is
// empty.
func (s *server) put(t *testing.T, repo, tag string, mt types.MediaType, raw string) v1.Descriptor {
	t.Helper()
	desc := describe(t, mt, raw)
	for _, ref := range []string{tag, desc.Digest.String()} {
		if ref == "" {
			continue
		}
		r := httptest.NewRequest(http.MethodPut, "/v2/"+repo+"/manifests/"+ref, strings.NewReader(raw))
		r.Header.Set("Content-Type", string(mt))
		w := httptest.NewRecorder()
		if s.handler.ServeHTTP(w, r); w.Code != http.StatusCreated {
			t.Fatalf("storing %s: %s", ref, w.Body)
		}
	}
	return desc
}

// blob stores content.
func (s *server) blob(t *testing.T, mt types.MediaType, content string) v1.Descriptor {
	t.Helper()
	desc := describe(t, mt, content)
	err := s.blobs.(ggcr.BlobPutHandler).Put(t.Context(), "", desc.Digest, io.NopCloser(strings.NewReader(content)))
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

func describe(t *testing.T, mt types.MediaType, content string) v1.Descriptor {
	t.Helper()
	h, n, err := v1.SHA256(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: mt, Digest: h, Size: n}
}

// kind is the media types of an image.
type kind struct{ manifest, config, layer, index types.MediaType }

var (
	oci    = kind{types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer, types.OCIImageIndex}
	docker = kind{types.DockerManifestSchema2, types.DockerConfigJSON, types.DockerLayer, types.DockerManifestList}
)

// image stores an OCI image with a layer for each text, and describes it as an
// index does.
func (s *server) image(t *testing.T, repo, tag string, p v1.Platform, texts ...string) v1.Descriptor {
	t.Helper()
	return s.imageOf(t, oci, repo, tag, p, texts...)
}

func (s *server) imageOf(t *testing.T, k kind, repo, tag string, p v1.Platform, texts ...string) v1.Descriptor {
	t.Helper()
	var layers []v1.Descriptor
	var diffIDs []v1.Hash
	for _, text := range texts {
		plain := layerOf(t, text)
		diffIDs = append(diffIDs, describe(t, "", plain).Digest)
		layers = append(layers, s.blob(t, k.layer, gzipped(t, plain)))
	}
	desc := s.put(t, repo, tag, k.manifest, s.manifestOf(t, k, p, layers, diffIDs))
	desc.Platform = &p
	return desc
}

// manifestOf stores a config and returns the manifest over it.
func (s *server) manifestOf(t *testing.T, k kind, p v1.Platform, layers []v1.Descriptor, diffIDs []v1.Hash) string {
	t.Helper()
	config := asJSON(t, v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		RootFS: v1.RootFS{Type: "layers", DiffIDs: diffIDs},
	})
	return asJSON(t, v1.Manifest{
		SchemaVersion: 2, MediaType: k.manifest, Config: s.blob(t, k.config, config), Layers: layers,
	})
}

// index stores an index.
func (s *server) index(t *testing.T, repo, tag string, descs ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	if descs == nil {
		descs = []v1.Descriptor{}
	}
	raw := asJSON(t, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: descs})
	return s.put(t, repo, tag, types.OCIImageIndex, raw)
}

func layerOf(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "text", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// anonymous has no credentials, whoever runs the tests.
type anonymous struct{}

func (anonymous) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

// newResolver returns a resolver with a cache of its own.
func newResolver(t *testing.T) *base.Resolver {
	t.Helper()
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return with(c, &registry.Client{})
}

// with is a resolver of another process with the same cache.
func with(c *cache.Cache, client *registry.Client) *base.Resolver {
	client.Keychain = anonymous{}
	return &base.Resolver{Registry: client, Cache: c}
}

// resolve returns the image that there has to be.
func resolve(t *testing.T, r *base.Resolver, name string, p v1.Platform) *base.Image {
	t.Helper()
	img, err := r.Image(t.Context(), name, p)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func digestOf(t *testing.T, img v1.Image) v1.Hash {
	t.Helper()
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func layersOf(t *testing.T, img v1.Image) []v1.Layer {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

// read returns what a layer, compressed as it is, consists of.
func read(l v1.Layer) (_ string, err error) {
	rc, err := l.Compressed()
	if err != nil {
		return "", err
	}
	defer rc.Close()
	raw, err := io.ReadAll(rc)
	return string(raw), err
}

// events collects what a resolver reports.
type events struct {
	mu  sync.Mutex
	all []event.Event
}

func (e *events) add(ev event.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

// of returns the states of one phase.
func (e *events) of(phase event.Phase) []event.State {
	e.mu.Lock()
	defer e.mu.Unlock()
	var states []event.State
	for _, ev := range e.all {
		if ev.Phase == phase {
			states = append(states, ev.State)
		}
	}
	return states
}

// requestLog is the order in which several servers were asked.
type requestLog struct {
	mu  sync.Mutex
	all []rune
}

// note is for the server that c stands for.
func (l *requestLog) note(c rune) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v2/" {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.all = append(l.all, c)
		}
		return false
	}
}

func (l *requestLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.all)
}
