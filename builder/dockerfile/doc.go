// Package dockerfile turns a Dockerfile into the stages of a plan. It is a
// front end and nothing else: it reads no file but the one that it is given,
// fetches nothing, and leaves to others what the steps of a plan do.
//
// The syntax is that of BuildKit, whose parser it uses, and so are the rules:
// which ARG a FROM sees, what a stage inherits, where a relative path starts
// (https://docs.docker.com/reference/dockerfile/ and the dockerfile2llb package
// of github.com/moby/buildkit). Where it is stricter, the Dockerfile would
// have made an image that does not work.
//
// An error names the file, the line and the instruction. All that is wrong
// with a Dockerfile is reported at once.
//
// Print is the way back, for plans of packages.
package dockerfile
