// Package script does what a RUN of a Dockerfile says without a container: an
// interpreter of the shell language works on a stage's file system, in which
// the usual commands for files, text, users and packages are functions here, and
// the go command and git, which only read or compile, are the host's own.
//
// Check says of each command, from the text alone, whether that is possible, so
// that what needs a container is refused before anything is done. Exec does it.
//
// Nothing of the host is seen by a script but what Host gives it: paths, users,
// variables and times are the stage's. What runs as the user that USER names
// makes files that belong to that user, but is not kept from anything, as root
// is not.
package script
