// Package golang stands in for the golang images of Docker Hub, of which a build
// needs little: the release of Go, which the host's go command fetches and runs,
// and a few files. So none of them is pulled.
//
// Which release a tag means is said by the image's configuration or, where that
// cannot be had, by the tag and the releases that the module proxy knows.
//
// # What is remembered
//
// What `go build`, and `go install` of packages of the module, leave is
// remembered by package compile, and is put into the stage without the go command
// where nothing has changed of what it is made of. It is asked each time for
// what follows, since what decides is not all known, or programs are not all
// that is left:
//
//   - -overlay, -modfile, -toolexec, -pgo=FILE, -compiler, -linkshared, -pkgdir and
//     -cover name files, programs or archives that are not looked at;
//   - -buildmode of archives and libraries leaves more than programs;
//   - -buildvcs, unless it is false, puts the state of a repository in;
//   - -x, -n, -json and -work are there for what they print;
//   - packages named with a version, and all, std, cmd and the like;
//   - -o at something that is no program, which the go command refuses;
//   - go install outside of a module leaves archives as well;
//   - before Go 1.19, where `go list` cannot say what packages are made of, and
//     outside of modules: -o of a directory, packages out of the directory, and
//     the stage's root, which has more than a project. Of the others, each file
//     in the project and below GOPATH/src is taken for one that they are made
//     of; before Go 1.16, which has no go:embed, each that is a source by its name.
//
// # cgo
//
// Everything is compiled without cgo. Where the image would compile with it, as
// CGO_ENABLED=1 has it do and, where nothing is said, a C compiler for the same
// platform in the image, packages that are partly C are refused before anything is
// compiled. What the standard library has both in C and in Go is taken in Go, and a
// line says so. Of a package that is named with its version, as of a tool that is
// installed, it is not known.
package golang
