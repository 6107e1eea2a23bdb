// Package hostile has images that no honest tool makes, for the tests of all who
// read images. None of them may lead a reader out of the image, or make it take
// more memory or disk than package limit says.
package hostile

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Layer is an uncompressed layer, to be put on Base.
type Layer struct {
	Name string
	Tar  string
	// Files are those of the merged image, as imagetest lists them. There are
	// none where the layer is refused.
	Files []string
	// Refused is what the error says.
	Refused string
}

// The files of Base.
const (
	baseDir    = "drwxr-xr-x 0:0 /d"
	baseOld    = "-rw-r--r-- 0:0 3 /d/old"
	baseEtc    = "drwxr-xr-x 0:0 /etc"
	basePasswd = "-rw-r--r-- 0:0 4 /etc/passwd"
	baseLink   = "lrwxrwxrwx 0:0 /link -> /etc"
)

// Base is the layer below: a directory with a file, and a link to another one.
func Base() string {
	return Tar(Dir("d"), File("d/old", "old"), Dir("etc"), File("etc/passwd", "root"), Symlink("link", "/etc"))
}

// with is the list of Base's files with others.
func with(lines ...string) []string {
	all := append([]string{baseDir, baseOld, baseEtc, basePasswd, baseLink}, lines...)
	name := func(line string) string {
		if _, quoted, ok := strings.Cut(line, ` "`); ok {
			line, _ = strconv.Unquote(`"` + quoted)
			return line[1:]
		}
		_, name, _ := strings.Cut(line, " /")
		return name
	}
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(name(a), name(b)) })
	return all
}

// Layers are the hostile layers. outside is a directory of the host with a file
// "victim" in it, which they try to reach; where the tests do not start there by
// themselves, they change into it for those that lead to it by a relative path.
func Layers(outside string) []Layer {
	return slices.Concat(paths(outside), whiteouts(), entries(), headers())
}

// paths lead out of the image, by themselves or by links.
func paths(outside string) []Layer {
	at := strings.Trim(outside, "/")
	var below []string // what outside is inside of the image
	for i := range at + "/" {
		if i == len(at) || at[i] == '/' {
			below = append(below, "drwxr-xr-x 0:0 /"+at[:i])
		}
	}
	return []Layer{
		{Name: "parents", Tar: Tar(File("../../../out", "x"), File("d/../../../out2", "x")), Files: with("-rw-r--r-- 0:0 1 /out", "-rw-r--r-- 0:0 1 /out2")},
		{Name: "absolute path", Tar: Tar(File("//abs/x", "x")), Files: with("drwxr-xr-x 0:0 /abs", "-rw-r--r-- 0:0 1 /abs/x")},
		{Name: "path of the host", Tar: Tar(File(outside+"/victim", "bad")), Files: with(append(below, "-rw-r--r-- 0:0 3 /"+at+"/victim")...)},
		{Name: "symlink ancestor", Tar: Tar(Symlink("up", "../../../.."), File("up/through", "x")),
			Files: with("-rw-r--r-- 0:0 1 /through", "lrwxrwxrwx 0:0 /up -> ../../../..")},
		{Name: "symlink ancestor of the host", Tar: Tar(Symlink("host", outside), File("host/victim", "bad")),
			Files: with(append(below, "lrwxrwxrwx 0:0 /host -> "+outside, "-rw-r--r-- 0:0 3 /"+at+"/victim")...)},
		{Name: "symlink ancestor of a lower layer", Tar: Tar(File("link/new", "x")), Files: with("-rw-r--r-- 0:0 1 /etc/new")},
		{Name: "symlink that is replaced by a file", Tar: Tar(Symlink("a", outside+"/victim"), File("a", "bad")), Files: with("-rw-r--r-- 0:0 3 /a")},
		{Name: "symlink loop", Tar: Tar(Symlink("a", "b"), Symlink("b", "a"), File("a/x", "x")),
			Files: with("drwxr-xr-x 0:0 /a", "-rw-r--r-- 0:0 1 /a/x", "lrwxrwxrwx 0:0 /b -> a")},
		{Name: "root as a symlink", Tar: Tar(Symlink("/.", outside), Symlink("./", outside), Symlink("..", outside), File("x", "x")), Files: with("-rw-r--r-- 0:0 1 /x")},
		{Name: "root as a file", Tar: Tar(File(".", "x"), HardLink("/", "d/old")), Files: with()},
		{Name: "hard link to the working directory", Tar: Tar(HardLink("hard", "victim")), Files: with()},
		{Name: "hard link to parents", Tar: Tar(HardLink("hard", "../../../../../../"+at+"/victim")), Files: with()},
		{Name: "hard link to the host", Tar: Tar(HardLink("hard", outside+"/victim")), Files: with()},
		{Name: "hard link through a symlink", Tar: Tar(Symlink("host", outside), HardLink("hard", "host/victim")), Files: with("lrwxrwxrwx 0:0 /host -> " + outside)},
		{Name: "hard link to a directory", Tar: Tar(HardLink("hard", "d")), Files: with()},
	}
}

