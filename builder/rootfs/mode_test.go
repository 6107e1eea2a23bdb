package rootfs_test

import (
	"io/fs"
	"testing"

	"github.com/stagectl/stagectl/builder/rootfs"
)

func TestMode(t *testing.T) {
	const dir = fs.ModeDir
	tests := []struct {
		mode       string
		old, umask fs.FileMode
		want       fs.FileMode
	}{
		{"755", 0o600, 0o022, 0o755},
		{"0", 0o777, 0, 0},
		{"4755", dir | 0o700, 0, dir | fs.ModeSetuid | 0o755},
		{"1777", dir | 0o755, 0, dir | fs.ModeSticky | 0o777},
		{"07777", 0, 0, fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky | 0o777},
		{"644", fs.ModeSetuid | 0o755, 0, 0o644},
		{"u+x", 0o644, 0, 0o744},
		{"+x", 0o644, 0o022, 0o755},
		{"+x", 0o644, 0o077, 0o744},
		{"+w", 0o444, 0o022, 0o644},
		{"a+w", 0o444, 0o022, 0o666},
		{"-w", 0o666, 0o022, 0o466},
		{"=r", 0o777, 0o022, 0o444},
		{"go-rwx", 0o777, 0, 0o700},
		{"u=rwx,g=rx,o=", 0, 0, 0o750},
		{"u=rw,go=u-w", 0o777, 0, 0o644},
		{"g=u", 0o640, 0, 0o660},
		{"o=g", 0o640, 0, 0o644},
		{"a+X", 0o644, 0, 0o644},
		{"a+X", 0o744, 0, 0o755},
		{"a+X", dir | 0o600, 0, dir | 0o711},
		{"u+s", 0o755, 0, fs.ModeSetuid | 0o755},
		{"g+s", 0o755, 0, fs.ModeSetgid | 0o755},
		{"o+s", 0o755, 0, 0o755},
		{"+t", dir | 0o777, 0o022, dir | fs.ModeSticky | 0o777},
		{"u-s,a-t", fs.ModeSetuid | fs.ModeSticky | 0o755, 0, 0o755},
		{"u=rwx", fs.ModeSetuid | 0o655, 0, 0o755},
		{"g=rx", dir | fs.ModeSetgid | 0o700, 0, dir | fs.ModeSetgid | 0o750},
		{"u+r-x+w", 0o100, 0, 0o600},
		{"ug=", 0o777, 0, 0o007},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			m, err := rootfs.ParseMode(tt.mode)
			must(t, err)
			if got := m.Apply(tt.old, tt.umask); got != tt.want {
				t.Errorf("%v becomes %v (%o), want %v", tt.old, got, got.Perm(), tt.want)
			}
		})
	}
	for _, s := range []string{"", "888", "10000", "99999999999999999999", "u", "u+", "x+u,", "rwx", "u+rq", "u+ug", "+x,", ",", "u~x", "+-", "0x1f", "-644"} {
		if s == "u+" || s == "+-" {
			continue // nothing is added, which chmod allows
		}
		if m, err := rootfs.ParseMode(s); err == nil {
			t.Errorf("%q is taken as %v", s, m)
		}
	}
}

func FuzzMode(f *testing.F) {
	for _, s := range []string{"755", "u+x", "a=rwX,o-w", "g=u-w", "+t", "u=s", "7777"} {
		f.Add(s, uint32(0o644))
	}
	f.Fuzz(func(t *testing.T, s string, old uint32) {
		m, err := rootfs.ParseMode(s)
		if err != nil {
			return
		}
		before := fs.FileMode(old)
		after := m.Apply(before, 0o022)
		const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
		if before&^bits != after&^bits {
			t.Errorf("%q changes %v to %v", s, before, after)
		}
		if _, octal := m.Octal(); octal && m.Apply(0, 0) != after&bits {
			t.Errorf("%q depends on what was", s)
		}
	})
}
