package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// FileRequest is a file that somebody names by its address.
type FileRequest struct {
	// URL is http or https.
	URL string
	// ETag and LastModified are those of a copy that is there already.
	ETag, LastModified string
	// Limit of the size in bytes; 0 is none.
	Limit int64
}

// File is what came of a FileRequest.
type File struct {
	// NotModified says that the copy is still right. There is no Body then.
	NotModified bool
	// Body goes on where the connection breaks. It ends with a *LimitError where
	// it is too large.
	Body io.ReadCloser
	// Size is -1 where the server does not say it.
	Size int64
	// ETag and LastModified are for the next FileRequest.
	ETag, LastModified string
}

// StatusError is returned where a server does not give a file.
type StatusError struct {
	// Host that was asked, in the end.
	Host   string
	Code   int
	Status string
}

func (e *StatusError) Error() string { return e.Host + " answers " + e.Status }

// LimitError is returned for a file that is too large.
type LimitError struct{ Limit int64 }

func (e *LimitError) Error() string {
	return fmt.Sprintf("it is larger than %d MiB, which is the limit", e.Limit>>20)
}

// ErrChanged is returned where a file is another one when its download goes on.
var ErrChanged = errors.New("the file changed while it was downloaded")

// MetadataError is returned for an address at which a cloud machine finds its own
// credentials, and nothing that is meant for others.
type MetadataError struct{ Address netip.Addr }

func (e *MetadataError) Error() string {
	return fmt.Sprintf("the address %s is for a machine's own metadata and credentials", e.Address)
}

// File gets a file from a server that is no registry. No credentials are sent,
// but for those that the URL has.
//
// Who names a URL may name one of its own network, as with a base. But a server
// at a public address cannot send the client to a private one, none can from
// TLS to plain HTTP, and where clouds hand out credentials nobody is sent.
func (c *Client) File(ctx context.Context, r FileRequest) (*File, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("malformed URL: it is http://HOST/PATH or https://HOST/PATH")
	}
	c.once.Do(func() { c.pools = newPools(c) })
	f := &fetch{c: c, client: &http.Client{Transport: &link{c: c, host: u.Host, file: true}}, url: r.URL}
	header := http.Header{}
	if r.ETag != "" {
		header.Set("If-None-Match", r.ETag)
	}
	if r.LastModified != "" {
		header.Set("If-Modified-Since", r.LastModified)
	}
	resp, err := f.get(ctx, header)
	if err != nil {
		return nil, Clean(err)
	}
	f.first = resp.Header
	file := &File{Size: resp.ContentLength, ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified")}
	switch {
	case resp.StatusCode == http.StatusNotModified && len(header) > 0:
		discard(resp.Body)
		return &File{NotModified: true, ETag: r.ETag, LastModified: r.LastModified}, nil
	case resp.StatusCode != http.StatusOK:
		discard(resp.Body)
		return nil, statusError(resp)
	case r.Limit > 0 && file.Size > r.Limit:
		_ = resp.Body.Close()
		return nil, &LimitError{r.Limit}
	}
	size := file.Size
	if size < 0 {
		size = 1<<63 - 1
	}
	file.Body = &resumed{ctx: ctx, c: c, host: u.Host, size: size, rc: resp.Body, from: f.from}
	if r.Limit > 0 {
		file.Body = &limited{file.Body, r.Limit, r.Limit}
	}
	return file, nil
}

func statusError(resp *http.Response) error {
	return &StatusError{familiarHost(resp.Request.URL.Host), resp.StatusCode, resp.Status}
}

// fetch is one download, which may take several requests.
type fetch struct {
	c      *Client
	client *http.Client
	url    string
	// first has the headers of the first answer.
	first http.Header
}

func (f *fetch) get(ctx context.Context, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	// What is asked for is the file, not some form of it that is smaller.
	req.Header.Set("Accept-Encoding", "identity")
	if f.c.UserAgent != "" {
		req.Header.Set("User-Agent", f.c.UserAgent)
	}
	resp, err := f.client.Do(req)
	// It says again what was asked for, with all that is secret in it.
	if ue := (*url.Error)(nil); errors.As(err, &ue) {
		err = ue.Err
	}
	return resp, err
}

// from opens the file at an offset. A server that knows no ranges gives all of it.
func (f *fetch) from(ctx context.Context, at int64) (io.ReadCloser, error) {
	resp, err := f.get(ctx, http.Header{"Range": {fmt.Sprintf("bytes=%d-", at)}})
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"ETag", "Last-Modified"} {
		if resp.Header.Get(key) != f.first.Get(key) && resp.StatusCode < http.StatusMultipleChoices {
			_ = resp.Body.Close()
			return nil, ErrChanged
		}
	}
	var start, end int64
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d", &start, &end); err == nil && start == at {
			return resp.Body, nil
		}
		err = errors.New("the server answers with a part that was not asked for")
	case http.StatusOK:
		if _, err = io.CopyN(io.Discard, resp.Body, at); err == nil {
			return resp.Body, nil
		}
	default:
		err = statusError(resp)
	}
	_ = resp.Body.Close()
	return nil, err
}

// limited reads up to a limit, and no byte more.
type limited struct {
	io.ReadCloser
	left, limit int64
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, &LimitError{l.limit}
	}
	return n, err
}

// allowFile refuses to leave TLS. Where a file is to come from is the caller's
// own to say.
func allowFile(req *http.Request) error {
	if req.URL.Scheme == "http" && req.Response != nil && req.Response.Request.URL.Scheme == "https" {
		return fmt.Errorf("%s redirects from https to http, by which anybody may change the file: name %s itself",
			familiarHost(req.Response.Request.URL.Host), Redact(strings.TrimSuffix(req.URL.String(), "?")))
	}
	return nil
}

// metadata are the addresses that MetadataError is about, beside all that are
// link-local: of Azure, Alibaba, Oracle, and AWS by IPv6.
var metadata = []netip.Addr{
	netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("192.0.0.192"), netip.MustParseAddr("fd00:ec2::254"),
}

func isMetadata(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, known := range metadata {
		if addr == known {
			return true
		}
	}
	return addr.IsLinkLocalUnicast()
}

// refuseMetadata is the Control function of the dialer for files.
func refuseMetadata(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err == nil && isMetadata(addr.Addr()) {
		err = &MetadataError{addr.Addr()}
	}
	return err
}
