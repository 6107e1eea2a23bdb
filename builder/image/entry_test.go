package image_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/image"
)

func TestReadEntries(t *testing.T) {
	got, err := image.ReadEntries(strings.NewReader(tarWith(files{"f": "12345"},
		tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}},
		tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o100644, Uid: 1, Gid: 2, Uname: "u", Gname: "g"},
		hardlink("./h", "./f"), symlink("s", "../f"), file(".wh.x"), file("f2"), file("f2"),
	)+"trailing bytes"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range got {
		if e.ModTime != 0 && e.ModTime != -62135596800 { // what package tar writes for no time
			t.Errorf("%s has time %d", e.Path, e.ModTime)
		}
		got[i].ModTime = 0
	}
	want := []image.Entry{
		{Path: "/f", Type: tar.TypeReg, Mode: 0o644, UID: 1, GID: 2, Uname: "u", Gname: "g", Size: 5},
		{Path: "/h", Type: tar.TypeLink, Link: "/f"},
		{Path: "/s", Type: tar.TypeSymlink, Mode: 0o777, Link: "../f"},
		{Path: "/.wh.x", Type: tar.TypeReg, Mode: 0o644},
		{Path: "/f2", Type: tar.TypeReg, Mode: 0o644},
		{Path: "/f2", Type: tar.TypeReg, Mode: 0o644},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ReadEntries (-want +got):\n%s", diff)
	}
}

func TestReadEntriesRefuses(t *testing.T) {
	long := strings.Repeat("x", 5000)
	good := tarWith(nil, file("a"))
	broken := errors.New("the digest is wrong")
	tests := []struct {
		name  string
		layer io.Reader
		want  string
	}{
		{"long name", strings.NewReader(tarWith(nil, file("a"), file(long))), "reading layer entry 2: a name of 5000 bytes is too long"},
		{"long link", strings.NewReader(tarWith(nil, symlink("a", long))), "reading layer entry 1: a name of 5000 bytes is too long"},
		{"truncated", strings.NewReader(good[:300]), "reading layer entry 1: unexpected EOF"},
		{"not a tar", strings.NewReader(strings.Repeat("x", 1024)), "reading layer entry 1: archive/tar: invalid tar header"},
		{
			"error after the last entry", io.MultiReader(strings.NewReader(good), iotest.ErrReader(broken)),
			"reading layer entry 2: the digest is wrong",
		},
		{"more paths than any image has", &manyPaths{}, "there are more than 4194304 files and directories"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entries, err := image.ReadEntries(tt.layer, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ReadEntries gave %d entries, %v, want %q", len(entries), err, tt.want)
			}
		})
	}
}

// manyPaths is an endless tar of files that share no directory with the one
// before, so that each makes thousands.
type manyPaths struct {
	n    byte
	rest bytes.Buffer
}

func (m *manyPaths) Read(p []byte) (int, error) {
	if m.rest.Len() == 0 {
		m.n++
		entry := tarWith(nil, file(strings.Repeat(string('a'+rune(m.n%2))+"/", 2000)+"f"))
		m.rest.WriteString(entry[:len(entry)-1024])
	}
	return m.rest.Read(p)
}

// TestReadEntriesHugeSparseFile has a gigantic file in a layer of a kilobyte.
func TestReadEntriesHugeSparseFile(t *testing.T) {
	layer := block(tar.TypeGNUSparse, "huge", 0, map[int]string{257: "ustar  \x00", 483: "77777777777\x00"})
	entries, err := image.ReadEntries(strings.NewReader(layer+strings.Repeat("\x00", 1024)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]image.Entry{{Path: "/huge", Type: tar.TypeReg, Mode: 0o644, Size: 1<<33 - 1}}, entries); diff != "" {
		t.Errorf("ReadEntries (-want +got):\n%s", diff)
	}
}

