package registry_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/registry/faulty"
)

// fileServer has content at each path, with faults.
type fileServer struct {
	faulty.Faults
	*httptest.Server
	etag string

	mu   sync.Mutex
	seen []*http.Request
}

func newFileServer(t *testing.T) *fileServer {
	t.Helper()
	s := &fileServer{etag: `"1"`}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Clone(r.Context()))
		s.mu.Unlock()
		s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.etag != "" {
				w.Header().Set("ETag", s.etag)
			}
			http.ServeContent(w, r, "", time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), bytes.NewReader(content))
		})).ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *fileServer) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// get reads all of a file.
func get(t *testing.T, c *registry.Client, r registry.FileRequest) ([]byte, *registry.File, error) {
	t.Helper()
	f, err := c.File(t.Context(), r)
	if err != nil || f.NotModified {
		return nil, f, err
	}
	defer f.Body.Close()
	read, err := io.ReadAll(f.Body)
	return read, f, err
}

func TestFile(t *testing.T) {
	half := len(content) / 2
	rest := "bytes=131072-"
	fault := func(f ...faulty.Fault) []faulty.Fault { return f }
	tests := map[string]struct {
		faults []faulty.Fault
		want   []string // the ranges; nil where it fails
		err    string
	}{
		"no fault":             {nil, []string{""}, ""},
		"busy":                 {fault(faulty.Status(503), faulty.Status(429, "Retry-After", "7")), []string{"", "", ""}, ""},
		"a lost connection":    {fault(faulty.Reset(0)), []string{"", ""}, ""},
		"an early end":         {fault(faulty.Short(half)), []string{"", rest}, ""},
		"trouble meanwhile":    {fault(faulty.Short(half), faulty.Status(502)), []string{"", rest, rest}, ""},
		"no ranges":            {fault(faulty.Short(half), faulty.NoRange), []string{"", rest}, ""},
		"changed meanwhile":    {fault(faulty.Short(half), faulty.Header(func(h http.Header) { h.Set("ETag", `"2"`) })), nil, "the file changed"},
		"another part":         {fault(faulty.Short(half), faulty.Header(func(h http.Header) { h.Set("Content-Range", "bytes 5-9/99") })), nil, "not asked for"},
		"gone":                 {fault(faulty.Status(404)), nil, "answers 404 Not Found"},
		"gone meanwhile":       {fault(faulty.Short(half), faulty.Status(410)), nil, "answers 410 Gone"},
		"out of order":         {slices.Repeat(fault(faulty.Status(500)), 9), nil, "answers 500"},
		"a redirect to itself": {slices.Repeat(fault(faulty.Redirect(302, "")), 20), nil, "stopped after 10 redirects"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newFileServer(t)
			for _, f := range tt.faults {
				s.Inject(faulty.Other, 1, f)
			}
			c, w := impatient()
			read, f, err := get(t, c, registry.FileRequest{URL: s.URL + "/f"})
			if tt.want == nil {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(read, content) || f.Size != int64(len(content)) || f.ETag != `"1"` || f.LastModified == "" {
				t.Errorf("got %d bytes, %+v", len(read), f)
			}
			var ranges []string
			for _, r := range s.requests() {
				ranges = append(ranges, r.Header.Get("Range"))
			}
			if diff := cmp.Diff(tt.want, ranges); diff != "" {
				t.Errorf("ranges (-want +got):\n%s", diff)
			}
			if len(w.messages) != len(tt.want)-1 && name != "no ranges" {
				t.Errorf("told %q of %d more attempts", w.messages, len(tt.want)-1)
			}
		})
	}
}

// What a copy is there of is not sent again.
func TestFileUnchanged(t *testing.T) {
	s := newFileServer(t)
	c, _ := impatient()
	_, f, err := get(t, c, registry.FileRequest{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	again := registry.FileRequest{URL: s.URL, ETag: f.ETag, LastModified: f.LastModified}
	if _, f, err := get(t, c, again); err != nil || !f.NotModified {
		t.Errorf("got %+v, %v", f, err)
	}
	s.etag = `"2"`
	if read, f, err := get(t, c, again); err != nil || f.NotModified || !bytes.Equal(read, content) {
		t.Errorf("of another file: got %+v, %v", f, err)
	}
}

// A file is held to its limit, whether the server says how large it is or not.
func TestFileLimit(t *testing.T) {
	s := newFileServer(t)
	chunked := faulty.Fault(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(content)
	})
	for _, faults := range [][]faulty.Fault{nil, {chunked}} {
		for _, f := range faults {
			s.Inject(faulty.Other, faulty.Always, f)
		}
		c, _ := impatient()
		n := int64(len(content))
		if read, _, err := get(t, c, registry.FileRequest{URL: s.URL, Limit: n}); err != nil || len(read) != int(n) {
			t.Errorf("at the limit: got %d bytes, %v", len(read), err)
		}
		le := (*registry.LimitError)(nil)
		if read, _, err := get(t, c, registry.FileRequest{URL: s.URL, Limit: n - 1}); !errors.As(err, &le) || len(read) >= int(n) {
			t.Errorf("over the limit: got %d bytes, %v", len(read), err)
		}
	}
}

// A server on which nothing moves is given up, and asked again.
func TestFileStall(t *testing.T) {
	for name, n := range map[string]int{"no answer": -1, "half of one": len(content) / 2} {
		t.Run(name, func(t *testing.T) {
			s := newFileServer(t)
			c, w := impatient()
			clock := &stalls{}
			w.then = clock.stop
			c.SetTimers(clock.after)
			s.Inject(faulty.Other, 1, func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				reading := clock.started()
				if n < 0 {
					reading = nil // there is nothing to read
				}
				faulty.Stall(n)(rw, r.WithContext(stalling{r.Context(), clock, reading}), next)
			})
			read, _, err := get(t, c, registry.FileRequest{URL: s.URL})
			if err != nil || !bytes.Equal(read, content) {
				t.Errorf("got %d bytes, %v", len(read), err)
			}
			if len(w.messages) != 1 || !strings.Contains(w.messages[0], "stalled") {
				t.Errorf("told %q", w.messages)
			}
		})
	}
}

