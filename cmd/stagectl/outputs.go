package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/output"
	"github.com/stagectl/stagectl/builder/plan"
)

const (
	defaultOutput = "image.tar"
	stdoutName    = "-"
	anyEngine     = "auto"
)

// outputFlags say where the images go.
type outputFlags struct {
	specs    []string
	push     bool
	load     string
	iidFile  string
	metadata string
	parsed   []outputSpec
	tagGiven func() bool
}

func (f *outputFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.specs, "output", "o", nil, "`SPEC`: type=docker,dest=F.tar · type=oci,dest=F.tar · type=oci,dest=DIR,tar=false · type=registry · F.tar · -, repeatable (default image.tar)")
	flags.BoolVar(&f.push, "push", false, "push to the registry that -t names")
	flags.StringVar(&f.load, "load", "", "load into `ENGINE`: docker, podman or nerdctl, the first one there is where none is named")
	flags.Lookup("load").NoOptDefVal = anyEngine
	flags.StringVar(&f.iidFile, "iidfile", "", "write the image ID to `FILE`")
	flags.StringVar(&f.metadata, "metadata-file", "", "write digests and names, as JSON, to `FILE`")
	f.tagGiven = func() bool { return flags.Changed("tag") }
	_ = cmd.RegisterFlagCompletionFunc("load", cobra.FixedCompletions(output.Engines, cobra.ShellCompDirectiveNoFileComp))
}

// outputSpec is a parsed -o.
type outputSpec struct {
	// kind is "docker", "oci", "layout" or "registry".
	kind, dest string
}

// parseOutput reads F.tar, -, or fields as docker buildx has them.
func parseOutput(s string) (outputSpec, error) {
	if s == "" {
		return outputSpec{}, usagef("--output: it is empty")
	}
	if !strings.Contains(s, "=") {
		return outputSpec{kind: "docker", dest: s}, nil
	}
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return outputSpec{}, usagef("--output %q: %w", s, err)
	}
	spec, tar := outputSpec{}, true
	for _, field := range fields {
		key, value, _ := strings.Cut(field, "=")
		switch strings.TrimSpace(key) {
		case "type":
			spec.kind = value
		case "dest":
			spec.dest = value
		case "tar":
			if tar, err = strconv.ParseBool(value); err != nil {
				return outputSpec{}, usagef("--output %q: tar is true or false", s)
			}
		default:
			return outputSpec{}, usagef("--output %q: unknown field %q: there are type, dest and tar", s, key)
		}
	}
	switch {
	case !slices.Contains([]string{"docker", "oci", "registry"}, spec.kind):
		return outputSpec{}, usagef("--output %q: unknown type %q: there are docker, oci and registry", s, spec.kind)
	case spec.kind == "registry" && (spec.dest != "" || !tar):
		return outputSpec{}, usagef("--output %q: type=registry pushes to where -t says, and takes no other field", s)
	case !tar && spec.kind != "oci":
		return outputSpec{}, usagef("--output %q: only type=oci can be a directory", s)
	case !tar && (spec.dest == "" || spec.dest == stdoutName):
		return outputSpec{}, usagef("--output %q: tar=false needs dest=DIR", s)
	case !tar:
		spec.kind = "layout"
	case spec.kind != "registry" && spec.dest == "":
		spec.dest = stdoutName // as docker buildx has it
	}
	return spec, nil
}

// parse reads all flags that name an output, and refuses two to one place.
func (f *outputFlags) parse() ([]outputSpec, error) {
	specs := f.specs
	if len(specs) == 0 && !f.push && f.load == "" {
		specs = []string{defaultOutput}
	}
	if f.push {
		specs = append(specs[:len(specs):len(specs)], "type=registry")
	}
	seen := map[string]bool{}
	for _, s := range specs {
		spec, err := parseOutput(s)
		if err != nil {
			return nil, err
		}
		place := spec.dest
		if place != "" && place != stdoutName {
			place = filepath.Clean(place)
		}
		if spec.kind == "registry" && seen[place] {
			continue
		}
		if seen[place] {
			return nil, usagef("--output: two of them go to %s", strings.Replace(place, stdoutName, "standard output", 1))
		}
		seen[place] = true
		f.parsed = append(f.parsed, spec)
	}
	if f.load != "" && f.load != anyEngine && !slices.Contains(output.Engines, f.load) {
		return nil, usagef("--load=%s: unknown engine: there are %s", f.load, strings.Join(output.Engines, ", "))
	}
	return f.parsed, nil
}

func (f *outputFlags) toStdout() bool {
	return slices.ContainsFunc(f.parsed, func(s outputSpec) bool { return s.dest == stdoutName })
}