func TestEntryFormat(t *testing.T) {
	tests := []struct {
		entry image.Entry
		text  string
		mode  fs.FileMode
	}{
		{image.Entry{Path: "/app", Type: tar.TypeDir, Mode: 0o755}, "drwxr-xr-x 0:0 /app", fs.ModeDir | 0o755},
		{image.Entry{Path: "/tmp", Type: tar.TypeDir, Mode: 0o1777}, "drwxrwxrwt 0:0 /tmp", fs.ModeDir | fs.ModeSticky | 0o777},
		{image.Entry{Path: "/t", Type: tar.TypeDir, Mode: 0o1666}, "drw-rw-rwT 0:0 /t", fs.ModeDir | fs.ModeSticky | 0o666},
		{image.Entry{Path: "/app/server", Type: tar.TypeReg, Mode: 0o755, Size: 123}, "-rwxr-xr-x 0:0 123 /app/server", 0o755},
		{image.Entry{Path: "/e", Type: tar.TypeReg, UID: 65532, GID: 7}, "---------- 65532:7 0 /e", 0},
		{image.Entry{Path: "/su", Type: tar.TypeReg, Mode: 0o6755}, "-rwsr-sr-x 0:0 0 /su", fs.ModeSetuid | fs.ModeSetgid | 0o755},
		{image.Entry{Path: "/s", Type: tar.TypeReg, Mode: 0o6644}, "-rwSr-Sr-- 0:0 0 /s", fs.ModeSetuid | fs.ModeSetgid | 0o644},
		{image.Entry{Path: "/x", Type: tar.TypeSymlink, Mode: 0o777, Link: "/y"}, "lrwxrwxrwx 0:0 /x -> /y", fs.ModeSymlink | 0o777},
		{image.Entry{Path: "/h", Type: tar.TypeLink, Mode: 0o644, Link: "/y"}, "hrw-r--r-- 0:0 /h -> /y", 0o644},
		{
			image.Entry{Path: "/dev/null", Type: tar.TypeChar, Mode: 0o666, DevMajor: 1, DevMinor: 3},
			"crw-rw-rw- 0:0 1,3 /dev/null", fs.ModeDevice | fs.ModeCharDevice | 0o666,
		},
		{image.Entry{Path: "/dev/sda", Type: tar.TypeBlock, DevMajor: 8}, "b--------- 0:0 8,0 /dev/sda", fs.ModeDevice},
		{image.Entry{Path: "/p", Type: tar.TypeFifo, Mode: 0o600}, "prw------- 0:0 /p", fs.ModeNamedPipe | 0o600},
		{image.Entry{Path: "/with space, ümlaut", Type: tar.TypeFifo}, "p--------- 0:0 /with space, ümlaut", fs.ModeNamedPipe},
		{image.Entry{Path: "/a\n\x1b[31m", Type: tar.TypeFifo}, `p--------- 0:0 "/a\n\x1b[31m"`, fs.ModeNamedPipe},
		{image.Entry{Path: "/\xff", Type: tar.TypeSymlink, Link: "\u202e"}, `l--------- 0:0 "/\xff" -> "\u202e"`, fs.ModeSymlink},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			if got := tt.entry.String(); got != tt.text {
				t.Errorf("String is  %s\nwant       %s", got, tt.text)
			}
			if got := tt.entry.FileMode(); got != tt.mode {
				t.Errorf("FileMode is %v, want %v", got, tt.mode)
			}
		})
	}
}

// FuzzReadEntries reads and merges any layer, over another one.
func FuzzReadEntries(f *testing.F) {
	f.Add([]byte(tarWith(nil, dir("./"), file("a/b"), file("a/.wh..wh..opq"), file(".wh.c"), hardlink("d", "a/b"))), true)
	f.Add([]byte(tarWith(nil, symlink("run", "../var/run"), symlink("var/run", "/run"), file("run/x"))), false)
	f.Add([]byte(tarWith(nil, symlink("usr", "etc"), file("usr/x"), hardlink("/", "etc/x"), file(".wh.etc"))), true)
	below, err := image.ReadEntries(strings.NewReader(tarWith(nil,
		dir("a"), file("a/b"), file("c"), dir("run"), symlink("var/run", "/run"), hardlink("d", "c"), symlink("etc", "a"))), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, twice bool) {
		entries, err := image.ReadEntries(bytes.NewReader(data), nil)
		if err != nil {
			return
		}
		for _, e := range entries {
			_ = e.String()
			_ = e.FileMode()
		}
		layers := [][]image.Entry{below, entries}
		if twice {
			layers = append(layers, entries)
		}
		checkTree(t, image.Merge(layers))
	})
}
