// Package golang stands in for the golang images of Docker Hub, of which a build
// needs little: the release of Go, which the host's go command fetches and runs,
// and a few files. So none of them is pulled.
//
// Which release a tag means is said by the image's configuration or, where that
// cannot be had, by the tag and the releases that the module proxy knows.
package golang
