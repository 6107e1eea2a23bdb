package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// stallAfter is how long nothing may move on a connection that should be
	// moving. It is an idle time, not a limit on how long anything takes.
	stallAfter = time.Minute
	// commitAfter is how long a registry may take to answer when it has got all
	// of an upload. Some copy and check a large layer before they do.
	commitAfter = 10 * time.Minute
)

// ErrStalled is the cause of what ends because nothing moved on a connection.
var ErrStalled = errors.New("the connection has stalled")

// stall is a round trip that ends when nothing moves.
type stall struct {
	after  func(d time.Duration, f func()) (stop func() bool)
	cancel context.CancelCauseFunc

	mu   sync.Mutex
	stop func() bool // of what runs now
	over bool
}

// watch allows d until the next call.
func (s *stall) watch(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	if d > 0 && !s.over {
		s.stop = s.after(d, func() {
			s.cancel(fmt.Errorf("%w: nothing has moved for %s", ErrStalled, d))
		})
	}
}

// end stops watching the request: what is left of its body is nobody's business.
func (s *stall) end() {
	s.watch(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

// timed does a round trip that ends when nothing moves.
func (c *Client) timed(rt http.RoundTripper, req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	after := c.after
	if after == nil {
		after = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	request := &stall{after: after, cancel: cancel}
	out := req.WithContext(ctx)
	answer := stallAfter
	if req.Method == http.MethodPut || req.Method == http.MethodPatch {
		answer = commitAfter
	}
	if req.Body == nil || req.Body == http.NoBody {
		request.watch(answer)
	} else {
		request.watch(stallAfter)
		out.Body = &sending{req.Body, request, answer}
	}
	if req.GetBody != nil { // by which net/http does it again on another connection
		out.GetBody = func() (io.ReadCloser, error) {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			return &sending{body, request, answer}, nil
		}
	}
	resp, err := rt.RoundTrip(out)
	request.end()
	if err != nil {
		err = causeOf(ctx, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &receiving{resp.Body, ctx, &stall{after: after, cancel: cancel}, familiarHost(req.URL.Host)}
	return resp, nil
}

// causeOf says that it stalled, where err is only what that led to.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrStalled) {
		return cause
	}
	return err
}

// sending is the body of a request. What counts is the time that the network
// takes for what was read, not the time it takes to read it.
type sending struct {
	io.ReadCloser
	s      *stall
	answer time.Duration
}

func (b *sending) Read(p []byte) (int, error) {
	b.s.watch(0)
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.s.watch(b.answer)
	} else {
		b.s.watch(stallAfter)
	}
	return n, err
}

// receiving is the body of a response. What counts is the time that a read
// takes, not the time until the next one.
type receiving struct {
	rc   io.ReadCloser
	ctx  context.Context //nolint:containedctx // an http.Response has one as well
	s    *stall
	host string
}

func (b *receiving) Read(p []byte) (int, error) {
	b.s.watch(stallAfter)
	n, err := b.rc.Read(p)
	b.s.watch(0)
	if err != nil && !errors.Is(err, io.EOF) {
		err = causeOf(b.ctx, err)
		if broke(err) {
			effortOf(b.ctx).broken(trouble{host: b.host, why: reason(err)})
		}
	}
	return n, err
}

func (b *receiving) Close() error {
	err := b.rc.Close()
	b.s.cancel(nil)
	return err
}
