package layer

// What the tests hold to pgzip.
const (
	GzipBlock = gzipBlock
	GzipTail  = gzipTail
	GzipLevel = gzipLevel
)

// NewGzipWriter is the writer by itself.
var NewGzipWriter = newGzipWriter
