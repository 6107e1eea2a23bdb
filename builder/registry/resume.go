package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// worthwhile is how many bytes there have to be of a download for it to have as
// many attempts again as one that has just begun.
const worthwhile = 1 << 20

// Resume returns the content of a blob, which rc is reading, as a reader that
// goes on where the connection broke. What comes out may be put together of
// several answers, so it has to be verified as a whole.
func (c *Client) Resume(ctx context.Context, repo name.Repository, desc v1.Descriptor, rc io.ReadCloser) io.ReadCloser {
	return &resumed{
		ctx: ctx, c: c, host: repo.RegistryStr(), size: desc.Size, rc: rc,
		from: func(ctx context.Context, at int64) (io.ReadCloser, error) { return c.blobFrom(ctx, repo, desc, at) },
	}
}

type resumed struct {
	ctx  context.Context //nolint:containedctx // a reader's methods take none
	c    *Client
	host string
	size int64
	// from opens what is read at an offset.
	from func(ctx context.Context, at int64) (io.ReadCloser, error)

	rc io.ReadCloser
	// at is how much has been read, and since how much of that there were n
	// attempts to go on.
	at, since int64
	n         int
	err       error
}

func (r *resumed) Read(p []byte) (int, error) {
	for r.err == nil {
		n, err := r.rc.Read(p)
		r.at += int64(n)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, io.EOF) || !broke(err) || r.at >= r.size:
			r.err = err
		default:
			r.err = r.goOn(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, r.err
}

// goOn replaces a reader that broke.
func (r *resumed) goOn(broken error) error {
	if r.at-r.since >= worthwhile {
		r.n = 0
	}
	r.since = r.at
	for {
		r.n++
		t := trouble{host: familiarHost(r.host), why: reason(broken)}
		d, ok := t.delay(r.n)
		if !ok || r.ctx.Err() != nil {
			return broken
		}
		if err := r.c.wait(r.ctx, t, d); err != nil {
			return err
		}
		rc, err := r.from(r.ctx, r.at)
		if err == nil {
			_ = r.rc.Close()
			r.rc = rc
			return nil
		}
		if !broke(err) {
			return fmt.Errorf("going on after %d bytes: %w", r.at, err)
		}
		broken = err
	}
}

func (r *resumed) Close() error { return r.rc.Close() }

// blobFrom opens a blob at an offset. Where the registry knows no ranges, what
// comes before that is read again.
func (c *Client) blobFrom(ctx context.Context, repo name.Repository, desc v1.Descriptor, at int64) (io.ReadCloser, error) {
	client, err := c.reader(ctx, repo)
	if err != nil {
		return nil, err
	}
	for _, ranged := range []bool{true, false} {
		resp, err := get(ctx, client, repo, desc, at, ranged)
		if err != nil {
			return nil, err
		}
		var start, end int64
		switch resp.StatusCode {
		case http.StatusPartialContent:
			_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d", &start, &end)
			if err == nil && start == at {
				return resp.Body, nil
			}
		case http.StatusOK:
			if _, err := io.CopyN(io.Discard, resp.Body, at); err != nil {
				_ = resp.Body.Close()
				return nil, err
			}
			return resp.Body, nil
		case http.StatusRequestedRangeNotSatisfiable:
		default:
			err := transport.CheckError(resp)
			_ = resp.Body.Close()
			return nil, err
		}
		_ = resp.Body.Close()
	}
	return nil, fmt.Errorf("the registry answers with a part that was not asked for")
}

func get(ctx context.Context, client *http.Client, repo name.Repository, desc v1.Descriptor, at int64, ranged bool) (*http.Response, error) {
	u := url.URL{
		Scheme: repo.Scheme(), Host: repo.RegistryStr(),
		Path: "/v2/" + repo.RepositoryStr() + "/blobs/" + desc.Digest.String(),
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if ranged {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", at, desc.Size-1))
	}
	return client.Do(req)
}

// reader returns a client that authenticates for reading. That of the puller
// knows no ranges.
func (c *Client) reader(ctx context.Context, repo name.Repository) (*http.Client, error) {
	conn, err := c.connected(repo.Registry)
	if err != nil {
		return nil, err
	}
	if known, ok := conn.readers.Load(repo); ok {
		return known.(*http.Client), nil
	}
	auth, err := authn.Resolve(ctx, c.keychain(), repo)
	if err != nil {
		return nil, err
	}
	tr, err := transport.NewWithContext(ctx, repo.Registry, auth,
		transport.NewUserAgent(conn.link, c.UserAgent), []string{repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: tr}
	conn.readers.Store(repo, client)
	return client, nil
}
