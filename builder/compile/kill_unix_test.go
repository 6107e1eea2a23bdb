//go:build unix

package compile_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stagectl/stagectl/builder/plan"
)

// cancelModes are the fakes that TestCancel ends, each with its child.
var cancelModes = []string{"hang", "stubborn", "orphan"}

// TestCancelAsks has a go command that has something to do before it ends.
func TestCancelAsks(t *testing.T) {
	at := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := fake("polite", at.addr).List(ctx, t.TempDir(), amd64, plan.GoSettings{}, []string{"."})
		done <- err
	}()
	at.wait(t, 1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if said, err := io.ReadAll(at.conns[0]); err != nil || string(said) != "!" {
		t.Errorf("the last that was heard is %q, %v", said, err)
	}
}
