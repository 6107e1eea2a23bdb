//go:build !unix

package compile

// renames: on Windows the go command copies, so that what is there need not be
// whole.
const renames = false
