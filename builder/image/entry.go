package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/limit"
)

// Entry is the metadata of one path in a layer or in a merged image.
type Entry struct {
	// Path is absolute and clean: "/etc/passwd".
	Path string `json:"path"`
	// Type is the tar type: tar.TypeReg, TypeDir, TypeSymlink, TypeChar, …
	// A hard link has TypeLink in a layer and its target's type in a Tree.
	Type byte `json:"type"`
	// Mode holds the permission bits with setuid, setgid and sticky as in
	// tar, that is 0o7777 at most.
	Mode int64 `json:"mode"`
	UID  int   `json:"uid,omitempty"`
	GID  int   `json:"gid,omitempty"`
	// Uname and Gname as the layer has them, mostly empty.
	Uname string `json:"uname,omitempty"`
	Gname string `json:"gname,omitempty"`
	// Size of a regular file in bytes.
	Size int64 `json:"size,omitempty"`
	// ModTime in seconds since 1970.
	ModTime int64 `json:"mtime,omitempty"`
	// Link is the target of a symbolic link as written, and of a hard link
	// as an absolute path.
	Link     string `json:"link,omitempty"`
	DevMajor int64  `json:"major,omitempty"`
	DevMinor int64  `json:"minor,omitempty"`
	// Layer is the number of the layer the content is in, counted from 0.
	Layer int `json:"layer"`
	// ContentPath is the path of a regular file's content in that layer where
	// it differs from Path, as after a hard link.
	ContentPath string `json:"contentPath,omitempty"`
}

// CleanPath turns a name in a tar ("./etc//passwd", "etc/") into an absolute
// path that stays inside the image, whatever the name says.
func CleanPath(name string) string { return path.Clean("/" + name) }

// ReadLayer lists a layer of an image, as ReadEntries does. It may unpack to no
// more than package limit says.
func ReadLayer(l v1.Layer) ([]Entry, error) {
	size, err := l.Size()
	if err != nil {
		return nil, err
	}
	return readLayer(l, limit.Unpack(size))
}

// ReadOwnLayer is ReadLayer for a layer that this program made: of files that
// the user has, however well they compress.
func ReadOwnLayer(l v1.Layer) ([]Entry, error) { return readLayer(l, nil) }

func readLayer(l v1.Layer, most *limit.Budget) (entries []Entry, err error) {
	rc, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	return ReadEntries(rc, most)
}

// ReadLayers lists the layers of an image as read does, ReadLayer where it is
// nil. Together, too, they may have no more than package limit says.
func ReadLayers(layers []v1.Layer, read func(v1.Layer) ([]Entry, error)) ([][]Entry, error) {
	if read == nil {
		read = ReadLayer
	}
	if len(layers) > limit.Layers {
		return nil, fmt.Errorf("there are %d layers, the limit is %d", len(layers), limit.Layers)
	}
	all, left := make([][]Entry, len(layers)), limit.Entries
	for i, l := range layers {
		digest, err := l.Digest()
		if err == nil {
			all[i], err = read(l)
		}
		if left -= len(all[i]); err == nil && left < 0 {
			err = fmt.Errorf("the layers so far have more than %d entries", limit.Entries)
		}
		if err != nil {
			return nil, fmt.Errorf("reading layer %d, %s: %w", i+1, digest, err)
		}
	}
	return all, nil
}

// ReadEntries lists an uncompressed layer in the order of its tar. It reads r
// to the end, so that a reader that verifies what it reads can do so, or until
// there is more than the budget has.
func ReadEntries(r io.Reader, most *limit.Budget) ([]Entry, error) {
	var entries []Entry
	er := NewEntryReader(r, most)
	for {
		e, err := er.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading layer entry %d: %w", len(entries)+1, err)
		}
		entries = append(entries, e)
	}
}

// newElements is how many elements p has that it does not share with last.
// Parents need not be in a layer, and so take memory without any content.
func newElements(last, p string) int {
	common := 0
	for common < len(p) && common < len(last) && p[common] == last[common] {
		common++
	}
	return 1 + strings.Count(p[common:], "/")
}

// EntryReader reads an uncompressed layer entry by entry, as a tar.Reader does.
type EntryReader struct {
	layer io.Reader
	tar   *tar.Reader
	most  *limit.Budget
	// sparse says that the entry has more content than there is in the tar.
	sparse bool
	// elements are how many files and directories there are so far, and last is
	// the path that was counted last.
	elements int
	last     string
}

// NewEntryReader returns an EntryReader of what r reads. It gives out no more
// than the budget has: of the tar, and of files with holes in it.
func NewEntryReader(r io.Reader, most *limit.Budget) *EntryReader {
	r = most.Reader(r)
	return &EntryReader{layer: r, tar: tar.NewReader(r), most: most, last: "/"}
}

// Next goes on to the next entry that stands for something in the file system.
// When the whole layer was read, to the end that is behind the tar's, the
// error is io.EOF.
func (er *EntryReader) Next() (Entry, error) {
	for {
		h, err := er.tar.Next()
		if errors.Is(err, io.EOF) {
			if _, err := io.Copy(io.Discard, er.layer); err != nil {
				return Entry{}, err
			}
		}
		if err != nil {
			return Entry{}, err
		}
		e, ok, err := entryOf(h)
		if err != nil {
			return Entry{}, err
		}
		if !ok {
			continue
		}
		if er.elements += newElements(er.last, e.Path); er.elements > limit.Entries {
			return Entry{}, fmt.Errorf("there are more than %d files and directories", limit.Entries)
		}
		er.last, er.sparse = e.Path, isSparse(h)
		return e, nil
	}
}

