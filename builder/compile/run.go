package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stagectl/stagectl/builder/plan"
)

// run is what one run of `go build` makes.
type run struct {
	dir      string
	settings plan.GoSettings
	// args are packages or, with files, the files of one.
	args  []string
	names []string
	files bool
	// steps are indexes of those that the run is for.
	steps []int
	// wave numbers the runs that differ in nothing else: two main packages
	// with binaries of one name cannot share a run.
	wave int
}

func args(s plan.Compile) []string {
	if len(s.Files) > 0 {
		return s.Files
	}
	return []string{s.Package}
}

// group puts as many steps as possible into each run.
func group(steps []plan.Compile) []*run {
	var runs []*run
	for i, s := range steps {
		wave := 0
		at := slices.IndexFunc(runs, func(r *run) bool {
			if r.dir != s.Dir || r.settings != s.Settings {
				return false
			}
			wave++
			return r.takes(s)
		})
		if at < 0 {
			at = len(runs)
			runs = append(runs, &run{dir: s.Dir, settings: s.Settings, files: len(s.Files) > 0, wave: wave})
		}
		runs[at].add(i, s)
	}
	return runs
}

// takes tells whether s can be part of the run: the files of an ad-hoc package
// are a run of their own, and no two binaries have one name.
func (r *run) takes(s plan.Compile) bool {
	if r.files || len(s.Files) > 0 {
		return slices.Equal(r.args, s.Files)
	}
	return slices.Contains(r.args, s.Package) || !slices.Contains(r.names, s.Binary)
}

func (r *run) add(i int, s plan.Compile) {
	r.steps = append(r.steps, i)
	for _, arg := range args(s) {
		if !slices.Contains(r.args, arg) {
			r.args = append(r.args, arg)
		}
	}
	if !slices.Contains(r.names, s.Binary) {
		r.names = append(r.names, s.Binary)
	}
}

// summary names a few of many.
func summary(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:2], ", "), len(names)-2)
	}
	return strings.Join(names, ", ")
}
