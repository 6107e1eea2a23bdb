package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// unit is what samples count: seconds unless said otherwise.
type unit int

const (
	inSeconds unit = iota
	mebibytes
)

func (u unit) format(v float64) string {
	switch {
	case u == mebibytes:
		return fmt.Sprintf("%.1f MiB", v)
	case v < 0.1:
		return fmt.Sprintf("%.1f ms", v*1000)
	case v < 1:
		return fmt.Sprintf("%.0f ms", v*1000)
	}
	return fmt.Sprintf("%.2f s", v)
}

func (u unit) span(s samples) string {
	return u.format(slices.Min(s)) + " - " + u.format(slices.Max(s))
}

// report is what is printed in the end.
type report struct {
	Unmeasured []string
	Machine    string
	lines      [][]string
}

// add adds a line of the table, or one of what was not measured.
func (r *report) add(row row, u unit, taken map[string]samples, missing map[string]string) {
	for _, name := range []string{row.Subject, row.Reference} {
		if why := missing[name]; why != "" {
			r.Unmeasured = append(r.Unmeasured, fmt.Sprintf("%s, %s: %s: %s", row.Name, row.Goal.Text, name, why))
			return
		}
	}
	subject, reference := taken[row.Subject], taken[row.Reference]
	verdict := "missed"
	if row.Goal.met(subject, reference) {
		verdict = "met"
	}
	ratio, median, span := "", "", ""
	if len(reference) > 0 {
		ratio = fmt.Sprintf("%.2f", row.Goal.ratio(subject, reference))
		median, span = u.format(reference.median()), u.span(reference)
	}
	r.lines = append(r.lines, []string{row.Name, row.Goal.Text, ratio,
		u.format(subject.median()), u.span(subject), median, span, verdict})
}

// write prints the table, what is not in it, and what it was made on.
func (r *report) write(out io.Writer) error {
	var b strings.Builder
	b.WriteString("row\tgoal\tratio\tstagectl\tmin - max\tother\tmin - max\t\n")
	for _, line := range r.lines {
		b.WriteString(strings.Join(line, "\t") + "\n")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	b.Reset()
	for _, what := range r.Unmeasured {
		b.WriteString("\nnot measured: " + what)
	}
	_, err := io.WriteString(out, b.String()+"\n\nmachine: "+r.Machine+"\n")
	return err
}

// machine describes what is measured on, without naming it.
func machine() string {
	cpu := procField("/proc/cpuinfo", "model name")
	if cpu == "" {
		cpu = "unknown CPU"
	}
	memory := "unknown memory"
	var kib float64
	if _, err := fmt.Sscan(procField("/proc/meminfo", "MemTotal"), &kib); err == nil {
		memory = fmt.Sprintf("%.0f GiB", kib/(1<<20))
	}
	version, err := output(exec.Command("go", "env", "GOVERSION"))
	if err != nil {
		version = "unknown go"
	}
	return fmt.Sprintf("%s, %d cores, %s, %s %s/%s", cpu, runtime.NumCPU(), memory, version, runtime.GOOS, runtime.GOARCH)
}

// procField is the first value of a "key: value" file, or empty.
func procField(file, key string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
