package builder

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"path"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/rootfs/transfer"
)

// ErrOffline is the cause where ADD would have to download something.
var ErrOffline = errors.New("it would have to be downloaded, and the build is offline")

// Files downloads what ADD names by a URL. *registry.Client is one.
type Files interface {
	File(ctx context.Context, r registry.FileRequest) (*registry.File, error)
}

const (
	// downloadRecords is the kind of the cache's records of what was downloaded.
	downloadRecords = "downloads"
	// maxDownload keeps a server from filling the disk. It is what a registry's
	// layers are held to as well.
	maxDownload = 4 << 30
	// unnamed is what BuildKit calls a file whose URL has no name for it.
	unnamed = "__unnamed__"
)

// downloaded is a file that is in the cache.
type downloaded struct {
	Blob v1.Hash `json:"blob"`
	// ETag and LastModified of the server's.
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`

	name string
	blob *cache.Blob
}

// file is d as ADD puts it somewhere.
func (d *downloaded) file() transfer.File {
	return transfer.File{
		Name: d.name, Mode: 0o600, Size: d.blob.Size,
		Open: func() (io.ReadCloser, error) { return d.blob.Open(), nil },
	}
}

// download returns what a URL is of, with a checksum or without. A build asks
// for it once.
func (s *session) download(ctx context.Context, from, checksum string) (*downloaded, error) {
	key := checksum + " " + from
	s.mu.Lock()
	get, ok := s.downloads[key]
	if !ok {
		get = sync.OnceValues(func() (*downloaded, error) { return s.fetch(ctx, from, checksum) })
		s.downloads[key] = get
	}
	s.mu.Unlock()
	d, err := get()
	if err != nil {
		return nil, fmt.Errorf("downloading %s: %w", registry.Redact(from), err)
	}
	return d, nil
}

// fetch finds the file in the cache or downloads it. What has a checksum, or is
// wanted offline, is what it was; of all else the server is asked whether it is.
func (s *session) fetch(ctx context.Context, from, checksum string) (*downloaded, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, errors.New("malformed URL")
	}
	// A URL may have credentials in it, so only the sum of it is kept.
	key := fmt.Sprintf("%x %s", sha256.Sum256([]byte(from)), checksum)
	var known downloaded
	have := !s.NoCache && s.Cache.Record(downloadRecords, key, &known)
	if have {
		known.blob, err = s.cached(known.Blob)
		have = err == nil
	}
	subject := registry.Redact(from)
	if have && (checksum != "" || s.Offline) {
		s.Progress.Skip(event.Pull, subject, "cached")
		return known.named(u), nil
	}
	if s.Offline {
		return nil, ErrOffline
	}
	task := s.Progress.Start(event.Pull, subject, 0)
	request := registry.FileRequest{URL: from, Limit: maxDownload}
	if have {
		request.ETag, request.LastModified = known.ETag, known.LastModified
	}
	d, err := s.fetchFrom(ctx, request, checksum, task)
	switch {
	case err == nil && d == nil:
		task.End(nil, "unchanged")
		return known.named(u), nil
	case errors.Is(err, registry.ErrOffline):
		err = ErrOffline
	case err == nil:
		err = s.Cache.SetRecord(downloadRecords, key, d)
	}
	task.End(err, "")
	if err != nil {
		return nil, err
	}
	return d.named(u), nil
}

// named gives d the name that the URL has for it.
func (d *downloaded) named(u *url.URL) *downloaded {
	if d.name = path.Base(u.Path); d.name == "/" || d.name == "." {
		d.name = unnamed
	}
	return d
}

// fetchFrom downloads into the cache, where only what has the right checksum
// stays. It returns nil where the server says that nothing has changed.
func (s *session) fetchFrom(ctx context.Context, r registry.FileRequest, checksum string, task *event.Task) (_ *downloaded, err error) {
	algorithm, want, _ := strings.Cut(checksum, ":")
	h, err := hashOf(algorithm)
	if err != nil {
		return nil, err
	}
	f, err := s.Files.File(ctx, r)
	if err != nil || f.NotModified {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Body.Close()) }()
	w, err := s.Cache.Create()
	if err != nil {
		return nil, err
	}
	defer w.Discard()
	task.Expect(f.Size)
	n, err := io.Copy(io.MultiWriter(w, h), task.Reader(f.Body))
	if err != nil {
		return nil, err
	}
	if f.Size >= 0 && n != f.Size {
		return nil, fmt.Errorf("%d bytes came of %d: %w", n, f.Size, io.ErrUnexpectedEOF)
	}
	if got := hex.EncodeToString(h.Sum(nil)); want != "" && got != want {
		return nil, &ChecksumError{Want: checksum, Have: algorithm + ":" + got}
	}
	blob, err := w.Commit()
	if err != nil {
		return nil, err
	}
	return &downloaded{Blob: blob.Digest, ETag: f.ETag, LastModified: f.LastModified, blob: blob}, nil
}

// ChecksumError is returned where a download is not what --checksum says.
type ChecksumError struct{ Want, Have string }

func (e *ChecksumError) Error() string {
	return fmt.Sprintf("it is not what --checksum says: it has %s", e.Have)
}

func hashOf(algorithm string) (hash.Hash, error) {
	switch algorithm {
	case "", "sha256":
		return sha256.New(), nil
	case "sha384":
		return sha512.New384(), nil
	case "sha512":
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("--checksum has an unknown algorithm %s: there are sha256, sha384 and sha512", algorithm)
}
