// Package plan holds what was decided: which images to make, from which bases,
// out of which packages and files. A plan is plain data. Front ends (the flags
// of the command line, a Dockerfile) produce it, builder.Build carries it out,
// and nothing in between changes it. It does no I/O and prints as JSON.
package plan

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Names of the two bases that need no network and no file.
const (
	// Static is the built-in base for static binaries.
	Static = "static"
	// Scratch is the empty base.
	Scratch = "scratch"
)

// Plan is everything one build makes.
type Plan struct {
	// Dir is the directory that relative paths of Compile and Copy steps
	// start from, and that context copies may not leave.
	Dir string `json:"dir"`
	// Epoch is the time written to every new file, to the config and to the
	// history: SOURCE_DATE_EPOCH, or 1970-01-01.
	Epoch time.Time `json:"epoch"`
	// Compression of the layers that the build makes.
	Compression Compression `json:"compression"`
	// Contexts are the directories that Files and bind mounts take from, by
	// name; that of the build context is BuildContext.
	Contexts map[string]Context `json:"contexts,omitempty"`
	// Images to make, at least one.
	Images []Image `json:"images"`
}

// BuildContext is the name of the context that FROM and --from leave out.
const BuildContext = "context"

// Context is a directory of the host to copy from.
type Context struct {
	// Dir is absolute. Nothing outside of it is ever copied.
	Dir string `json:"dir"`
	// Ignore are the patterns of the .dockerignore, in order.
	Ignore []string `json:"ignore,omitempty"`
}

// Compression of a layer, by the names of the --compression flag.
type Compression struct {
	// Algorithm is "gzip", "zstd" or "none".
	Algorithm string `json:"algorithm"`
	// Level is the algorithm's own level, 0 for its default.
	Level int `json:"level,omitempty"`
}

// Image is one image, for one or more platforms.
type Image struct {
	// Name is what {name} stands for: the name of the first binary. No two
	// images of a plan share one.
	Name string `json:"name"`
	// Tags are the references the image is known by, at least one.
	Tags []string `json:"tags"`
	// Platforms the image is made for, never empty, as Normalize writes them.
	// More than one makes an index.
	Platforms []v1.Platform `json:"platforms"`
	// Annotations of each manifest.
	Annotations map[string]string `json:"annotations,omitempty"`
	// IndexAnnotations of the index, when there is one.
	IndexAnnotations map[string]string `json:"indexAnnotations,omitempty"`
	// AllowDynamic accepts a binary whose interpreter the base lacks.
	AllowDynamic bool `json:"allowDynamic,omitempty"`
	// Stages in order: the last one is the image, the others only feed it.
	Stages []Stage `json:"stages,omitempty"`
	// Variants, unless empty, are in the place of Stages: one for each of the
	// Platforms, in their order. A Dockerfile knows what it is built for.
	Variants []Variant `json:"variants,omitempty"`
}

// Variant is what an image is made of for one platform.
type Variant struct {
	Platform v1.Platform `json:"platform"`
	Stages   []Stage     `json:"stages"`
}

// StagesFor returns the stages that make the image for a platform, nil for one
// that it is not made for.
func (img Image) StagesFor(p v1.Platform) []Stage {
	if len(img.Variants) == 0 {
		return img.Stages
	}
	for _, v := range img.Variants {
		if v.Platform.Equals(p) {
			return v.Stages
		}
	}
	return nil
}

// Final is the stage that becomes the image for a platform.
func (img Image) Final(p v1.Platform) Stage {
	stages := img.StagesFor(p)
	return stages[len(stages)-1]
}

// Stage is a base and the steps on top of it.
type Stage struct {
	// Name that other stages copy by, unique in the image.
	Name string `json:"name"`
	// Base is the name of an earlier stage, Static, Scratch, a reference,
	// oci:DIR[:TAG], docker-archive:FILE, or empty for a stage that only
	// compiles. What the name of an earlier stage is, is nothing else.
	Base string `json:"base,omitempty"`
	// Platform of the base, where it is not the image's.
	Platform *v1.Platform `json:"platform,omitempty"`
	// Steps in the order they are carried out. Copy is for the last stage,
	// Compile for the others; a stage without a base only compiles.
	Steps []Step `json:"steps"`
	// Position of the FROM.
	Position *Position `json:"position,omitempty"`
}

// Step is one thing to do. Exactly one of its pointers is set, beside the
// position.
type Step struct {
	Compile *Compile `json:"compile,omitempty"`
	Copy    *Copy    `json:"copy,omitempty"`
	Config  *Config  `json:"config,omitempty"`
	Run     *Run     `json:"run,omitempty"`
	Files   *Files   `json:"files,omitempty"`
	MakeDir *MakeDir `json:"makeDir,omitempty"`
	// Position of the instruction that the step comes from.
	Position *Position `json:"position,omitempty"`
}

// Compile makes one binary out of one main package. Steps with the same Dir
// and Settings are compiled by one run of the go command.
type Compile struct {
	// Dir is where the go command runs, absolute.
	Dir string `json:"dir"`
	// Package is an import path or, with Files, empty.
	Package string `json:"package,omitempty"`
	// Files are the .go files of an ad-hoc package.
	Files []string `json:"files,omitempty"`
	// Binary is the name of the file that the go command makes.
	Binary string `json:"binary"`
	// Output is the path of the binary in the stage.
	Output   string     `json:"output"`
	Settings GoSettings `json:"settings"`
}

// GoSettings are the settings of a compilation that are neither the package's
// nor the platform's. They are comparable, so that steps can be grouped by them.
type GoSettings struct {
	// LDFlags is the value of -ldflags, beyond the -s -w that Debug leaves out.
	LDFlags string `json:"ldflags,omitempty"`
	// Tags is the value of -tags.
	Tags string `json:"tags,omitempty"`
	// Debug keeps the symbol table and DWARF.
	Debug bool `json:"debug,omitempty"`
}
