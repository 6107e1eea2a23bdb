package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
)

// The contenders' names.
const (
	floorName     = "go build"
	archiveName   = "archive"
	pushName      = "push"
	koName        = "ko"
	koCacheName   = "ko with KOCACHE"
	archive1Name  = "archive, 1 platform"
	archive4Name  = "archive, 4 platforms"
	push1Name     = "push, 1 platform"
	push4Name     = "push, 4 platforms"
	versionName   = "stagectl version"
	oneOfManyName = "that one alone"
)

// A contender is one way to do a group's work.
type contender struct {
	Name    string
	Missing string       // why it cannot be run, if it cannot
	Before  func() error // what is not measured
	Run     func(context.Context) (float64, error)
}

// A row holds a subject against a reference, if it has one, and a goal.
type row struct {
	Name               string
	Subject, Reference string
	Goal               goal
}

// A goal is an upper bound: Times the reference's median, plus Plus.
type goal struct {
	Text        string
	Times, Plus float64
	// Faster has the ratio told the other way round.
	Faster bool
	// Peak is for what must never be exceeded: the highest sample counts.
	Peak bool
}

// A group is work that its contenders do in turn, for some rows of the table.
type group struct {
	Unit       unit
	Contenders []contender
	Rows       []row
}

// only is the part of g that the rows matching re need.
func (g group) only(re *regexp.Regexp) group {
	g.Rows = slices.DeleteFunc(slices.Clone(g.Rows), func(r row) bool { return !re.MatchString(r.Name) })
	g.Contenders = slices.DeleteFunc(slices.Clone(g.Contenders), func(c contender) bool {
		return !slices.ContainsFunc(g.Rows, func(r row) bool { return c.Name == r.Subject || c.Name == r.Reference })
	})
	return g
}

// measure runs the contenders in turn and reports the rows. A contender that
// fails is out; the others go on.
func (g group) measure(ctx context.Context, rounds int, r *report) {
	taken := map[string]samples{}
	missing := map[string]string{}
	for _, c := range g.Contenders {
		missing[c.Name] = c.Missing
	}
	for round := range rounds + 1 {
		for _, c := range g.Contenders {
			if ctx.Err() != nil {
				missing[c.Name] = cmp.Or(missing[c.Name], "interrupted")
			}
			if missing[c.Name] != "" {
				continue
			}
			fmt.Fprintf(os.Stderr, "%s: %s, run %d of %d\n", g.Rows[0].Name, c.Name, round, rounds)
			v, err := c.once(ctx)
			switch {
			case ctx.Err() != nil:
				missing[c.Name] = "interrupted"
			case err != nil:
				missing[c.Name] = err.Error()
			case round > 0:
				taken[c.Name] = append(taken[c.Name], v)
			}
		}
	}
	for _, row := range g.Rows {
		r.add(row, g.Unit, taken, missing)
	}
}

// once runs the contender.
func (c contender) once(ctx context.Context) (float64, error) {
	if c.Before != nil {
		if err := c.Before(); err != nil {
			return 0, err
		}
	}
	return c.Run(ctx)
}

// before is the contenders with f called before each run.
func before(f func() error, contenders ...contender) []contender {
	for i := range contenders {
		contenders[i].Before = f
	}
	return contenders
}

// samples are what was measured of one contender.
type samples []float64

func (s samples) sorted() samples {
	s = slices.Clone(s)
	sort.Float64s(s)
	return s
}

func (s samples) median() float64 {
	s = s.sorted()
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// ratio tells how the subject does against the reference.
func (g goal) ratio(subject, reference samples) float64 {
	if g.Faster {
		return reference.median() / subject.median()
	}
	return subject.median() / reference.median()
}

// met says whether the subject is within the goal. The reference is empty where
// the row has none.
func (g goal) met(subject, reference samples) bool {
	value, limit := subject.median(), g.Plus
	if g.Peak {
		value = slices.Max(subject)
	}
	if len(reference) > 0 {
		limit += g.Times * reference.median()
	}
	return value <= limit
}
