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
// Work that was done before is found by its content at each arrow: compile
// remembers what came out of which files, the cache has layers by what is in
// them and, for those that changed a little, their blocks, output knows which
// file it wrote. Nothing of that is believed without the sum of what it stands
// for. The arrows overlap: bases are resolved while the compiler runs, and a
// layer is made as soon as its binary is linked. The stages of a Dockerfile are
// carried out side by side where none needs the other, and once where several
// platforms have the same, also where that is so up to some step.
//
// The same plan on the same sources makes the same bytes: on another machine,
// in another directory, with a cold or a warm cache, on one CPU or many.
package builder
