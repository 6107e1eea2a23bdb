package faulty

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// blobs are those of repositories that do not see each other's, as in real
// registries, and can mount them.
type blobs struct {
	mu      sync.Mutex
	content map[string][]byte
}

func key(repo, digest string) string {
	return strings.TrimSuffix(repo, "/blobs") + "@" + digest // the path is cut one too late when blobs are put
}

// Get implements ggcr.BlobHandler.
func (b *blobs) Get(_ context.Context, repo string, h v1.Hash) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	content, ok := b.content[key(repo, h.String())]
	if !ok {
		return nil, ggcr.ErrNotFound
	}
	return readerAt{bytes.NewReader(content)}, nil
}

// readerAt is what the registry serves ranges of.
type readerAt struct{ *bytes.Reader }

func (readerAt) Close() error { return nil }

// Stat implements ggcr.BlobStatHandler.
func (b *blobs) Stat(_ context.Context, repo string, h v1.Hash) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	content, ok := b.content[key(repo, h.String())]
	if !ok {
		return 0, ggcr.ErrNotFound
	}
	return int64(len(content)), nil
}

// Put implements ggcr.BlobPutHandler.
func (b *blobs) Put(_ context.Context, repo string, h v1.Hash, rc io.ReadCloser) error {
	content, err := io.ReadAll(rc)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.content[key(repo, h.String())] = content
	return rc.Close()
}

func (b *blobs) mounting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		repo, _, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/uploads/")
		from, digest := r.URL.Query().Get("from"), r.URL.Query().Get("mount")
		if !ok || r.Method != http.MethodPost || digest == "" {
			next.ServeHTTP(w, r)
			return
		}
		b.mu.Lock()
		content, ok := b.content[key(from, digest)]
		if ok {
			b.content[key(repo, digest)] = content
		}
		b.mu.Unlock()
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Location", "/v2/"+repo+"/blobs/"+digest)
		w.WriteHeader(http.StatusCreated)
	})
}
