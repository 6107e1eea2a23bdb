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
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/rootfs/transfer"
)

// ErrOffline is the cause where ADD would have to download something.
var ErrOffline = errors.New("it would have to be downloaded, and the build is offline")

// download fetches what ADD names by a URL.
func (w *worker) download(ctx context.Context, from, checksum string) (_ *transfer.File, err error) {
	if w.Offline {
		return nil, ErrOffline
	}
	u, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	name := path.Base(u.Path)
	if name == "/" || name == "." {
		name = "download" // what BuildKit calls it
	}
	task := w.Progress.Start(event.Pull, u.Redacted(), 0)
	defer func() { task.End(err, "") }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("downloading %s: %s", u.Redacted(), resp.Status)
	}
	f, err := os.CreateTemp(w.temp, "download-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	algorithm, want, _ := strings.Cut(checksum, ":")
	h, err := hashOf(algorithm)
	if err != nil {
		return nil, err
	}
	size, err := io.Copy(io.MultiWriter(f, h), task.Reader(resp.Body))
	if err != nil {
		return nil, fmt.Errorf("downloading %s: %w", u.Redacted(), err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); want != "" && got != want {
		return nil, fmt.Errorf("%s is not what --checksum says: it has %s:%s", u.Redacted(), algorithm, got)
	}
	return &transfer.File{Name: name, Mode: 0o600, Size: size, Open: func() (io.ReadCloser, error) { return os.Open(f.Name()) }}, nil
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
	return nil, fmt.Errorf("--checksum has an unknown algorithm %s", algorithm)
}
