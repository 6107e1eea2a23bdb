// Package corpus reads testdata/build/*.txtar: Dockerfiles with their build
// contexts, and what comes of them. "make test" builds them with stand-ins for
// alpine and golang and compares with what each file says; "make e2e" builds
// them with BuildKit as well, and compares the two images.
//
// The files of an archive are those of the build context, but for
//
//	image.txt    the image, as the hermetic test has it
//	NAME.base64  the file NAME with this content, which is not text
//	NAME!        the archive NAME.tar, .tar.gz or .tar.zst with these entries
//	!            entries to add to the context
//
// Entries are lines in the form of ls, as package rootfstest reads them. Lines of
// the comment that begin with --target or --build-arg are flags of the build.
package corpus

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/tools/txtar"

	"github.com/stagectl/stagectl/builder/rootfs/rootfstest"
)

// imageFile has what comes of a case.
const imageFile = "image.txt"

// Case is a Dockerfile with its context.
type Case struct {
	Name string
	// Flags of the build: --target STAGE and --build-arg KEY=VALUE, each with its
	// value as the next element.
	Flags []string
	// Dockerfile is its text.
	Dockerfile string
	// Image is what the hermetic test wants.
	Image string

	file    string
	archive *txtar.Archive
}

// Load reads all cases of a directory, in the order of their names.
func Load(dir string) ([]*Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, fmt.Errorf("%s has no cases", dir))
	}
	var cases []*Case
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			return nil, err
		}
		c := &Case{Name: strings.TrimSuffix(filepath.Base(file), ".txtar"), file: file, archive: archive}
		for line := range strings.Lines(string(archive.Comment)) {
			flag, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if flag == "--target" || flag == "--build-arg" {
				c.Flags = append(c.Flags, flag, value)
			}
		}
		archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool {
			switch f.Name {
			case imageFile:
				c.Image = string(f.Data)
				return true
			case "Dockerfile":
				c.Dockerfile = string(f.Data)
			}
			return false
		})
		cases = append(cases, c)
	}
	return cases, nil
}

// Update writes what the hermetic test wants into the case's file.
func (c *Case) Update(img string) error {
	a := &txtar.Archive{Comment: c.archive.Comment, Files: append(slices.Clone(c.archive.Files), txtar.File{Name: imageFile, Data: []byte(img)})}
	return os.WriteFile(c.file, txtar.Format(a), 0o644)
}

// Write puts the context into a directory.
func (c *Case) Write(dir string) error {
	for _, f := range c.archive.Files {
		if err := writeFile(dir, f); err != nil {
			return fmt.Errorf("%s: %s: %w", c.file, f.Name, err)
		}
	}
	return nil
}

func writeFile(dir string, f txtar.File) error {
	name := filepath.Join(dir, filepath.FromSlash(f.Name))
	if archive, ok := strings.CutSuffix(f.Name, "!"); ok {
		entries := lines(f.Data)
		if archive == "" {
			return addEntries(dir, entries)
		}
		content, err := pack(archive, entries)
		if err != nil {
			return err
		}
		return write(strings.TrimSuffix(name, "!"), content, 0o644)
	}
	if plain, ok := strings.CutSuffix(name, ".base64"); ok {
		content, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(f.Data), "\n", ""))
		if err != nil {
			return err
		}
		return write(plain, content, 0o644)
	}
	if bytes.HasPrefix(f.Data, []byte("#!")) {
		return write(name, f.Data, 0o755)
	}
	return write(name, f.Data, 0o644)
}

func lines(data []byte) []string {
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' })
}

func write(name string, content []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, content, mode); err != nil {
		return err
	}
	return os.Chmod(name, mode) // whatever the umask is
}

// addEntries makes directories, links and files with modes of their own. Whose
// they are is not for a build context to say.
func addEntries(dir string, entries []string) error {
	for _, line := range entries {
		info, content := rootfstest.Parse(line)
		name := filepath.Join(dir, filepath.FromSlash(info.Path))
		var err error
		switch {
		case info.IsSymlink():
			err = os.Symlink(info.Link, name)
		case info.IsDir():
			err = errors.Join(os.MkdirAll(name, 0o755), os.Chmod(name, info.Mode))
		default:
			err = write(name, []byte(content+"\n"), info.Mode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pack makes an archive, compressed as its name says.
func pack(name string, entries []string) ([]byte, error) {
	var b bytes.Buffer
	if err := writeTar(&b, entries); err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	var w io.WriteCloser
	switch {
	case strings.HasSuffix(name, "gz"):
		w = gzip.NewWriter(&packed)
	case strings.HasSuffix(name, "zst"):
		var err error
		if w, err = zstd.NewWriter(&packed); err != nil {
			return nil, err
		}
	default:
		return b.Bytes(), nil
	}
	_, err := w.Write(b.Bytes())
	return packed.Bytes(), errors.Join(err, w.Close())
}

// writeTar writes entries as a tar. A file "=> TARGET" is a hard link.
func writeTar(to io.Writer, entries []string) error {
	tw := tar.NewWriter(to)
	for _, line := range entries {
		info, content := rootfstest.Parse(line)
		h, err := tar.FileInfoHeader(info.FileInfo(), info.Link)
		if err != nil {
			return err
		}
		h.Name, h.Uid, h.Gid = strings.TrimPrefix(info.Path, "/"), info.UID, info.GID
		if target, ok := strings.CutPrefix(content, "=> "); ok {
			h.Typeflag, h.Linkname, h.Size, content = tar.TypeLink, strings.TrimPrefix(target, "/"), 0, ""
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.WriteString(tw, content); err != nil {
			return err
		}
	}
	return tw.Close()
}
