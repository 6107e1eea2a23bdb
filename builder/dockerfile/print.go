package dockerfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// Printing is what a Dockerfile says and a plan of packages does not.
type Printing struct {
	// Context is the directory that is to be the build context, absolute: all
	// that is compiled and copied is in it.
	Context string
	// Files are those of Context. What is copied depends on what it is.
	Files fs.FS
	// Recipe tells the release of Go to compile with, the variables for `go
	// build`, as KEY=VALUE, and the words that follow it.
	Recipe func(plan.Compile) (release string, env, args []string, err error)
}

// Places in a printed Dockerfile's build stage.
const (
	sourceDir = "/src"
	outputDir = "/out"
	copiedDir = "/copied"
	emptyDir  = "/empty"
)

// Print writes the Dockerfile that makes the images of a plan of packages: a
// stage that compiles, on the golang image of the release, and a final stage for
// each image. Of what cannot be expressed, all is reported, by the flags that
// say it.
func Print(p *plan.Plan, o Printing) ([]byte, error) {
	w := &printer{plan: p, Printing: o, taken: map[string]bool{}}
	for _, img := range p.Images {
		if len(img.Stages) != 2 || img.Stages[0].Base != "" {
			return nil, errors.New("it is not a plan of packages")
		}
		w.images = append(w.images, &printed{Image: img, final: img.Stages[1]})
	}
	w.nameStages()
	if err := w.source(); err != nil {
		return nil, err
	}
	for _, img := range w.images {
		w.image(img)
	}
	if len(w.errs) > 0 {
		return nil, errors.Join(w.errs...)
	}
	return []byte(strings.Join(w.head(), "\n") + "\n\n" + w.body.String()), nil
}

// printer writes a Dockerfile.
type printer struct {
	Printing
	plan   *plan.Plan
	images []*printed
	// shared is the stage with the sources, where several build stages are made from it.
	shared string
	taken  map[string]bool
	// noModule tells that a program has the path of its directory in it.
	noModule bool
	body     strings.Builder
	errs     []error
}

// printed is an image, the build stage it copies from, and what is written.
type printed struct {
	plan.Image
	final       plan.Stage
	build, name string
	// base is what FROM says, and context what a build context is given it by.
	base, context string
	// prepared are more commands of the build stage, and empty is set where
	// an empty directory is one of them.
	prepared []string
	empty    bool
	made     []string
	body     strings.Builder
}

func (w *printer) fail(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if !slices.ContainsFunc(w.errs, func(e error) bool { return e.Error() == err.Error() }) {
		w.errs = append(w.errs, err)
	}
}

// nameStages finds names that no two stages share, and that no base has.
func (w *printer) nameStages() {
	for _, img := range w.images {
		img.base = w.baseName(img)
		w.taken[strings.ToLower(img.base)] = true
	}
	for _, img := range w.images {
		img.name = w.stageName(img.Name)
	}
	if len(w.images) == 1 {
		w.images[0].build = w.stageName("build")
		return
	}
	w.shared = w.stageName("source")
	for _, img := range w.images {
		img.build = w.stageName("build-" + img.Name)
	}
}

func (w *printer) stageName(name string) string {
	if name[0] < 'a' || name[0] > 'z' {
		name = "image-" + name
	}
	for n := 2; w.taken[name]; n++ {
		name = strings.TrimSuffix(name, "-"+strconv.Itoa(n-1)) + "-" + strconv.Itoa(n)
	}
	w.taken[name] = true
	return name
}

// baseName is what FROM calls the base of an image. A layout has no name of its
// own there, and is given as a build context.
func (w *printer) baseName(img *printed) string {
	base := img.final.Base
	if dir, ok := strings.CutPrefix(base, "oci:"); ok {
		img.context = "base=oci-layout://" + dir
		return "base"
	}
	if file, ok := strings.CutPrefix(base, "docker-archive:"); ok {
		w.fail("--base %s: a Dockerfile cannot name an archive: `docker load -i %s`, and give --base the name that it says", base, file)
	}
	return base
}

