package compile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
)

// errClosed is the cause of the end of what Close ended.
var errClosed = errors.New("the binaries are not needed any more")

// Binaries are the outputs of one Build or Start. They stay as they are until
// Close, whatever other builds do.
type Binaries struct {
	// List is parallel to the steps. It is complete when Build has returned.
	List []Binary

	mu    sync.Mutex
	ready []chan struct{}
	have  []bool
	dir   string

	stop  context.CancelCauseFunc
	ended chan struct{}
	err   error // after ended
}

func newBinaries(n int) *Binaries {
	b := &Binaries{List: make([]Binary, n), have: make([]bool, n), ended: make(chan struct{})}
	for range n {
		b.ready = append(b.ready, make(chan struct{}))
	}
	return b
}

// Finished are the binaries of n steps: those that are there already, and the
// error that kept the others from being.
func Finished(n int, list []Binary, err error) *Binaries {
	b := newBinaries(n)
	b.stop = func(error) {}
	for i := range list {
		b.set(i, list[i])
	}
	b.end(err)
	return b
}

// Wait returns the binary of a step when it is there. An error is that of the
// whole Start.
func (b *Binaries) Wait(ctx context.Context, step int) (Binary, error) {
	select {
	case <-b.ended:
	case <-b.ready[step]:
	case <-ctx.Done():
		return Binary{}, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.have[step] {
		return Binary{}, b.err
	}
	return b.List[step], nil
}

// Ended is closed when all binaries are there, or one failed.
func (b *Binaries) Ended() <-chan struct{} { return b.ended }

// Err is what kept the binaries from being there, once it has ended.
func (b *Binaries) Err() error { return b.err }

// Close ends what is going on, and removes the binaries.
func (b *Binaries) Close() {
	b.stop(errClosed)
	<-b.ended
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// set gives out the binary of a step, once.
func (b *Binaries) set(step int, bin Binary) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.have[step] {
		b.have[step], b.List[step] = true, bin
		close(b.ready[step])
	}
}

func (b *Binaries) end(err error) {
	b.err = err
	close(b.ended)
}

// Open returns the content of the binary. One that was remembered, or whose
// file has been deleted, is compiled now; that it then is another one is an
// error.
func (b Binary) Open(ctx context.Context) (io.ReadCloser, error) {
	if b.Path != "" {
		f, err := os.Open(b.Path)
		if err == nil || b.remake == nil || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	path, err := b.remake(ctx)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}
