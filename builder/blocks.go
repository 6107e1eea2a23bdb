package builder

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/layer"
)

// blockRecords is the kind of the cache's records of which blocks the last
// layer for a place has.
const blockRecords = "blocks"

// maxBlock is more than any block is compressed to.
const maxBlock = 4 << 20

// blocks are those of an earlier layer, from which a new one takes what has not
// changed: when a program gets another version string, a few blocks of many.
type blocks struct {
	cache *cache.Cache
	known blocksRecord
	at    map[layer.Key]layer.Block
	blob  func() *cache.Blob
}

// blocksRecord is such a record. The blocks are written as base64, as JSON
// would take much longer to read than they are worth.
type blocksRecord struct {
	// Checkout is the directory of the plan.
	Checkout string  `json:"checkout"`
	Digest   v1.Hash `json:"digest"`
	Blocks   string  `json:"blocks"`
}

// earlier returns the blocks of the last layer for a place, if there are any.
func (s *session) earlier(place string) *blocks {
	b := &blocks{cache: s.Cache, at: map[layer.Key]layer.Block{}}
	if s.NoCache || !s.Cache.Record(blockRecords, place, &b.known) {
		return b
	}
	raw, err := base64.StdEncoding.DecodeString(b.known.Blocks)
	if err != nil {
		return b
	}
	for r := bytes.NewReader(raw); r.Len() > 0; {
		var block layer.Block
		if binary.Read(r, binary.LittleEndian, &block) != nil {
			break
		}
		if block.Offset >= 0 && block.Size > 0 && block.Size <= maxBlock {
			b.at[block.Key] = block
		}
	}
	// One that is damaged would make a layer that is none.
	b.blob = sync.OnceValue(func() *cache.Blob {
		blob, err := b.cache.Verified(b.known.Digest)
		if err != nil {
			return nil
		}
		return blob
	})
	return b
}

// reuse is for layer.Options.
func (b *blocks) reuse(key layer.Key, to *bytes.Buffer) bool {
	block, ok := b.at[key]
	if !ok {
		return false
	}
	blob := b.blob()
	if blob == nil {
		return false
	}
	before := to.Len()
	if n, err := to.ReadFrom(io.NewSectionReader(blob, block.Offset, block.Size)); err != nil || n != block.Size {
		to.Truncate(before)
		return false
	}
	return true
}

// remember notes the blocks of a new layer for a place.
func (s *session) remember(place string, digest v1.Hash, all []layer.Block) error {
	if len(all) == 0 {
		return nil
	}
	var raw bytes.Buffer
	if err := binary.Write(&raw, binary.LittleEndian, all); err != nil {
		return fmt.Errorf("noting the blocks of a layer: %w", err)
	}
	return s.Cache.SetRecord(blockRecords, place, blocksRecord{s.plan.Dir, digest, base64.StdEncoding.EncodeToString(raw.Bytes())})
}
