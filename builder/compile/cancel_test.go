package compile_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/plan"
)

// listener is where processes say that they are there, and, by the end of the
// connection, that they are not any more.
type listener struct {
	net.Listener
	addr  string
	conns []net.Conn
}

func listen(t *testing.T) *listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := &listener{Listener: l, addr: l.Addr().String()}
	t.Cleanup(func() {
		l.Close()
		for _, c := range at.conns {
			c.Close()
		}
	})
	return at
}

// wait returns when n processes are there.
func (l *listener) wait(t *testing.T, n int) {
	t.Helper()
	for range n {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		l.conns = append(l.conns, conn)
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// gone returns when all processes have ended, or fails shortly before the test
// would be ended for taking too long.
func (l *listener) gone(t *testing.T) {
	t.Helper()
	for i, conn := range l.conns {
		if deadline, ok := t.Deadline(); ok {
			if err := conn.SetReadDeadline(deadline.Add(-time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("process %d is still there", i+1)
		}
	}
}

func TestCancel(t *testing.T) {
	cause := errors.New("enough")
	dir := tree(t, hello)
	calls := map[string]func(context.Context, *compile.Compiler) error{
		"list": func(ctx context.Context, c *compile.Compiler) error {
			_, err := c.List(ctx, dir, amd64, plan.GoSettings{}, []string{"."})
			return err
		},
		"build": func(ctx context.Context, c *compile.Compiler) error {
			_, err := c.Build(ctx, amd64, []plan.Compile{{Dir: dir, Package: ".", Binary: "hello"}})
			return err
		},
	}
	for name, call := range calls {
		for _, mode := range cancelModes {
			t.Run(name+", "+mode, func(t *testing.T) {
				t.Parallel()
				at, tmp := listen(t), t.TempDir()
				c := fake(mode, at.addr, "GOTMPDIR="+tmp)
				if mode != "hang" {
					compile.SetGrace(c, 1)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				done := make(chan error, 1)
				go func() { done <- call(ctx, c) }()
				at.wait(t, 2)
				cancel(cause)
				if err := <-done; !errors.Is(err, cause) {
					t.Errorf("got %v, want %v", err, cause)
				}
				at.gone(t)
				if got := leftovers(t, tmp); len(got) > 0 {
					t.Errorf("%q is left", got)
				}
			})
		}
	}
}

// TestBackground has a go command that leaves something behind.
func TestBackground(t *testing.T) {
	at := listen(t)
	c := fake("daemon", at.addr)
	compile.SetGrace(c, 1)
	build(t, c, amd64, []plan.Compile{{Dir: tree(t, hello), Package: ".", Binary: "hello"}})
	at.wait(t, 1) // so that it ends with the test
}

func TestCancelledBefore(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	c := fake("say", "0:")
	if _, err := c.List(ctx, t.TempDir(), amd64, plan.GoSettings{}, []string{"."}); !errors.Is(err, cause) {
		t.Errorf("listing: got %v, want %v", err, cause)
	}
	if _, err := c.Build(ctx, amd64, []plan.Compile{{Dir: t.TempDir(), Package: ".", Binary: "x"}}); !errors.Is(err, cause) {
		t.Errorf("building: got %v, want %v", err, cause)
	}
}