// source begins the build stage, or the one that all build stages are made from.
func (w *printer) source() error {
	release := ""
	for _, img := range w.images {
		for _, step := range img.Stages[0].Steps {
			its, _, _, err := w.Recipe(*step.Compile)
			if err != nil {
				return err
			}
			if release != "" && release != its {
				return fmt.Errorf("the packages are compiled by Go %s and Go %s, as their modules say: print a Dockerfile for each", release, its)
			}
			release = its
		}
	}
	name := w.shared
	if name == "" {
		name = w.images[0].build
	}
	fmt.Fprintf(&w.body, "FROM --platform=$BUILDPLATFORM golang:%s AS %s\nWORKDIR %s\nCOPY . .\n", release, name, sourceDir)
	return nil
}

// image writes the build stage of an image and its final one, in which it is
// found what the build stage has to have.
func (w *printer) image(img *printed) {
	w.finalStage(img)
	if w.shared != "" {
		fmt.Fprintf(&w.body, "\nFROM %s AS %s\n", w.shared, img.build)
	}
	args, assign := targetEnv(img.Platforms)
	fmt.Fprintf(&w.body, "ARG %s\n", strings.Join(args, " "))
	dir := sourceDir
	for _, step := range img.Stages[0].Steps {
		in := w.inSource("compiling", step.Compile.Dir)
		if in != dir {
			fmt.Fprintf(&w.body, "WORKDIR %s\n", escapeWord(in))
			dir = in
		}
		w.compile(step.Compile, assign)
	}
	if img.empty {
		img.prepared = append(img.prepared, "mkdir -p "+emptyDir)
	}
	for _, command := range img.prepared {
		w.body.WriteString("RUN " + command + "\n")
	}
	w.body.WriteString("\n" + img.body.String())
}

// inSource is where the build stage has what is at dir on the host.
func (w *printer) inSource(doing, dir string) string {
	rel, err := filepath.Rel(w.Context, dir)
	if err != nil || !filepath.IsLocal(rel) {
		w.fail("%s %s: it is not in %s, which has to be the build context", doing, dir, w.Context)
		return sourceDir
	}
	if rel == "." {
		return sourceDir
	}
	return sourceDir + "/" + filepath.ToSlash(rel)
}

// cacheMounts keep what golang images keep in these places from build to build.
const cacheMounts = "--mount=type=cache,target=/root/.cache/go-build --mount=type=cache,target=/go/pkg/mod"

func (w *printer) compile(c *plan.Compile, assign []string) {
	_, env, args, _ := w.Recipe(*c) // of which source has seen the error
	words := slices.Clone(assign)
	for _, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		words = append(words, key+"="+shellWord(value))
		w.noModule = w.noModule || kv == "GO111MODULE=off" || len(c.Files) > 0
	}
	slices.Sort(words[len(assign):])
	words = append(words, "go", "build")
	n := len(args) - max(1, len(c.Files)) // where the package, or its files, begin
	for _, arg := range args[:n] {
		words = append(words, shellWord(arg))
	}
	words = append(words, "-o", shellWord(outputDir+c.Output))
	for _, arg := range args[n:] {
		words = append(words, shellWord(arg))
	}
	line := strings.Join(words, " ")
	if strings.Contains(line, "\n") {
		w.fail("--ldflags: a RUN has no line breaks in its words: write it on one line")
	}
	fmt.Fprintf(&w.body, "RUN %s \\\n    %s\n", cacheMounts, line)
}

// variantVars are the variables that choose among the variants of an
// architecture, with what TARGETVARIANT is for them.
var variantVars = map[string]string{
	"amd64": "GOAMD64=${TARGETVARIANT:-v1}", "arm": "GOARM=${TARGETVARIANT#v}",
	"arm64": "GOARM64=${TARGETVARIANT:-v8}.0", "ppc64le": "GOPPC64=${TARGETVARIANT:-power8}", "riscv64": "GORISCV64=${TARGETVARIANT:-rva20u64}",
}

