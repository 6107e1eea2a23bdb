// Package image puts a base, layers and a configuration together, and reads
// what is inside a finished image.
package image
