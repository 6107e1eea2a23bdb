package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stagectl/stagectl/builder/event"
)

const (
	// attempts is how often something is tried at most.
	attempts = 5
	// firstDelay is how long the first wait is; each next one is twice as long.
	firstDelay = time.Second
	// mostDelay is the longest wait that a registry may ask for. There are some
	// that want an hour; to try before that is of no use, and a build that does
	// nothing for so long is better off failing.
	mostDelay = 2 * time.Minute
)

// trouble is why something is tried again.
type trouble struct {
	host string
	// why in few words, as "503 Service Unavailable".
	why string
	// after is how long the registry wants to be left alone, if asked is true.
	after time.Duration
	asked bool
}

// transient are the statuses that may be another one in a moment.
var transient = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	499, // nginx: the client closed the connection
	522, // Cloudflare: the server behind it was not reached
}

// trouble tells whether an answer or an error is one that may go away.
func (l *link) trouble(req *http.Request, resp *http.Response, err error) (trouble, bool) {
	t := trouble{host: familiarHost(req.URL.Host)}
	if err != nil {
		t.why = reason(err)
		return t, broke(err)
	}
	t.why = strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode))
	t.after, t.asked = retryAfter(resp.Header)
	return t, slices.Contains(transient, resp.StatusCode)
}

// retryAfter reads both forms of the header. A date is compared with the
// server's own clock, which is the one that it was made with.
func retryAfter(h http.Header) (time.Duration, bool) {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0, false
	}
	return max(at.Sub(now), 0), true
}

// broke tells whether an error is one of a connection that worked before, or
// that may work in a moment.
func broke(err error) bool {
	if failed, temporary := dialed(err); failed {
		return temporary
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	for _, known := range []error{
		ErrStalled, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		return true
	}
	// net/http has no exported types for these.
	return slices.ContainsFunc([]string{"http2: ", "stream error: ", "server closed idle connection"}, func(s string) bool {
		return strings.Contains(err.Error(), s)
	})
}

// reason says in few words what broke.
func reason(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection ended early"
	}
	return Redact(err.Error())
}

// delay returns how long to wait after the nth attempt, and whether to.
func (t trouble) delay(n int) (time.Duration, bool) {
	if n >= attempts || t.asked && t.after > mostDelay {
		return 0, false
	}
	if t.asked {
		return t.after, true
	}
	d := firstDelay << (n - 1)
	// Somewhat less or more, so that all that broke at once is not back at once.
	d += time.Duration((rand.Float64() - 0.5) / 2 * float64(d)) //nolint:gosec // no secret
	return d.Round(100 * time.Millisecond), true
}

// wait says that something is going to be tried again, and waits for that.
func (c *Client) wait(ctx context.Context, t trouble, d time.Duration) error {
	if c.Progress != nil {
		c.Progress(event.Event{
			Phase: event.Registry, Subject: t.host, State: event.Message,
			Text: fmt.Sprintf("%s: %s, trying again in %s", t.host, t.why, d),
		})
	}
	wait := c.Wait
	if wait == nil {
		wait = sleep
	}
	return wait(ctx, d)
}

// sleep waits for d to pass.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Restart does something again for as long as it fails because of a request
// that broke and that could not be repeated by itself. It is for what consists
// of several requests, one after the other, as uploads do; do has to use the
// context that it gets.
func (c *Client) Restart(ctx context.Context, do func(context.Context) error) error {
	e := &effort{}
	for n := 1; ; n++ {
		e.clear()
		err := do(context.WithValue(ctx, effortKey{}, e))
		t, ok := e.trouble()
		if err == nil || !ok || ctx.Err() != nil {
			return err
		}
		d, ok := t.delay(n)
		if !ok {
			return err
		}
		if err := c.wait(ctx, t, d); err != nil {
			return err
		}
	}
}

// effort is what is known of the requests of one thing that is done. A nil
// effort is that of something that is not done again.
type effort struct {
	mu sync.Mutex
	// last is why the last request broke, if it did.
	last *trouble
	// spent says that one request has been repeated as often as it may be. No
	// other one is then: there are no five attempts for each that is left.
	spent bool
}

type effortKey struct{}

func effortOf(ctx context.Context) *effort {
	e, _ := ctx.Value(effortKey{}).(*effort)
	return e
}

func (e *effort) set(f func()) {
	if e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		f()
	}
}

func (e *effort) clear()           { e.set(func() { e.last = nil }) }
func (e *effort) broken(t trouble) { e.set(func() { e.last = &t }) }
func (e *effort) exhaust()         { e.set(func() { e.spent = true }) }

func (e *effort) exhausted() (spent bool) {
	e.set(func() { spent = e.spent })
	return spent
}

func (e *effort) trouble() (t trouble, ok bool) {
	e.set(func() {
		if ok = e.last != nil; ok {
			t = *e.last
		}
	})
	return t, ok
}