// targetEnv are the ARGs of a build stage and the variables for `go build` that
// are made of them. The go command refuses a variant of the wrong
// architecture, so where several have one it depends on that.
func targetEnv(platforms []v1.Platform) (args, assign []string) {
	args, assign = []string{"TARGETOS", "TARGETARCH"}, []string{"GOOS=$TARGETOS", "GOARCH=$TARGETARCH"}
	var with []string
	mixed := false
	for _, p := range platforms {
		switch {
		case variantVars[p.Architecture] == "" || p.Variant == "" && p.Architecture != "arm":
			mixed = true
		case !slices.Contains(with, p.Architecture):
			with = append(with, p.Architecture)
		}
	}
	if len(with) == 0 {
		return args, assign
	}
	args = append(args, "TARGETVARIANT")
	if len(with) == 1 && (!mixed || with[0] == "arm") {
		return args, append(assign, variantVars[with[0]])
	}
	var b strings.Builder
	for _, arch := range with {
		fmt.Fprintf(&b, "%s) export %s;; ", arch, variantVars[arch])
	}
	return args, append([]string{"case $TARGETARCH in " + b.String() + "esac;"}, assign...)
}

// head says what the file is, and how Docker builds it.
func (w *printer) head() []string {
	lines := []string{
		"# What `stagectl build` makes of Go packages, for Docker with BuildKit, which it has by default",
		"# since version 23 (before that: DOCKER_BUILDKIT=1). In the directory that stagectl was run in:",
	}
	context := "."
	if rel, err := filepath.Rel(w.plan.Dir, w.Context); err == nil {
		context = filepath.ToSlash(rel)
	}
	static := slices.ContainsFunc(w.images, func(img *printed) bool { return img.base == plan.Static })
	if static {
		lines = append(lines, "#   echo FROM static | stagectl build -f - -t static --load")
	}
	for _, img := range w.images {
		lines = append(lines, "#   "+w.command(img)+" "+shellWord(context))
	}
	if static {
		lines = append(lines, "# static is the base that stagectl has built in: the first line gives it to Docker.")
	}
	if _, err := fs.Stat(w.Files, ".dockerignore"); err == nil {
		lines = append(lines, "# What the .dockerignore leaves out is not there for Docker: nothing of that may be compiled or copied.")
	}
	if w.noModule {
		lines = append(lines, "# A program that is no package of a module has the path of its directory in it, which is another one here.")
	}
	for _, img := range w.images {
		for _, note := range w.notes(img) {
			if line := "# " + note; !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// command is how Docker builds an image, but for the directory.
func (w *printer) command(img *printed) string {
	var words []string
	name := "docker build"
	if len(w.images) > 1 {
		words = append(words, "--target", img.name)
	}
	platforms := make([]string, len(img.Platforms))
	for i, p := range img.Platforms {
		platforms[i] = platformText(p)
	}
	words = append(words, "--platform", strings.Join(platforms, ","))
	if img.context != "" {
		words = append(words, "--build-context", shellWord(img.context))
	}
	for _, set := range []struct {
		prefix string
		values map[string]string
	}{{"", img.Annotations}, {"index:", img.IndexAnnotations}} {
		for _, key := range sortedKeys(set.values) {
			words = append(words, "--annotation", shellWord(set.prefix+key+"="+set.values[key]))
		}
	}
	if img.context != "" || len(platforms) > 1 || len(img.Annotations)+len(img.IndexAnnotations) > 0 {
		name = "docker buildx build"
	}
	if epoch := w.plan.Epoch; !epoch.IsZero() && epoch.Unix() != 0 {
		words = append(words, "--build-arg", epochArg+"="+strconv.FormatInt(epoch.Unix(), 10))
	}
	for _, tag := range img.Tags {
		words = append(words, "-t", shellWord(tag))
	}
	return name + " " + strings.Join(append(words, "-f", "Dockerfile"), " ")
}

// notes are what comes out otherwise.
func (w *printer) notes(img *printed) []string {
	var notes []string
	if c := w.plan.Compression; c.Algorithm != "" && c.Algorithm != "gzip" {
		notes = append(notes, "How layers are compressed, with "+c.Algorithm+", is a matter of buildx's --output.")
	}
	for _, step := range img.final.Steps {
		if step.Config != nil && step.Config.WorkingDir != "" {
			notes = append(notes, "WORKDIR makes the directory where it is missing, which stagectl leaves to who runs the image.")
		}
	}
	if img.base == plan.Scratch {
		notes = append(notes, "On scratch, Docker sets PATH, which stagectl does not.")
	}
	return notes
}
