//go:build unix

package builder_test

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/stagectl/stagectl/builder/plan"
)

func TestUmask(t *testing.T) {
	before := syscall.Umask(0o022)
	t.Cleanup(func() { syscall.Umask(before) })
	var want []byte
	for _, mask := range []int{0o022, 0o077, 0o002, 0} {
		syscall.Umask(mask)
		dir := t.TempDir()
		write(t, dir, map[string]string{"conf/a.conf": "a"})
		b, _ := newBuilder(t, dir)
		got := archiveOf(t, b, serverPlan(dir, plan.Static, copyStep(t, "conf:/etc/conf")))
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Errorf("with umask %03o the archive differs", mask)
		}
	}
}
