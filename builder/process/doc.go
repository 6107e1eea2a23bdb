// Package process runs other programs so that nothing of them stays when they
// are not wanted any more.
package process