// paths are those that the build writes to.
func (f *outputFlags) paths() []string {
	paths := []string{f.iidFile, f.metadata}
	for _, s := range f.parsed {
		if s.dest != stdoutName {
			paths = append(paths, s.dest)
		}
	}
	return slices.DeleteFunc(paths, func(p string) bool { return p == "" })
}

// outputs makes what the flags ask for: files first, then registries, then
// engines, so that a failing network leaves the files.
func (f *outputFlags) outputs(a *app, w *workshop) ([]builder.Output, error) {
	specs, err := f.parse()
	if err != nil {
		return nil, err
	}
	host := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	jobs := max(w.client.Jobs, 4)
	var files, pushes []builder.Output
	for _, s := range specs {
		switch s.kind {
		case "registry":
			if !f.tagGiven() {
				return nil, usageError{errPushNeedsTag}
			}
			if w.client.Offline {
				return nil, usagef("--push and --offline exclude each other")
			}
			pushes = append(pushes, &output.Registry{Client: w.client, Jobs: jobs, Progress: w.progress.Event})
		case "layout":
			files = append(files, &output.Layout{Dir: s.dest, Jobs: jobs, Progress: w.progress.Event})
		default:
			archive := &output.Archive{Path: s.dest, Docker: s.kind == "docker", Host: host, Jobs: jobs, Now: a.Now, Progress: w.progress.Event}
			if !w.forget {
				archive.Cache = w.cache
			}
			if s.dest == stdoutName {
				if isTerminal(a.Stdout) {
					return nil, usagef("--output -: standard output is a terminal; send it to a file or a pipe")
				}
				archive.Path, archive.Writer = "", a.Stdout
			}
			files = append(files, archive)
		}
	}
	outputs := slices.Concat(files, pushes)
	if f.load != "" {
		engine := &output.Engine{Name: f.load, Archive: output.Archive{Host: host, Jobs: jobs}, Progress: w.progress.Event}
		if f.load == anyEngine {
			engine.Name = ""
		}
		outputs = append(outputs, engine)
	}
	return outputs, f.checkAll(outputs)
}

// checkAll says early what can't be written, the small files included.
func (f *outputFlags) checkAll(outputs []builder.Output) error {
	var errs []error
	for _, out := range outputs {
		errs = append(errs, out.Check())
	}
	for _, name := range []string{f.iidFile, f.metadata} {
		if name != "" {
			errs = append(errs, (&output.Archive{Path: name}).Check())
		}
	}
	return errors.Join(errs...)
}

// checkPlan refuses flags that make no sense for what the plan has.
func (f *outputFlags) checkPlan(p *plan.Plan) error {
	if f.iidFile != "" && len(p.Images) > 1 {
		return usagef("--iidfile: several images are built; --metadata-file has the digests of all")
	}
	return nil
}

// writeFiles writes --iidfile and --metadata-file as docker buildx does.
func (f *outputFlags) writeFiles(result *builder.Result, left *leftBehind) error {
	if f.iidFile != "" {
		id, err := imageID(result.Images[0])
		if err != nil {
			return err
		}
		if err := output.WriteFile(f.iidFile, []byte(id.String())); err != nil {
			return err
		}
	}
	if f.metadata == "" {
		return nil
	}
	all := map[string]any{}
	for _, r := range result.Images {
		m, err := metadata(r)
		if err != nil {
			return err
		}
		if left != nil {
			m["stagectl.leftBehind"] = left
		}
		all[r.Name] = m
	}
	var content any = all
	if len(result.Images) == 1 {
		content = all[result.Images[0].Name]
	}
	raw, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	return output.WriteFile(f.metadata, append(raw, '\n'))
}

// imageID is what engines call the image: the digest of its config, or that of
// the index where there is no single config.
func imageID(r image.Result) (v1.Hash, error) {
	if r.Index != nil {
		return r.Index.Digest()
	}
	return r.Images[0].Image.ConfigName()
}

// metadata has the keys of docker buildx's --metadata-file.
func metadata(r image.Result) (map[string]any, error) {
	var top partial.Describable = r.Images[0].Image
	m := map[string]any{"image.name": strings.Join(r.Tags, ",")}
	if r.Index != nil {
		top = r.Index
	} else {
		config, err := r.Images[0].Image.ConfigName()
		if err != nil {
			return nil, err
		}
		m["containerimage.config.digest"] = config
	}
	desc, err := partial.Descriptor(top)
	if err != nil {
		return nil, err
	}
	desc.Annotations = nil
	m["containerimage.descriptor"] = desc
	m["containerimage.digest"] = desc.Digest
	return m, nil
}
