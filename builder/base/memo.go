package base

import (
	"context"
	"sync"
)

// memo gets each value once, however many ask for it at once. Errors are for
// those who were waiting, and are then forgotten.
type memo[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*call[V]
}

type call[V any] struct {
	done  chan struct{}
	value V
	err   error
	// stopped says that the context of the one who made the call has ended.
	stopped bool
}

// get returns the value of key, from find if it is not known. ctx is the one
// that find works with.
func (m *memo[K, V]) get(ctx context.Context, key K, find func() (V, error)) (V, error) {
	for {
		c, first := m.enter(key)
		if first {
			c.value, c.err = find()
			c.stopped = ctx.Err() != nil
			m.leave(key, c)
			return c.value, c.err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return c.value, context.Cause(ctx)
		}
		if c.err == nil || !c.stopped {
			return c.value, c.err
		}
	}
}

// enter returns the call for key, and whether the caller has to make it.
func (m *memo[K, V]) enter(key K) (c *call[V], first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.calls[key]; ok {
		return c, false
	}
	if m.calls == nil {
		m.calls = map[K]*call[V]{}
	}
	c = &call[V]{done: make(chan struct{})}
	m.calls[key] = c
	return c, true
}

func (m *memo[K, V]) leave(key K, c *call[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.err != nil {
		delete(m.calls, key)
	}
	close(c.done)
}
