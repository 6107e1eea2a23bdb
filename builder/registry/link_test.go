package registry_test

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stagectl/stagectl/builder/registry"
)

// A name server that is busy is asked again, one that cannot be reached is not.
func TestDialed(t *testing.T) {
	dns := func(text string) error {
		return fmt.Errorf("asking: %w", &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: text, Name: "r.test", IsTemporary: true}})
	}
	tests := []struct {
		name              string
		err               error
		failed, temporary bool
	}{
		{"busy", dns("server misbehaving"), true, true},
		{"no network", dns("dial udp 192.0.2.1:53: connect: network is unreachable"), true, false},
		{"refused", &net.OpError{Op: "dial", Err: io.EOF}, true, false},
		{"broken", &net.OpError{Op: "read", Err: io.EOF}, false, false},
	}
	for _, tt := range tests {
		if failed, temporary := registry.Dialed(tt.err); failed != tt.failed || temporary != tt.temporary {
			t.Errorf("%s: %v, %v, want %v, %v", tt.name, failed, temporary, tt.failed, tt.temporary)
		}
	}
}
