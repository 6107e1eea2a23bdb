package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// record is a record on disk, behind a line with the sum of it: what is believed
// of binaries and layers may not be a bit off. The key is in it since the name
// has but its sum.
type record struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

func (c *Cache) recordPath(kind, key string) string {
	return c.path(recordsDir, kind, sumOf([]byte(key)))
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Record reads what SetRecord stored of the kind under key into value. It
// says false where there is nothing, or nothing that can be read; what value
// points to is not to be used then.
func (c *Cache) Record(kind, key string, value any) bool {
	name := c.recordPath(kind, key)
	content, err := readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	rec, ok := parseRecord(content)
	if err != nil || !ok || rec.Key != key || json.Unmarshal(rec.Value, value) != nil {
		_ = os.RemoveAll(name)
		return false
	}
	c.touch(name)
	return true
}

// readFile reads a file of the cache. What is no file is not opened: a pipe would
// keep the reader waiting for ever, and a link leads out of the cache.
func readFile(name string) ([]byte, error) {
	info, err := os.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(name)
}

var errNoFile = errors.New("not a file")

// parseRecord says false where the content is not what SetRecord wrote.
func parseRecord(content []byte) (rec record, ok bool) {
	sum, raw, _ := bytes.Cut(content, []byte("\n"))
	ok = string(sum) == sumOf(raw) && json.Unmarshal(raw, &rec) == nil
	return rec, ok
}

// SetRecord stores value, as JSON, under a key of any form. With a field
// checkout, an absolute path, it is pruned when there is no such directory.
func (c *Cache) SetRecord(kind, key string, value any) error {
	v, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("writing cache record: %w", err)
	}
	raw, err := json.Marshal(record{Key: key, Value: v})
	if err != nil {
		return fmt.Errorf("writing cache record: %w", err)
	}
	f, err := c.temp("record-*")
	if err != nil {
		return fmt.Errorf("writing cache record: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(sumOf(raw) + "\n" + string(raw))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing cache record: %w", err)
	}
	name := c.recordPath(kind, key)
	// Where the cache has been deleted meanwhile, and the file with it, there
	// is no record, as in any other cache that is new.
	if err := place(f.Name(), name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing cache record: %w", err)
	}
	c.touch(name)
	return nil
}
