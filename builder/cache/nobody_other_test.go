//go:build unix && !linux

package cache_test

import (
	"os"
	"testing"
)

func asNobody(t *testing.T, _ string, do func()) {
	t.Helper()
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	do()
}
