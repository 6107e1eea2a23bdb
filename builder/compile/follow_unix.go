//go:build unix

package compile

// renames says that the go command puts what it linked into its place by a
// rename, so that a binary is whole when it is there.
const renames = true
