package output_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
)

func TestPushProgress(t *testing.T) {
	reg := newRegistry(t)
	l, there := newLayer(t, "server", 100_000), newLayer(t, "there", 1000)
	push(t, newResult("x", []image.Platform{newImage(t, amd64, there)}, reg.host+"/x:v1"))
	r := newResult("x", []image.Platform{newImage(t, amd64, there, l)}, reg.host+"/x:v2", reg.host+"/y:v2")
	var events recorder
	if _, err := (&output.Registry{Client: client(), Progress: events.Event}).Write(t.Context(), []image.Result{r}); err != nil {
		t.Fatal(err)
	}
	size, err := l.Size()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("push %s/x %s: started updated done %d/%[3]d", reg.host, digestOf(t, l).Hex[:12], size),
		fmt.Sprintf("push %s/x: started done 0/0 %s", reg.host, digestOf(t, r)),
		fmt.Sprintf("push %s/y: started done 0/0 %s", reg.host, digestOf(t, r)),
	}
	if diff := cmp.Diff(want, events.summary()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// An HTTP client closes a body when it likes, even after it has returned, and
// none of that ends the task or counts after its end.
func TestPushProgressEnds(t *testing.T) {
	l := newLayer(t, "server", 1000)
	reg := newRegistry(t)
	subject := fmt.Sprintf("push %s/x %s: ", reg.host, digestOf(t, l).Hex[:12])
	size, err := l.Size()
	if err != nil {
		t.Fatal(err)
	}
	var late []func()
	tests := []struct {
		name string
		// send is what the client does with the body of the layer.
		send func(t *testing.T, body io.ReadCloser)
		sent int64
	}{
		{"closed", func(t *testing.T, body io.ReadCloser) {
			readSome(t, body, 500)
			closeBody(t, body)
		}, 500},
		{"closed and read again", func(t *testing.T, body io.ReadCloser) {
			readSome(t, body, 500)
			closeBody(t, body)
			readSome(t, body, 100)
			closeBody(t, body)
		}, 600},
		{"closed late", func(t *testing.T, body io.ReadCloser) {
			readSome(t, body, 500)
			late = append(late, func() {
				readSome(t, body, 500)
				closeBody(t, body)
			})
		}, 500},
		{"all read", func(t *testing.T, body io.ReadCloser) {
			readSome(t, body, size)
			closeBody(t, body)
		}, size},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var events recorder
			transport(t, func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
				if req.Method == http.MethodPatch && req.ContentLength == size {
					tt.send(t, req.Body)
					return nil, errBoom
				}
				return next.RoundTrip(req)
			})
			r := newResult("x", []image.Platform{newImage(t, amd64, l)}, reg.host+"/x:v1")
			_, err := (&output.Registry{Client: client(), Progress: events.Event}).Write(t.Context(), []image.Result{r})
			if !errors.Is(err, errBoom) {
				t.Errorf("got %v", err)
			}
			for _, f := range late {
				f()
			}
			late = nil
			got := matching(events.summary(), subject)
			if want := fmt.Sprintf("%sstarted updated failed %d/%d Patch ", subject, tt.sent, size); len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("events of the upload: got %q, want %s…", got, want)
			}
			if n := events.count("done", "failed"); n != 2 {
				t.Errorf("%d tasks ended, not the layer's and the repository's", n)
			}
		})
	}
}

func readSome(t *testing.T, r io.Reader, n int64) {
	t.Helper()
	if _, err := io.CopyN(io.Discard, r, n); err != nil {
		t.Error(err)
	}
}

func closeBody(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
