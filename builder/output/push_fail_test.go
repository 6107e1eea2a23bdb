package output_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	remotetransport "github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/registry"
)

func TestPushTagRefused(t *testing.T) {
	reg := newRegistry(t)
	reg.setIntercept(func(w http.ResponseWriter, req *http.Request) bool {
		refused := req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, "/manifests/v1")
		if refused {
			http.Error(w, `{"errors":[{"code":"DENIED","message":"tag is immutable"}]}`, http.StatusConflict)
		}
		return refused
	})
	_, err := (&output.Registry{Client: client()}).Write(t.Context(), []image.Result{tagged(single(t)[0], reg.host+"/server:v1")})
	want := fmt.Sprintf("pushing to %s/server: tag v1: PUT http://%[1]s/v2/server/manifests/v1: DENIED: tag is immutable", reg.host)
	wantError(t, err, want)
}

func TestPushRefused(t *testing.T) {
	reg := newRegistry(t)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	downHost := strings.TrimPrefix(down.URL, "http://")
	digest := digestOf(t, single(t)[0]).String()
	answer := func(status int, code string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, req *http.Request) bool {
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			} else if req.URL.Path == "/v2/" {
				return false
			}
			http.Error(w, `{"errors":[{"code":"`+code+`","message":"no"}]}`, status)
			return true
		}
	}
	tests := []struct {
		name, tag string
		intercept func(http.ResponseWriter, *http.Request) bool
		status    int
		want      string
	}{
		{"not logged in", reg.host + "/x:v1", answer(401, "UNAUTHORIZED"), 401, "pushing to " + reg.host + "/x: HEAD http://" + reg.host + "/v2/x/manifests/" + digest + ": unexpected status code 401 Unauthorized"},
		{"not allowed", reg.host + "/x:v1", answer(403, "DENIED"), 403, "pushing to " + reg.host + "/x: "},
		{"down", downHost + "/x:v1", nil, 0, `pushing to ` + downHost + `/x: Get "`},
		{"digest", reg.host + "/x@" + digest, nil, 0, "pushing " + reg.host + "/x@" + digest + ": a push needs a tag, not a digest"},
		{"malformed", reg.host + "/X:v1", nil, 0, `malformed reference "` + reg.host + `/X:v1": `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg.setIntercept(tt.intercept)
			written, err := (&output.Registry{Client: client()}).Write(t.Context(), []image.Result{tagged(single(t)[0], tt.tag)})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || written != nil {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if te, ok := errors.AsType[*remotetransport.Error](err); ok != (tt.status != 0) || ok && te.StatusCode != tt.status {
				t.Errorf("a caller sees %v", te)
			}
		})
	}
	t.Run("offline", func(t *testing.T) {
		r := &output.Registry{Client: &registry.Client{Offline: true}}
		const want = "pushing: not allowed to use the network"
		wantError(t, r.Check(), want)
		_, err := r.Write(t.Context(), []image.Result{tagged(single(t)[0], reg.host+"/x:v1")})
		wantError(t, err, want)
	})
}

func TestPushCancelled(t *testing.T) {
	reg := newRegistry(t)
	results := []image.Result{tagged(multi(t), reg.host+"/x:v1", reg.host+"/y:v1")}
	for _, at := range []string{"HEAD /v2/x/manifests/sha256:", "PATCH /v2/x/blobs/uploads/", "PUT /v2/y/manifests/sha256:"} {
		t.Run(at, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			reg.setIntercept(func(_ http.ResponseWriter, req *http.Request) bool {
				if strings.HasPrefix(req.Method+" "+req.URL.Path, at) {
					cancel(errBoom)
					_, _ = io.Copy(io.Discard, req.Body) // only then a server watches the client
					<-req.Context().Done()
					return true
				}
				return false
			})
			var events recorder
			_, err := (&output.Registry{Client: client(), Progress: events.Event}).Write(ctx, results)
			wantError(t, err, "boom")
			for _, line := range events.summary() {
				if strings.HasSuffix(line, "started") || strings.HasSuffix(line, "updated") {
					t.Errorf("a task that never ends: %s", line)
				}
			}
		})
	}
	reg.setIntercept(nil)
	if got := matching(reg.take(), "manifests/v1"); len(got) > 0 {
		t.Errorf("tags were touched: %q", got)
	}
}

// The first error ends the pushes to other places.
func TestPushEndsOthers(t *testing.T) {
	refusing, slow := newRegistry(t), newRegistry(t)
	waiting := make(chan struct{})
	slow.setIntercept(func(_ http.ResponseWriter, req *http.Request) bool {
		if req.Method == http.MethodHead {
			close(waiting)
			<-req.Context().Done()
		}
		return false
	})
	refusing.setIntercept(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPut {
			return false
		}
		<-waiting
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	r := tagged(single(t)[0], refusing.host+"/x:v1", slow.host+"/x:v1")
	_, err := (&output.Registry{Client: client(), Jobs: 2}).Write(t.Context(), []image.Result{r})
	if err == nil || !strings.HasPrefix(err.Error(), "pushing to "+refusing.host+"/x: ") {
		t.Errorf("got %v", err)
	}
}

func TestPushUnreadableImage(t *testing.T) {
	for _, method := range []string{"layers", "layer digest", "manifest", "digest"} {
		t.Run(method, func(t *testing.T) {
			reg := newRegistry(t)
			img := newImage(t, amd64, newLayer(t, "server", 1000))
			img.Image = broken{img.Image, method}
			for _, images := range [][]image.Platform{{img}, {img, newImage(t, arm64)}} {
				r := newResult("server", images, reg.host+"/x:v1")
				if _, err := (&output.Registry{Client: client()}).Write(t.Context(), []image.Result{r}); !errors.Is(err, errBoom) {
					t.Errorf("got %v", err)
				}
			}
			if got := matching(reg.take(), "^PUT x/manifests/v1"); len(got) > 0 {
				t.Errorf("the tag was put")
			}
		})
	}
}
