package output

import (
	"context"
	"io"
)

// interruptible is a writer that may block for ever, as a pipe does that nobody
// empties. When ctx ends, a write is given up: it keeps p, so its caller may
// neither change p nor write again.
type interruptible struct {
	ctx context.Context //nolint:containedctx // lives as long as one archive is written
	w   io.Writer
}

func (i interruptible) Write(p []byte) (int, error) {
	return await(i.ctx, func() (int, error) { return i.w.Write(p) })
}

// await returns what f returns, or the cause of the end of ctx if that comes
// first. Then f is left to itself.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}
