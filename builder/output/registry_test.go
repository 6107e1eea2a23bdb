package output_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// fakeRegistry is ggcr's registry, which has one store of blobs for all, with
// what real ones have besides: repositories that do not see each other's blobs,
// and mounts between them. It keeps a log.
type fakeRegistry struct {
	host string

	mu sync.Mutex
	// mounts says whether mounts are carried out.
	mounts bool
	// intercept answers a request itself where it returns true.
	intercept func(http.ResponseWriter, *http.Request) bool
	log       []string
	blobs     map[string]map[v1.Hash][]byte
}

func newRegistry(t testing.TB) *fakeRegistry {
	t.Helper()
	r := &fakeRegistry{mounts: true, blobs: map[string]map[v1.Hash][]byte{}}
	handler := ggcr.New(ggcr.WithBlobHandler(r), ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.serve(handler, w, req)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	r.host = strings.TrimPrefix(server.URL, "http://")
	return r
}

var uploads = regexp.MustCompile(`^/v2/(.*)/blobs/uploads/`)

func (r *fakeRegistry) serve(next http.Handler, w http.ResponseWriter, req *http.Request) {
	line := req.Method + " " + strings.TrimPrefix(req.URL.Path, "/v2/")
	query := req.URL.Query()
	m := uploads.FindStringSubmatch(req.URL.Path)
	if m != nil {
		line = fmt.Sprintf("%s %s upload %s", req.Method, m[1], query.Get("digest"))
	}
	from, digest := query.Get("from"), query.Get("mount")
	if from != "" {
		line = fmt.Sprintf("MOUNT %s from %s: %s", m[1], from, digest)
	}
	r.mu.Lock()
	r.log = append(r.log, strings.TrimSpace(line))
	intercept := r.intercept
	r.mu.Unlock()
	if intercept != nil && intercept(w, req) {
		return
	}
	if from != "" && r.mount(m[1], from, digest) {
		w.Header().Set("Location", "/v2/"+m[1]+"/blobs/"+digest)
		w.WriteHeader(http.StatusCreated)
		return
	}
	next.ServeHTTP(w, req)
}

func (r *fakeRegistry) mount(to, from, digest string) bool {
	h, err := v1.NewHash(digest)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	content, ok := r.blobs[from][h]
	if ok && r.mounts {
		r.put(to, h, content)
	}
	return ok && r.mounts
}

// put stores a blob with r.mu held.
func (r *fakeRegistry) put(repo string, h v1.Hash, content []byte) {
	if r.blobs[repo] == nil {
		r.blobs[repo] = map[v1.Hash][]byte{}
	}
	r.blobs[repo][h] = content
}

// Get implements ggcr.BlobHandler.
func (r *fakeRegistry) Get(_ context.Context, repo string, h v1.Hash) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	content, ok := r.blobs[repo][h]
	if !ok {
		return nil, ggcr.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// Put implements ggcr.BlobPutHandler.
func (r *fakeRegistry) Put(_ context.Context, repo string, h v1.Hash, rc io.ReadCloser) error {
	content, err := io.ReadAll(rc)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(strings.TrimSuffix(repo, "/blobs"), h, content) // the registry cuts the path one too late
	return rc.Close()
}

func (r *fakeRegistry) setIntercept(f func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.intercept = f
}

// take returns the log without the pings that ask for the version of the API,
// and starts a new one.
func (r *fakeRegistry) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := slices.DeleteFunc(r.log, func(line string) bool { return line == "GET" })
	r.log = nil
	return lines
}

// matching returns the lines that match.
func matching(lines []string, pattern string) []string {
	re := regexp.MustCompile(pattern)
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !re.MatchString(line) })
}

// ref returns a reference to the registry.
func (r *fakeRegistry) ref(t testing.TB, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(r.host + "/" + s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// pull reads what a tag stands for, checks that it is all there, and returns its digest.
func (r *fakeRegistry) pull(t testing.TB, s string) v1.Hash {
	t.Helper()
	desc, err := remote.Get(r.ref(t, s))
	if err != nil {
		t.Errorf("pulling: %v", err)
		return v1.Hash{}
	}
	if desc.MediaType.IsIndex() {
		idx, err := desc.ImageIndex()
		if err != nil {
			t.Fatal(err)
		}
		err = validate.Index(idx)
		if err != nil {
			t.Errorf("validating %s: %v", s, err)
		}
		return desc.Digest
	}
	img, err := desc.Image()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Errorf("validating %s: %v", s, err)
	}
	return desc.Digest
}

// base puts an image with Docker's media types into the registry and returns it
// as a client finds it there.
func (r *fakeRegistry) base(t testing.TB, s string, img v1.Image) v1.Image {
	t.Helper()
	if err := remote.Write(r.ref(t, s), img); err != nil {
		t.Fatal(err)
	}
	found, err := remote.Image(r.ref(t, s))
	if err != nil {
		t.Fatal(err)
	}
	r.take()
	return found
}
