package transfer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
	"github.com/stagectl/stagectl/builder/rootfs/transfer"
)

// archive makes a tar in which each file has its name as its content.
func archive(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			h.Size = int64(len(h.Name))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		must(t, tw.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(tw, h.Name)
			must(t, err)
		}
	}
	must(t, tw.Close())
	return b.String()
}

func add(t *testing.T, dst *rootfs.FS, dest, content string) error {
	t.Helper()
	src := rootfstest.NewTree()
	src.Infos["/x.tar"] = rootfs.Info{Path: "/x.tar", Mode: 0o640, Size: int64(len(content))}
	src.Contents["/x.tar"] = content
	return transfer.Copy(t.Context(), dst, src, transfer.Spec{Sources: []string{"x.tar"}, Dest: dest, Unpack: true})
}

func TestAddArchive(t *testing.T) {
	dir := func(name string, mode int64) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}
	}
	symlink := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	hard := func(name, to string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to} }
	long := strings.Repeat("long/", 60) + "name"
	above := int64(1)<<40 - 1 // -1 where int has 32 bits
	// All cases extract to /opt, where there are a file and a link.
	below := []string{"drwx------ 1:1 /opt", "-rw-r--r-- 0:0 /opt/there old", "lrwxrwxrwx 0:0 /opt/etc -> /etc", "drwx------ 3:3 /opt/dir", "-rw-r--r-- 0:0 /etc/passwd root"}
	opt := "drwx------ 1:1 /opt"
	tests := []struct {
		name    string
		headers []tar.Header
		want    []string
		wantErr string
	}{
		{"files", []tar.Header{dir("d/", 0o750), {Name: "d/a", Mode: 0o600, Uid: 5, Gid: 6}, {Name: "there"}}, []string{
			opt, "drwxr-x--- 0:0 /opt/d", "-rw------- 5:6 /opt/d/a d/a", "-rw-r--r-- 0:0 /opt/there there",
		}, ""},
		{"directories that are implied", []tar.Header{{Name: "a/b/c", Uid: 5}}, []string{opt, "drwxr-xr-x 0:0 /opt/a", "drwxr-xr-x 0:0 /opt/a/b", "-rw-r--r-- 5:0 /opt/a/b/c a/b/c"}, ""},
		{"directory that is there", []tar.Header{dir("dir", 0o755)}, []string{opt, "drwxr-xr-x 0:0 /opt/dir"}, ""},
		{"the destination itself", []tar.Header{dir("./", 0o777), symlink("/.", "/etc"), {Name: "a"}}, []string{opt, "-rw-r--r-- 0:0 /opt/a a"}, ""},
		{"file over a directory", []tar.Header{{Name: "dir"}}, []string{opt, "-rw-r--r-- 0:0 /opt/dir dir"}, ""},
		{"directory over a file and a link", []tar.Header{dir("there", 0o700), dir("etc", 0o700)}, []string{opt, "drwx------ 0:0 /opt/etc", "drwx------ 0:0 /opt/there"}, ""},
		{"name twice", []tar.Header{{Name: "a", Mode: 0o600}, symlink("a", "b"), {Name: "a", Mode: 0o640}}, []string{opt, "-rw-r----- 0:0 /opt/a a"}, ""},
		{"setuid, device and pipe", []tar.Header{
			{Name: "su", Mode: 0o4755}, {Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, {Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o600},
		}, []string{opt, "crw-rw-rw- 0:0 /opt/null", "prw------- 0:0 /opt/pipe", "-rwsr-xr-x 0:0 /opt/su su"}, ""},
		{"hard links", []tar.Header{{Name: "a", Mode: 0o600}, hard("b", "a"), hard("c", "/a")}, []string{
			opt, "-rw-r--r-- 0:0 /opt/a a", "-rw-r--r-- 0:0 /opt/b a", "-rw-r--r-- 0:0 /opt/c a",
		}, ""},
		{"long and strange names", []tar.Header{dir(long, 0o755), {Name: "\xff\xfe"}, {Name: "ä\n"}}, append(append([]string{opt}, longDirs("/opt/", long)...),
			"-rw-r--r-- 0:0 /opt/ä\n ä\n", "-rw-r--r-- 0:0 /opt/\xff\xfe \xff\xfe"), ""},

		{"..", []tar.Header{{Name: "../../../secret"}, {Name: "a/../../b"}}, []string{opt, "-rw-r--r-- 0:0 /opt/b a/../../b", "-rw-r--r-- 0:0 /opt/secret ../../../secret"}, ""},
		{"absolute", []tar.Header{{Name: "/etc2/passwd"}}, []string{opt, "drwxr-xr-x 0:0 /opt/etc2", "-rw-r--r-- 0:0 /opt/etc2/passwd /etc2/passwd"}, ""},
		{"through a link in the archive", []tar.Header{symlink("out", "/etc"), {Name: "out/passwd"}}, []string{
			opt, "lrwxrwxrwx 0:0 /opt/etc -> /etc",
		}, "too many levels of symbolic links"},
		{"through a link of .. in the archive", []tar.Header{symlink("up", "../../../.."), {Name: "up/secret"}, {Name: "up/etc2/shadow"}}, []string{
			opt, "drwxr-xr-x 0:0 /opt/etc2", "-rw-r--r-- 0:0 /opt/etc2/shadow up/etc2/shadow", "-rw-r--r-- 0:0 /opt/secret up/secret", "lrwxrwxrwx 0:0 /opt/up -> ../../../..",
		}, ""},
		{"link in the place of what is there", []tar.Header{symlink("there", "../etc/passwd"), {Name: "there"}}, []string{opt, "-rw-r--r-- 0:0 /opt/there there"}, ""},
		{"hard link out", []tar.Header{hard("a", "../../../secret")}, nil, "link /a: no such file or directory"},
		{"hard link to what is outside of the destination", []tar.Header{hard("a", "/etc/passwd")}, nil, "too many levels of symbolic links"},
		{"hard link through a link", []tar.Header{symlink("up", ".."), hard("a", "up/secret")}, []string{opt, "lrwxrwxrwx 0:0 /opt/up -> .."}, "no such file or directory"},
		{"hard link to a directory", []tar.Header{hard("a", "dir")}, nil, "link /a: operation not permitted"},
		{"whiteout", []tar.Header{{Name: ".wh.there"}}, nil, "names that start with .wh. mark deletions in a layer"},
		{"opaque whiteout", []tar.Header{{Name: "dir/.wh..wh..opq"}}, nil, "names that start with .wh. mark deletions"},
		{"below a whiteout", []tar.Header{{Name: ".wh.d/x"}}, nil, "names that start with .wh. mark deletions"},
		{"below a file", []tar.Header{{Name: "there/x"}}, nil, "not a directory"},
		{"name that is too long", []tar.Header{{Name: strings.Repeat("x/", 2099) + "xx"}}, nil, "a name of 4200 bytes is too long"},
		{"link that is too long", []tar.Header{symlink("a", strings.Repeat("x/", 2100))}, nil, "a name of 4200 bytes is too long"},
		{"nobody's", []tar.Header{{Name: "a", Uid: -1}}, nil, "a belongs to -1:0, which is nobody"},
		{"nobody's either", []tar.Header{{Name: "a", Gid: int(above)}}, nil, fmt.Sprintf("a belongs to 0:%d, which is nobody", int(above))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dst := newStage(t, below...)
			err := add(t, dst, "/opt", archive(t, tt.headers...))
			if tt.wantErr == "" {
				must(t, err)
			} else {
				if err == nil || !strings.Contains(err.Error(), "extracting /x.tar: ") || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("got error %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			wantChanges(t, dst, tt.want...)
		})
	}
}

func longDirs(at, p string) []string {
	var lines []string
	for i := range p {
		if p[i] == '/' {
			lines = append(lines, "drwxr-xr-x 0:0 "+at+p[:i])
		}
	}
	return append(lines, "drwxr-xr-x 0:0 "+at+p)
}

// What an archive makes in a stage stays below the destination even where links
// were there before.
func TestAddArchiveThroughLinks(t *testing.T) {
	dst := newStage(t, "lrwxrwxrwx 0:0 /opt/etc -> /target", "-rw-r--r-- 0:0 /target/passwd root")
	must(t, add(t, dst, "/opt/", archive(t, tar.Header{Name: "etc/passwd"})))
	wantChanges(t, dst, "drwxr-xr-x 0:0 /opt", "drwxr-xr-x 0:0 /opt/target", "-rw-r--r-- 0:0 /opt/target/passwd etc/passwd")
}

// A bzip2 of a tar with the file "a".
const bzip2Tar = "QlpoOTFBWSZTWfVPNcEAAG97hMmAAEBgAGWAAADgAJ4AAACACCAAVDSNNABoNBFTKA0aDQX+6rMohOConFLZlq64m9FQgKReCJV6Mg/FFELGhhWWw6FjxoBmQiID4u5IpwoSHqnmuCA="

func TestAddCompressed(t *testing.T) {
	plain := archive(t, tar.Header{Name: "a"})
	compress := func(open func(io.Writer) io.WriteCloser) string {
		var b bytes.Buffer
		w := open(&b)
		_, err := io.WriteString(w, plain)
		must(t, err)
		must(t, w.Close())
		return b.String()
	}
	gz := compress(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	zst := compress(func(w io.Writer) io.WriteCloser {
		zw, err := zstd.NewWriter(w)
		must(t, err)
		return zw
	})
	bz, err := base64.StdEncoding.DecodeString(bzip2Tar)
	must(t, err)
	extracted := []string{"drwxr-xr-x 0:0 /new", "-rw-r--r-- 0:0 /new/a a"}
	tests := []struct {
		name    string
		content string
		want    []string
		wantErr string
	}{
		{"plain", plain, extracted, ""},
		{"gzip", gz, extracted, ""},
		{"bzip2", string(bz), extracted, ""},
		{"zstd", zst, extracted, ""},
		{"zstd with a frame to skip", "\x50\x2a\x4d\x18\x01\x00\x00\x00x" + zst, extracted, ""},
		{"xz", "\xfd7zXZ\x00rest", nil, "extracting /x.tar: it is compressed with xz, which is not supported"},
		{"gzip of text", compressText(t, "text"), []string{"-rw-r----- 0:0 /new " + compressText(t, "text")}, ""},
		{"no gzip", "\x1f\x8b\x08 text", []string{"-rw-r----- 0:0 /new \x1f\x8b\x08 text"}, ""},
		{"text", "text", []string{"-rw-r----- 0:0 /new text"}, ""},
		{"empty", "", []string{"-rw-r----- 0:0 /new"}, ""},
		{"zeros", strings.Repeat("\x00", 2048), []string{"-rw-r----- 0:0 /new " + strings.Repeat("\x00", 2048)}, ""},
		{"truncated", plain[:512], nil, "extracting /x.tar: unexpected EOF"},
		{"truncated gzip", gz[:len(gz)-20], nil, "extracting /x.tar: unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dst := newStage(t)
			err := add(t, dst, "/new", tt.content)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("got error %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			must(t, err)
			wantChanges(t, dst, tt.want...)
		})
	}
}

func compressText(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, s)
	must(t, err)
	must(t, w.Close())
	return b.String()
}

// Archives are only extracted where the spec says so, and take its owner.
func TestUnpackFiles(t *testing.T) {
	content := archive(t, tar.Header{Name: "a", Uid: 9}, tar.Header{Name: "d/b"})
	spec := transfer.Spec{Files: []transfer.File{inline("x.tar", content)}, Dest: "/new/", Owner: "5:6", Unpack: true}
	dst := newStage(t)
	must(t, transfer.Copy(t.Context(), dst, nil, spec))
	wantChanges(t, dst, "drwxr-xr-x 5:6 /new", "-rw-r--r-- 5:6 /new/x.tar "+content)
	spec.UnpackFiles = true
	dst = newStage(t)
	must(t, transfer.Copy(t.Context(), dst, nil, spec))
	wantChanges(t, dst, "drwxr-xr-x 5:6 /new", "-rw-r--r-- 5:6 /new/a a", "drwxr-xr-x 0:0 /new/d", "-rw-r--r-- 5:6 /new/d/b d/b")
}

// A header alone may claim any size.
func TestArchiveTooLarge(t *testing.T) {
	var b bytes.Buffer
	must(t, tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 2 << 40}))
	err := add(t, newStage(t), "/new", b.String())
	if err == nil || !strings.Contains(err.Error(), `"a" has 2199023255552 bytes: it unpacks to more than 1073741824 bytes`) {
		t.Errorf("got error %v", err)
	}
}

func FuzzAddArchive(f *testing.F) {
	f.Add([]byte("text"))
	f.Add([]byte("\x1f\x8b\x08"))
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "a/../../b", Typeflag: tar.TypeDir, Mode: 0o4755}, {Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../.."},
		{Name: "l/x", Typeflag: tar.TypeLink, Linkname: "l"}, {Name: "l/y", Typeflag: tar.TypeFifo},
	} {
		if err := tw.WriteHeader(&h); err != nil {
			f.Fatal(err)
		}
	}
	tw.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, content []byte) {
		dst := newStage(t, "lrwxrwxrwx 0:0 /opt/etc -> /etc", "-rw-r--r-- 0:0 /etc/passwd root")
		_ = add(t, dst, "/opt/", string(content)) // no archive at all may be an error
		for c, err := range dst.Changes(nil) {
			must(t, err)
			if c.Path != "/opt" && !strings.HasPrefix(c.Path, "/opt/") {
				t.Errorf("%s is outside of the destination", c.Path)
			}
		}
	})
}
