package layer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/flate"
)

const (
	// gzipBlock is what one goroutine compresses at a time. It decides the
	// bytes that come out, so it is part of the format version.
	gzipBlock = 1 << 20
	// gzipTail is how much of one block the next one may refer to. So does it.
	gzipTail = 16 << 10
)

// gzipHeader has no name, no time and no operating system
// (RFC 1952, section 2.3). The ninth byte is for the level.
var gzipHeader = [10]byte{0x1f, 0x8b, 8, 9: 0xff}

// gzipWriter writes one gzip member whose blocks are compressed side by side,
// each with the end of the one before as its dictionary. The bytes depend on
// what is written and the level alone. They are those of pgzip with the same
// block size, which is where the layout comes from; this one touches less
// memory, and uses it again for the next layer: in a process that makes a few
// layers and ends, fresh memory costs as much as compressing does.
type gzipWriter struct {
	w     io.Writer
	level int
	size  uint32
	sum   uint32
	block *gzipPart
	// reuse may know what a block was compressed to before, blocks are those
	// that were written, the last of which ends at offset.
	reuse  func(Key, *bytes.Buffer) bool
	blocks []Block
	offset int64
	// turns has as many as may be compressed at once.
	turns chan struct{}
	// parts are on their way to w, in order.
	parts  chan *gzipPart
	ended  chan struct{}
	failed atomic.Pointer[error]
}

// gzipPart is one block.
type gzipPart struct {
	key  Key
	in   []byte
	dict []byte
	last bool
	out  bytes.Buffer
	done chan struct{}
}

var (
	gzipParts = sync.Pool{New: func() any {
		return &gzipPart{
			in: make([]byte, 0, gzipBlock), dict: make([]byte, 0, gzipTail),
			out: *bytes.NewBuffer(make([]byte, 0, gzipBlock)), // Grow would touch all of it
		}
	}}
	// gzipCompressors are those of each level.
	gzipCompressors [10]sync.Pool
)

// newGzipWriter returns a writer with a level from 1 to 9 that has jobs
// goroutines compress what reuse, unless it is nil, does not know. Close has to
// be called, whatever happens.
func newGzipWriter(w io.Writer, level, jobs int, reuse func(Key, *bytes.Buffer) bool) *gzipWriter {
	z := &gzipWriter{
		w: w, level: level, block: newPart(nil), reuse: reuse,
		turns: make(chan struct{}, jobs), parts: make(chan *gzipPart, jobs-1), ended: make(chan struct{}),
	}
	go z.drain()
	return z
}

// newPart is an empty block.
func newPart(dict []byte) *gzipPart {
	p := gzipParts.Get().(*gzipPart)
	p.in, p.dict, p.last, p.done = p.in[:0], append(p.dict[:0], dict...), false, make(chan struct{})
	p.out.Reset()
	return p
}

// Write implements io.Writer.
func (z *gzipWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if err := z.failed.Load(); err != nil {
			return len(p) - len(rest), *err
		}
		n := min(len(rest), gzipBlock-len(z.block.in))
		z.sum = crc32.Update(z.sum, crc32.IEEETable, rest[:n])
		z.size += uint32(n)
		z.block.in = append(z.block.in, rest[:n]...)
		rest = rest[n:]
		if len(z.block.in) == gzipBlock {
			tail := [gzipTail]byte(z.block.in[gzipBlock-gzipTail:])
			z.send() // which waits until another one is free again
			z.block = newPart(tail[:])
		}
	}
	return len(p), nil
}

// send has the block compressed, when one of those before it is done.
func (z *gzipWriter) send() {
	p := z.block
	z.parts <- p
	z.turns <- struct{}{}
	go func() {
		z.compress(p)
		<-z.turns
		close(p.done)
	}()
}

// compress fills p.out. No call can fail: it writes to memory.
func (z *gzipWriter) compress(p *gzipPart) {
	if p.key = z.keyOf(p); z.reuse != nil && z.reuse(p.key, &p.out) {
		return
	}
	pool := &gzipCompressors[z.level]
	c, ok := pool.Get().(*flate.Writer)
	if !ok {
		c, _ = flate.NewWriterDict(io.Discard, z.level, nil)
	}
	c.ResetDict(&p.out, p.dict)
	_, _ = c.Write(p.in)
	_ = c.Flush()
	if p.last {
		_ = c.Close()
	}
	pool.Put(c)
}

// keyOf sums up all that the compressed bytes of a block depend on.
func (z *gzipWriter) keyOf(p *gzipPart) Key {
	h := sha256.New()
	last := byte(0)
	if p.last {
		last = 1
	}
	h.Write([]byte{byte(z.level), last})
	h.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(p.dict))))
	h.Write(p.dict)
	h.Write(p.in)
	return Key(h.Sum(nil))
}

// drain writes the blocks in their order. After a failure it takes the rest
// without writing, so that nobody waits.
func (z *gzipWriter) drain() {
	defer close(z.ended)
	header := gzipHeader
	switch z.level {
	case flate.BestCompression:
		header[8] = 2
	case flate.BestSpeed:
		header[8] = 4
	}
	z.put(header[:])
	for p := range z.parts {
		<-p.done
		z.blocks = append(z.blocks, Block{Key: p.key, Offset: z.offset, Size: int64(p.out.Len())})
		z.put(p.out.Bytes())
		gzipParts.Put(p)
	}
}

func (z *gzipWriter) put(b []byte) {
	if z.failed.Load() != nil {
		return
	}
	if _, err := z.w.Write(b); err != nil {
		z.failed.Store(&err)
	}
	z.offset += int64(len(b))
}

// Close writes what is left, and ends all goroutines.
func (z *gzipWriter) Close() error {
	z.block.last = true
	z.send()
	close(z.parts)
	<-z.ended
	var trailer [8]byte
	binary.LittleEndian.PutUint32(trailer[:4], z.sum)
	binary.LittleEndian.PutUint32(trailer[4:], z.size)
	z.put(trailer[:])
	if err := z.failed.Load(); err != nil {
		return *err
	}
	return nil
}
