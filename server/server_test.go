package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHandler(t *testing.T) {
	type answer struct {
		Status            int
		ContentType, Body string
	}
	const plain = "text/plain; charset=utf-8"
	tests := map[string]struct {
		method, target string
		want           answer
	}{
		"root":            {"GET", "/", answer{200, plain, "Hello from box\n"}},
		"root with query": {"GET", "/?a=b", answer{200, plain, "Hello from box\n"}},
		"health":          {"GET", "/healthz", answer{200, plain, "ok\n"}},
		"head":            {"HEAD", "/", answer{200, plain, "Hello from box\n"}}, // net/http drops the body
		"other path":      {"GET", "/index.html", answer{404, plain, "404 page not found\n"}},
		"below health":    {"GET", "/healthz/", answer{404, plain, "404 page not found\n"}},
		"other method":    {"POST", "/", answer{405, plain, "Method Not Allowed\n"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			newHandler("box").ServeHTTP(w, httptest.NewRequest(tt.method, tt.target, http.NoBody))
			got := answer{w.Code, w.Header().Get("Content-Type"), w.Body.String()}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", tt.method, tt.target, diff)
			}
		})
	}
}

func TestParsePort(t *testing.T) {
	tests := map[string]struct{ value, want, err string }{
		"unset":       {"", "8080", ""},
		"set":         {"80", "80", ""},
		"any":         {"0", "0", ""},
		"highest":     {"65535", "65535", ""},
		"zeros":       {"0080", "80", ""},
		"too high":    {"65536", "", `reading PORT: "65536" is not a number from 0 to 65535`},
		"negative":    {"-1", "", `reading PORT: "-1" is not a number from 0 to 65535`},
		"name":        {"http", "", `reading PORT: "http" is not a number from 0 to 65535`},
		"with colon":  {":8080", "", `reading PORT: ":8080" is not a number from 0 to 65535`},
		"with spaces": {" 8080 ", "", `reading PORT: " 8080 " is not a number from 0 to 65535`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parsePort(tt.value)
			if got != tt.want || errText(err) != tt.err {
				t.Errorf("parsePort(%q) = %q, %q, want %q, %q", tt.value, got, errText(err), tt.want, tt.err)
			}
		})
	}
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	addr, wait := start(ctx, t)
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := get(t, "http://"+addr+"/"), "Hello from "+hostname+"\n"; got != want {
		t.Errorf("GET / = %q, want %q", got, want)
	}

	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(ctx, true, env(port), io.Discard); err != nil {
		t.Errorf("-health while the server runs: %v", err)
	}
	cancel()
	if err := wait(); err != nil {
		t.Errorf("run after its context was cancelled: %v", err)
	}
	if err := run(t.Context(), true, env(port), io.Discard); err == nil {
		t.Error("-health after the server stopped: no error")
	}
}

func TestRunRefuses(t *testing.T) {
	taken := listen(t)
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		health     bool
		port, want string
	}{
		"malformed port":            {false, "http", "reading PORT: "},
		"malformed port for health": {true, "http", "reading PORT: "},
		"port in use":               {false, port, "opening port " + port + ": "},
		"health of any port":        {true, "0", "checking health: PORT is 0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), tt.health, env(tt.port), io.Discard)
			if !strings.HasPrefix(errText(err), tt.want) {
				t.Errorf("run with PORT=%s: got error %q, want %q…", tt.port, errText(err), tt.want)
			}
		})
	}
}

func TestRunWithClosedStdout(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	if err := run(t.Context(), false, env("0"), w); !strings.HasPrefix(errText(err), "announcing the address: ") {
		t.Errorf("run with a closed standard output: %v", err)
	}
}

// A request that is being answered when the signal comes gets its answer, and
// no other is let in.
func TestServeFinishesRequestInFlight(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ln := &closeListener{Listener: listen(t), closed: make(chan struct{})}
	begun := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-ln.closed // which is how a shutdown starts
		if r.Context().Err() != nil {
			http.Error(w, "cancelled", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "finished")
	})
	served := make(chan error, 1)
	go func() { served <- serve(ctx, ln, handler) }()
	go func() {
		<-begun
		cancel()
	}()

	url := "http://" + ln.Addr().String()
	if got := get(t, url); got != "finished" {
		t.Errorf("request in flight: got %q", got)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if resp, err := http.Get(url); err == nil {
		resp.Body.Close()
		t.Error("a request after the shutdown was answered")
	}
}

func TestServeOnClosedListener(t *testing.T) {
	ln := listen(t)
	ln.Close()
	if err := serve(t.Context(), ln, http.NotFoundHandler()); !strings.HasPrefix(errText(err), "serving on ") {
		t.Errorf("serve on a closed listener: %v", err)
	}
}

func TestCheckHealthOfUnwellServer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	want := "checking health: " + srv.URL + "/healthz answered 503 Service Unavailable"
	if got := errText(checkHealth(t.Context(), port)); got != want {
		t.Errorf("got error %q, want %q", got, want)
	}
}

// closeListener tells when it is closed.
type closeListener struct {
	net.Listener
	once   sync.Once
	closed chan struct{}
}

func (l *closeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// start runs the server on a free port and returns its address and a function
// that waits for its end.
func start(ctx context.Context, t *testing.T) (addr string, wait func() error) {
	t.Helper()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, false, env("0"), w)
		_ = w.CloseWithError(err)
		done <- err
	}()
	return readAddr(t, r), func() error { return <-done }
}

// readAddr reads the address that the server says it listens on, as one that
// can be dialled.
func readAddr(t *testing.T, stdout io.Reader) string {
	t.Helper()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("reading the server's address: %v", err)
	}
	_, port, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimSpace(line), "listening on "))
	if err != nil {
		t.Fatalf("the server said %q: %v", line, err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// env is an environment with nothing but PORT in it.
func env(port string) func(string) string {
	return func(name string) string {
		if name == "PORT" {
			return port
		}
		return ""
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