// whiteouts hide other things than what a layer below has in their directory.
func whiteouts() []Layer {
	return []Layer{
		{Name: "escaping whiteout", Tar: Tar(File("../../.wh.victim", ""), File("d/.wh...", ""), File("d/.wh..", "")), Files: with()},
		{Name: "escaping whiteout through a symlink", Tar: Tar(Symlink("up", "../../.."), File("up/.wh.victim", "")), Files: with("lrwxrwxrwx 0:0 /up -> ../../..")},
		{Name: "whiteout without a name", Tar: Tar(File("d/.wh.", ""), File(".wh.", "")), Files: with()},
		{Name: "whiteout with a path", Tar: Tar(File(".wh.d/old", "")), Files: with()},
		{Name: "opaque whiteout", Tar: Tar(File("d/.wh..wh..opq", "")), Files: []string{baseDir, baseEtc, basePasswd, baseLink}},
		{Name: "opaque whiteout of the root", Tar: Tar(File(".wh..wh..opq", ""), File("x", "x")), Files: []string{"-rw-r--r-- 0:0 1 /x"}},
		{Name: "opaque whiteout of what is not there", Tar: Tar(File("no/.wh..wh..opq", "")), Files: with()},
	}
}

// entries are odd, and kept as they are.
func entries() []Layer {
	long := strings.Repeat("n", 300)
	return []Layer{
		{Name: "duplicate entries", Tar: Tar(File("a", "one"), Symlink("a", "b"), Dir("a"), File("a/x", "x"), File("a", "four")), Files: with("-rw-r--r-- 0:0 4 /a")},
		{Name: "file below a file", Tar: Tar(File("d/old/x", "x")),
			Files: []string{baseDir, "drwxr-xr-x 0:0 /d/old", "-rw-r--r-- 0:0 1 /d/old/x", baseEtc, basePasswd, baseLink}},
		{Name: "setuid", Tar: Tar(Entry{Header: tar.Header{Name: "su", Typeflag: tar.TypeReg, Mode: 0o6755}, Content: "x"}), Files: with("-rwsr-sr-x 0:0 1 /su")},
		{Name: "device", Tar: Tar(Entry{Header: tar.Header{Name: "sda", Typeflag: tar.TypeBlock, Mode: 0o666, Devmajor: 8}}), Files: with("brw-rw-rw- 0:0 8,0 /sda")},
		{Name: "pipe", Tar: Tar(Entry{Header: tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o666}}), Files: with("prw-rw-rw- 0:0 /pipe")},
		{Name: "names that are not UTF-8", Tar: Tar(File("\xfe", "one"), File("\xff", "two!")), Files: with(`-rw-r--r-- 0:0 3 "/\xfe"`, `-rw-r--r-- 0:0 4 "/\xff"`)},
		{Name: "names that move the cursor", Tar: Tar(File("\x1b[2Ja\nb", "x")), Files: with(`-rw-r--r-- 0:0 1 "/\x1b[2Ja\nb"`)},
		{Name: "name that is too long for a file system", Tar: Tar(File(long, "x")), Files: with("-rw-r--r-- 0:0 1 /" + long)},
		{Name: "file with holes", Tar: Sparse("holes", "data", 100_000), Files: with("-rw-r--r-- 0:0 100000 /holes")},
		{Name: "unknown type", Tar: Block('x'+1, "what", 0, nil) + Tar(File("a", "x")), Files: with("-rw-r--r-- 0:0 1 /a")},
	}
}

