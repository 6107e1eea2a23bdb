// Package builder makes container images out of Go packages without Docker.
//
// Data moves forward only. A front end (the flags of the command line, a
// Dockerfile) makes a [plan.Plan], and [Builder.Build] carries it out:
//
//	plan.Plan -> bases resolved -> packages compiled -> layers -> image/index -> outputs
//
// Each arrow is a package that knows nothing of the ones after it: base finds
// base images, compile runs the go command, layer writes reproducible layers,
// image puts them together, output writes archives and layouts and pushes to
// registries. The builder names what it needs of them as small interfaces, so
// that a caller may put something else in.
//
// The same plan on the same sources makes the same bytes: on another machine,
// in another directory, with a cold or a warm cache, on one CPU or many.
package builder
