// Package rootfs is the file system of a build stage: a tree that nothing
// changes, the lower one, and over it a directory of the host, the upper one.
// Whoever works on the stage sees one tree with its own root.
//
// The lower tree is the base's and is read when something asks for it. The
// upper directory holds real files, so that a program such as the go command
// can work in it. What a user without privileges cannot give to a file there,
// its owner, its mode with setuid and sticky, what device it is, is kept beside
// in memory; so is what of the lower tree was deleted.
//
// Symbolic links lead where they would under chroot. Nothing outside of the
// upper directory is ever read or written: each path is resolved here, element
// by element, and what is left is carried out through an os.Root, so that even
// a link put there in between leads nowhere. The link on disk need not be the
// one that the stage has. One to /etc would lead a program of the host to the
// host's /etc, so on disk it is ../etc, or as many levels up as there are.
//
// What a program does to the upper directory counts as done by the stage. A
// file that it makes belongs to root until Own says otherwise, and has mode
// 0755 where it may be executed, 0644 otherwise: the host's umask is not the
// stage's.
package rootfs