// headers are refused.
func headers() []Layer {
	records := func(n int) Entry {
		return Entry{Header: tar.Header{Name: "a", Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{"X.bomb": strings.Repeat("x", n)}}}
	}
	pax := func(content string) string {
		return Block(tar.TypeXHeader, "pax", len(content), nil) + Padded(content) + Block(tar.TypeReg, "a", 0, nil)
	}
	owner := func(uid int) Entry { return Entry{Header: tar.Header{Name: "a", Typeflag: tar.TypeReg, Uid: uid}} }
	nobody := int64(1)<<40 - 1 // -1 where int has 32 bits
	deep := strings.Repeat("/x", 2500)
	sparse10 := "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.realsize=9\n"
	manyHoles := strings.Repeat("1\n", 1<<20)
	return []Layer{
		{Name: "PAX records", Tar: Tar(records(600 << 10)), Refused: "a: its PAX records have 614406 bytes, the limit is 524288"},
		{Name: "PAX records of two megabytes", Tar: pax(strings.Repeat("x", 2<<20)), Refused: "header field too long"},
		{Name: "PAX record that claims a gigabyte", Tar: pax("1073741824 path=a\n"), Refused: "invalid tar header"},
		{Name: "PAX record of a negative size", Tar: pax("11 size=-1\n"), Refused: "invalid tar header"},
		{Name: "PAX path with a zero byte", Tar: pax("12 path=a\x00b\n"), Refused: "invalid tar header"},
		{Name: "sparse map without an end", Tar: Block(tar.TypeXHeader, "pax", len(sparse10), nil) + Padded(sparse10) +
			Block(tar.TypeReg, "a", 7+len(manyHoles), nil) + Padded("900000\n"+manyHoles), Refused: "sparse map too long"},
		{Name: "sparse map that is longer than the file", Tar: Block(tar.TypeXHeader, "pax", len(sparse10), nil) + Padded(sparse10) +
			Block(tar.TypeReg, "a", 512, nil) + Padded("99999999\n"), Refused: "layer entry 1: "},
		{Name: "long name", Tar: Tar(File(deep, "")), Refused: "a name of 5000 bytes is too long, the limit is 4096"},
		{Name: "long link", Tar: Tar(Symlink("a", deep)), Refused: "a name of 5000 bytes is too long, the limit is 4096"},
		{Name: "owner below nobody", Tar: Tar(owner(-1)), Refused: "a: it belongs to -1:0, which is nobody"},
		{Name: "owner above nobody", Tar: Tar(owner(int(nobody))), Refused: fmt.Sprintf("a: it belongs to %d:0, which is nobody", int(nobody))},
		{Name: "size of eight exabytes", Tar: Block(tar.TypeReg, "a", 0, map[int]string{124: "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\x00"}), Refused: "layer entry 2: "},
		{Name: "cut off", Tar: Base()[:700], Refused: "unexpected EOF"},
		{Name: "no tar", Tar: strings.Repeat("x", 1024), Refused: "invalid tar header"},
	}
}

// Entry is a header with its content.
type Entry struct {
	tar.Header
	Content string
}

// File is a regular file.
func File(name, content string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, content}
}

// Dir is a directory.
func Dir(name string) Entry {
	return Entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
}

// Symlink is a symbolic link.
func Symlink(name, to string) Entry {
	return Entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}}
}

// HardLink is a hard link.
func HardLink(name, to string) Entry {
	return Entry{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o644}}
}

// Tar writes the entries. What package tar refuses to write is a mistake here.
func Tar(entries ...Entry) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.Content))
		if err := w.WriteHeader(&e.Header); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(e.Content)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// Block is the header of an entry with a content of the given size, as a
// tar.Writer would not write it: of any type, and with bytes at offsets.
func Block(typeflag byte, name string, size int, raw map[int]string) string {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00"+fmt.Sprintf("%011o\x00", size)+"00000000000\x00        ")
	b[156] = typeflag
	copy(b[257:], "ustar\x0000")
	for _, at := range slices.Sorted(maps.Keys(raw)) {
		copy(b[at:], raw[at])
	}
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(b)
}

// Padded is content with the zeros that follow it in a tar.
func Padded(content string) string {
	return content + strings.Repeat("\x00", -len(content)&511)
}

// Sparse is a tar with a file of which all but its start is a hole, in the old
// format of GNU tar.
func Sparse(name, content string, size int) string {
	return Block(tar.TypeGNUSparse, name, len(content), map[int]string{
		257: "ustar  \x00",
		386: fmt.Sprintf("%011o\x00%011o\x00", 0, len(content)),
		410: fmt.Sprintf("%011o\x00%011o\x00", size, 0),
		483: fmt.Sprintf("%011o\x00", size),
	}) + Padded(content) + strings.Repeat("\x00", 1024)
}
