package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// entry is one path of the base: a directory where its name ends in a slash, a
// hard link where link is set, else a regular file.
type entry struct {
	name  string // as in a tar, without a slash before it
	mode  int64
	owner int // user and group, 0 unless it is nonroot's
	data  []byte
	link  string // the name of an entry before this one
}

// complete sorts entries by path and adds the directories that are above them
// and not among them.
func complete(entries []entry) []entry {
	have := map[string]bool{}
	for _, e := range entries {
		have[e.name] = true
	}
	all := slices.Clone(entries)
	for _, e := range entries {
		for dir := path.Dir(strings.TrimSuffix(e.name, "/")); dir != "."; dir = path.Dir(dir) {
			if name := dir + "/"; !have[name] {
				have[name] = true
				all = append(all, entry{name: name, mode: 0o755})
			}
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return all
}

// writeLayer writes entries in their order as a compressed tar.
func writeLayer(w io.Writer, entries []entry) error {
	zw, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	// This compressor writes a zero time as the year 1; gzip's "none" is 0.
	zw.ModTime = time.Unix(0, 0)
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		if err := writeEntry(tw, e); err != nil {
			return fmt.Errorf("writing %s: %w", e.name, err)
		}
	}
	return errors.Join(tw.Close(), zw.Close())
}

func writeEntry(tw *tar.Writer, e entry) error {
	h := &tar.Header{
		// Plain ustar has room for all there is here, and one way to write it.
		Format:   tar.FormatUSTAR,
		Typeflag: tar.TypeReg,
		Name:     e.name,
		Mode:     e.mode,
		Uid:      e.owner,
		Gid:      e.owner,
		Size:     int64(len(e.data)),
		ModTime:  time.Unix(0, 0),
	}
	switch {
	case strings.HasSuffix(e.name, "/"):
		h.Typeflag = tar.TypeDir
	case e.link != "":
		h.Typeflag, h.Linkname = tar.TypeLink, e.link
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := tw.Write(e.data)
	return err
}