// TestFileDetours has servers send the client where it does not go.
func TestFileDetours(t *testing.T) {
	internal := newFileServer(t)
	at := func(port string) func(netip.AddrPort) bool {
		return func(a netip.AddrPort) bool { return strings.HasSuffix(a.String(), ":"+port) }
	}
	_, internalPort, _ := strings.Cut(strings.TrimPrefix(internal.URL, "http://"), ":")

	t.Run("public to private", func(t *testing.T) {
		s := newFileServer(t)
		s.Inject(faulty.Other, 1, faulty.Redirect(302, internal.URL+"/secret"))
		c, _ := impatient()
		c.SetPrivate(at(internalPort))
		pe := (*registry.PrivateError)(nil)
		if _, _, err := get(t, c, registry.FileRequest{URL: s.URL}); !errors.As(err, &pe) || len(internal.requests()) > 0 {
			t.Errorf("got %v, and %d requests", err, len(internal.requests()))
		}
	})
	t.Run("private by name", func(t *testing.T) {
		c, _ := impatient()
		c.SetPrivate(at(internalPort))
		if _, _, err := get(t, c, registry.FileRequest{URL: internal.URL}); err != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("private to private", func(t *testing.T) {
		s := newFileServer(t)
		s.Inject(faulty.Other, 1, faulty.Redirect(302, internal.URL))
		c, _ := impatient()
		c.SetPrivate(func(netip.AddrPort) bool { return true })
		if _, _, err := get(t, c, registry.FileRequest{URL: s.URL}); err != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("from TLS to none", func(t *testing.T) {
		s := httptest.NewTLSServer(http.RedirectHandler(internal.URL+"/x?sig=pl4nted", http.StatusFound))
		defer s.Close()
		c, _ := impatient()
		c.Insecure = []string{strings.TrimPrefix(s.URL, "https://")} // its certificate is nobody's
		_, _, err := get(t, c, registry.FileRequest{URL: s.URL})
		if err == nil || !strings.Contains(err.Error(), "from https to http") || strings.Contains(err.Error(), "pl4nted") {
			t.Errorf("got %v", err)
		}
	})
	for _, address := range []string{"169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]", "168.63.129.16", "100.100.100.200", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]"} {
		t.Run("metadata at "+address, func(t *testing.T) {
			c, w := impatient()
			me := (*registry.MetadataError)(nil)
			if _, _, err := get(t, c, registry.FileRequest{URL: "http://" + address + "/latest/"}); !errors.As(err, &me) || len(w.all) > 0 {
				t.Errorf("directly: got %v", err)
			}
			s := newFileServer(t)
			s.Inject(faulty.Other, 1, faulty.Redirect(302, "http://"+address+"/latest/"))
			c.SetPrivate(func(netip.AddrPort) bool { return true })
			if _, _, err := get(t, c, registry.FileRequest{URL: s.URL}); err == nil || !strings.Contains(err.Error(), "private") && !errors.As(err, &me) {
				t.Errorf("by a redirect: got %v", err)
			}
		})
	}
}

// No text has what is secret in a URL, and no server is told more than it has to be.
func TestFileSecrets(t *testing.T) {
	s := newFileServer(t)
	at := strings.Replace(s.URL, "http://", "http://user:pl4nted@", 1)
	c, w := impatient()
	c.Keychain = password{"user", "pl4nted-as-well"}
	s.Inject(faulty.Other, 1, faulty.Status(503))
	s.Inject(faulty.Other, 1, faulty.Status(403))
	_, _, err := get(t, c, registry.FileRequest{URL: at + "/f?sig=pl4nted"})
	if err == nil || strings.Contains(err.Error(), "pl4nted") {
		t.Errorf("got %v", err)
	}
	for _, url := range []string{"http://user:pl4nted@localhost:1/?pl4nted", "http://user:pl4nted@%zz/", "ftp://user:pl4nted@x/", "http://?pl4nted"} {
		if _, _, err := get(t, c, registry.FileRequest{URL: url}); err == nil || strings.Contains(err.Error(), "pl4nted") {
			t.Errorf("%s: got %v", url, err)
		}
	}
	if text := strings.Join(w.messages, "\n"); text == "" || strings.Contains(text, "pl4nted") {
		t.Errorf("told %q", text)
	}
	if user, word, _ := s.requests()[0].BasicAuth(); user != "user" || word != "pl4nted" {
		t.Errorf("the server was told %q", s.requests()[0].Header)
	}
}

func TestFileOffline(t *testing.T) {
	c := &registry.Client{Offline: true}
	if _, err := c.File(t.Context(), registry.FileRequest{URL: "http://localhost:1"}); !errors.Is(err, registry.ErrOffline) {
		t.Errorf("got %v", err)
	}
}