// Read reads the content of the entry.
func (er *EntryReader) Read(p []byte) (int, error) {
	n, err := er.tar.Read(p)
	if er.sparse {
		if over := er.most.Take(int64(n)); over != nil {
			return 0, over
		}
	}
	return n, err
}

// Sparse tells whether the content of the entry has holes, so that it is not in
// the tar as it is read.
func (er *EntryReader) Sparse() bool { return er.sparse }

// checkHeader refuses what no file system could have.
func checkHeader(h *tar.Header) error {
	for _, s := range []string{h.Name, h.Linkname, h.Uname, h.Gname} {
		if len(s) > limit.Path {
			return fmt.Errorf("a name of %d bytes is too long, the limit is %d", len(s), limit.Path)
		}
	}
	records := 0
	for key, value := range h.PAXRecords {
		records += len(key) + len(value)
	}
	switch {
	case records > limit.Records:
		return fmt.Errorf("%s: its PAX records have %d bytes, the limit is %d", printable(h.Name), records, limit.Records)
	case h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > limit.ID || int64(h.Gid) > limit.ID:
		return fmt.Errorf("%s: it belongs to %d:%d, which is nobody", printable(h.Name), h.Uid, h.Gid)
	}
	return nil
}

// entryOf returns false for what is in the tar and not in the file system,
// such as the headers that `git archive` puts first.
func entryOf(h *tar.Header) (_ Entry, ok bool, _ error) {
	if err := checkHeader(h); err != nil {
		return Entry{}, false, err
	}
	e := Entry{
		Path: CleanPath(h.Name), Type: h.Typeflag, Mode: h.Mode & 0o7777,
		UID: h.Uid, GID: h.Gid, Uname: h.Uname, Gname: h.Gname, ModTime: h.ModTime.Unix(),
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		e.Type, e.Size = tar.TypeReg, h.Size
	case tar.TypeSymlink:
		e.Link = h.Linkname
	case tar.TypeLink:
		e.Link = CleanPath(h.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		e.DevMajor, e.DevMinor = h.Devmajor, h.Devminor
	case tar.TypeDir, tar.TypeFifo:
	default:
		return Entry{}, false, nil
	}
	return e, true, nil
}

// content is the path of e's bytes in its layer, which differs from Path after
// a hard link and below a directory that was reached through a symbolic link.
func (e Entry) content() string {
	if e.ContentPath != "" {
		return e.ContentPath
	}
	return e.Path
}

// Content says where the bytes of a regular file are: the layer's number and
// the path of its entry there.
func (e Entry) Content() (layer int, name string) { return e.Layer, e.content() }

// FileMode returns the type and the mode bits in Go's form.
func (e Entry) FileMode() fs.FileMode {
	mode := fs.FileMode(e.Mode & 0o777)
	if e.Mode&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if e.Mode&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if e.Mode&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	switch e.Type {
	case tar.TypeDir:
		mode |= fs.ModeDir
	case tar.TypeSymlink:
		mode |= fs.ModeSymlink
	case tar.TypeChar:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case tar.TypeBlock:
		mode |= fs.ModeDevice
	case tar.TypeFifo:
		mode |= fs.ModeNamedPipe
	}
	return mode
}

// ModeString returns the type and the mode bits as ls prints them: "drwxrwxrwt".
func (e Entry) ModeString() string {
	types := map[byte]byte{
		tar.TypeDir: 'd', tar.TypeSymlink: 'l', tar.TypeChar: 'c', tar.TypeBlock: 'b', tar.TypeFifo: 'p', tar.TypeLink: 'h',
	}
	s := []byte("-rwxrwxrwx")
	if t, ok := types[e.Type]; ok {
		s[0] = t
	}
	for i := range 9 {
		if e.Mode&(0o400>>i) == 0 {
			s[i+1] = '-'
		}
	}
	for _, special := range []struct {
		bit    int64
		at     int
		letter byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		if e.Mode&special.bit == 0 {
			continue
		}
		if s[special.at] == '-' {
			special.letter -= 'a' - 'A'
		}
		s[special.at] = special.letter
	}
	return string(s)
}

// String returns e on one line that has all but its times and its layer:
//
//	drwxr-xr-x 0:0 /app
//	-rwxr-xr-x 0:0 123 /app/server
//	lrwxrwxrwx 0:0 /bin -> usr/bin
//	crw-rw-rw- 0:0 1,3 /dev/null
//
// Names that could not be told apart on a terminal, or change it, are quoted.
func (e Entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d:%d ", e.ModeString(), e.UID, e.GID)
	switch e.Type {
	case tar.TypeReg:
		fmt.Fprintf(&b, "%d ", e.Size)
	case tar.TypeChar, tar.TypeBlock:
		fmt.Fprintf(&b, "%d,%d ", e.DevMajor, e.DevMinor)
	}
	b.WriteString(printable(e.Path))
	if e.Link != "" {
		b.WriteString(" -> " + printable(e.Link))
	}
	return b.String()
}

func printable(s string) string {
	strange := func(r rune) bool { return r == unicode.ReplacementChar || r == '"' || !unicode.IsPrint(r) }
	if strings.ContainsFunc(s, strange) {
		return strconv.Quote(s)
	}
	return s
}
