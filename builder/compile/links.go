package compile

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/lockedfile"
)

// links is a directory in which the go command finds what it linked the last
// time. It is locked while the go command is at work there, and no longer: a
// Build never holds one lock while it waits for another.
type links struct {
	dir   string
	names []string
	about
	unlock func()
}

// about is what is known of the links.
type about struct {
	// Checkout is the directory in which the go command runs. When it is gone,
	// nobody needs the links any more.
	Checkout string `json:"checkout"`
	// Sums has the digest of each binary. The go command believes what is
	// written inside a binary, so that it would leave a damaged one as it is.
	Sums map[string]string `json:"sums"`
}

// open locks the links of a run, alone among all processes.
func (c *Compiler) open(ctx context.Context, p v1.Platform, r *run) (*links, error) {
	env := c.environ(p, r.dir)
	// Some flags change the names of the outputs, so that an older one would
	// be taken for the one that was made.
	return c.openAt(ctx, fmt.Sprintf("%q %q %+v %q %d", r.dir, p, r.settings, env.setting("GOFLAGS"), r.wave), r.dir, r.names)
}

// openAt locks the links under a key.
func (c *Compiler) openAt(ctx context.Context, text, checkout string, names []string) (*links, error) {
	key := sha256.Sum256([]byte(text))
	outputs, err := filepath.Abs(c.Outputs)
	if err != nil {
		return nil, fmt.Errorf("making a directory for binaries: %w", err)
	}
	l := &links{dir: filepath.Join(outputs, hex.EncodeToString(key[:12])), names: names}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a directory for binaries: %w", err)
	}
	// With the setgid bit, the go command would not rename what it linked.
	if err := os.Chmod(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a directory for binaries: %w", err)
	}
	if l.unlock, err = lock(ctx, l.dir+".lock"); err != nil {
		return nil, err
	}
	l.readSums()
	l.Checkout = checkout
	return l, nil
}

// readSums reads what verify noted. What cannot be read counts as nothing.
func (l *links) readSums() {
	raw, err := readFile(l.aboutName())
	if err != nil || json.Unmarshal(raw, &l.about) != nil || l.Sums == nil {
		l.Sums = map[string]string{}
	}
}

func (l *links) close() { l.unlock() }

func (l *links) aboutName() string { return l.dir + ".json" }

// readFile reads what is a file. A pipe would keep its reader waiting for ever.
func readFile(name string) ([]byte, error) {
	info, err := os.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrInvalid
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(name)
}

// writeAbout replaces the file as a whole, whatever is in its place.
func (l *links) writeAbout() error {
	raw, err := json.Marshal(l.about)
	if err != nil {
		return err
	}
	name := l.aboutName()
	fresh := name + ".new" // the lock keeps others away
	for _, old := range []string{fresh, name} {
		if info, err := os.Lstat(old); err == nil && !info.Mode().IsRegular() {
			if err := os.RemoveAll(old); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(fresh, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, name)
}

// present describes the binaries that are there. What is no binary goes: the go
// command would refuse to overwrite it, or follow a link and overwrite something
// elsewhere.
func (l *links) present() map[string]os.FileInfo {
	before := map[string]os.FileInfo{}
	for _, name := range l.names {
		file := filepath.Join(l.dir, name)
		if info, err := os.Lstat(file); err == nil && info.Mode().IsRegular() && isELF(file) {
			before[name] = info
		} else {
			_ = os.RemoveAll(file)
		}
	}
	return before
}

// early is a binary that was given out before the go command had ended.
type early struct {
	info os.FileInfo
	sum  string
}

// verify notes the sums of the binaries that were linked and compares those of
// the others, which were there before. It says false where some were damaged;
// they are gone then.
func (l *links) verify(before map[string]os.FileInfo, given map[string]early) (ok bool, err error) {
	ok = true
	for _, name := range l.names {
		file := filepath.Join(l.dir, name)
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // inspect knows what to say
		}
		if err != nil {
			return false, fmt.Errorf("reading the binary: %w", err)
		}
		sum, err := given[name].check(file, info)
		if err != nil {
			return false, fmt.Errorf("reading the binary: %w", err)
		}
		if os.SameFile(before[name], info) && l.Sums[name] != sum {
			ok = false
			if err := os.Remove(file); err != nil {
				return false, fmt.Errorf("removing a damaged binary: %w", err)
			}
		}
		l.Sums[name] = sum
	}
	return ok, l.note()
}

// note writes down what readSums reads.
func (l *links) note() error {
	if err := l.writeAbout(); err != nil {
		return fmt.Errorf("noting the digests of binaries: %w", err)
	}
	return nil
}

// check returns the sum of the binary, which may not be another one than the
// one that was given out. Another file may hold it: when Outputs is deleted, the
// lock is, too, and whoever misses the binary compiles it at the same time.
func (e early) check(file string, info os.FileInfo) (string, error) {
	if e.info != nil && os.SameFile(e.info, info) && e.info.Size() == info.Size() && e.info.ModTime().Equal(info.ModTime()) {
		return e.sum, nil
	}
	sum, err := sumOf(file)
	if err == nil && e.info != nil && sum != e.sum {
		err = fmt.Errorf("the go command changed %s after it had linked it", filepath.Base(file))
	}
	return sum, err
}

// sumBuffers are what files are read into, of which there are many small ones.
var sumBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func sumOf(file string) (_ string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := sumBuffers.Get().(*[64 << 10]byte)
	defer sumBuffers.Put(buf)
	h := sha256.New()
	// Without its method WriteTo, with which the file would have its own buffer.
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buf[:]); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func isELF(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	magic := make([]byte, len(elf.ELFMAG))
	_, err = io.ReadFull(f, magic)
	return err == nil && string(magic) == elf.ELFMAG
}

// linkTo puts the binaries into dir as well. The go command never writes into
// a file that is there, it replaces it.
func (l *links) linkTo(dir string) error {
	for _, name := range l.names {
		from, to := filepath.Join(l.dir, name), filepath.Join(dir, name)
		if err := os.Link(from, to); err == nil || errors.Is(err, fs.ErrExist) {
			continue
		}
		// There are file systems without hard links.
		if err := copyFile(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copying the binary: %w", err)
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	_, err = io.Copy(w, r)
	return err
}

// lock waits for a file lock, which itself knows no context.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	type result struct {
		unlock func()
		err    error
	}
	got := make(chan result, 1)
	go func() {
		unlock, err := lockedfile.MutexAt(name).Lock()
		got <- result{unlock, err}
	}()
	select {
	case r := <-got:
		if r.err != nil {
			return nil, fmt.Errorf("locking the directory for binaries: %w", r.err)
		}
		return sync.OnceFunc(r.unlock), nil
	case <-ctx.Done():
		go func() {
			if r := <-got; r.err == nil {
				r.unlock()
			}
		}()
		return nil, context.Cause(ctx)
	}
}
