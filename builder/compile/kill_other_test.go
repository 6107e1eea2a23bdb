//go:build !unix

package compile_test

// cancelModes is empty where there are no process groups: children end when
// they find no one to write to, and the fakes never write.
var cancelModes []string
