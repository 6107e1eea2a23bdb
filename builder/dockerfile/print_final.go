package dockerfile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// finalStage writes the stage that becomes the image.
func (w *printer) finalStage(img *printed) {
	fmt.Fprintf(&img.body, "FROM %s AS %s\n", img.base, img.name)
	for _, step := range img.final.Steps {
		switch {
		case step.Copy != nil && step.Copy.From != "":
			w.line(img, copyLine(img.build, "", escapePath(outputDir+step.Copy.Source), step.Copy.Dest))
		case step.Copy != nil:
			w.copyFiles(img, step.Copy)
		case step.Config != nil:
			w.config(img, step.Config)
		}
	}
}

// line writes one instruction.
func (*printer) line(img *printed, text string) { img.body.WriteString(text + "\n") }

// copyFiles writes a COPY of what the context has. Docker takes modes as they
// are on the host, follows a link that is a source, gives --chmod to directories
// as well, and --chown to those above that it makes; where that comes to
// something else, the build stage prepares what is copied.
func (w *printer) copyFiles(img *printed, c *plan.Copy) {
	source := c.Source
	if !filepath.IsAbs(source) {
		if !filepath.IsLocal(source) {
			w.fail("--copy %s: it leads out of %s: name it by its absolute path", c.Source, w.plan.Dir)
			return
		}
		source = filepath.Join(w.plan.Dir, filepath.FromSlash(source))
	}
	rel, err := filepath.Rel(w.Context, source)
	if err != nil || !filepath.IsLocal(rel) {
		w.fail("--copy %s: it is not in %s, which has to be the build context: copy it there first", c.Source, w.Context)
		return
	}
	rel = filepath.ToSlash(rel)
	look, err := lookAt(w.Files, rel)
	if err != nil {
		w.fail("--copy %s: %w", c.Source, err)
		return
	}
	owner := ""
	if c.UID != 0 || c.GID != 0 {
		owner = fmt.Sprintf("--chown=%d:%d ", c.UID, c.GID)
	}
	dest := path.Clean(c.Dest)
	if !look.IsDir() && strings.HasSuffix(c.Dest, "/") {
		dest = path.Join(dest, path.Base(rel))
	}
	mode := ""
	if c.Mode != nil {
		mode = "--chmod=" + plan.FormatMode(*c.Mode) + " "
	} else if !look.plain {
		mode = "--chmod=" + plan.FormatMode(normal(look.Mode())) + " "
	}
	if owner != "" || mode != "" && look.Mode().IsRegular() {
		w.makeParent(img, path.Dir(dest))
	}
	switch {
	case look.IsDir() && (c.Mode != nil || !look.plain):
		source, under := w.prepareDir(img, rel, c.Mode, dest)
		w.line(img, copyLine(img.build, owner, source+"/", under+"/"))
	case look.IsDir():
		w.line(img, copyLine("", owner, escapePath(rel)+"/", dest+"/"))
	case look.Mode().Type() == fs.ModeSymlink:
		prepared := fmt.Sprintf("%s/%d", copiedDir, len(img.prepared))
		img.prepared = append(img.prepared, fmt.Sprintf("mkdir -p %s && cp -P %s %s", prepared,
			shellWord(sourceDir+"/"+rel), shellWord(prepared+"/"+path.Base(dest))))
		w.line(img, copyLine(img.build, owner, prepared+"/", path.Dir(dest)+"/"))
	default:
		w.line(img, copyLine("", owner+mode, escapePath(rel), dest))
	}
}

// makeParent makes the directory above what is copied, as root's.
func (w *printer) makeParent(img *printed, dir string) {
	if dir == "/" || slices.Contains(img.made, dir) {
		return
	}
	img.made = append(img.made, dir)
	img.empty = true
	w.line(img, copyLine(img.build, "", emptyDir+"/", dir+"/"))
}

// prepareDir has the build stage make a copy of a directory with other modes,
// and returns what of that is to be copied to where. The destination of a COPY
// gets mode 0755, so one that is to have another is copied with its name.
func (*printer) prepareDir(img *printed, rel string, mode *fs.FileMode, dest string) (source, under string) {
	source, under = fmt.Sprintf("%s/%d", copiedDir, len(img.prepared)), dest
	to := source
	if mode != nil && dest != "/" {
		under = path.Dir(dest)
		to = path.Join(source, path.Base(dest))
	}
	to = shellWord(to)
	command := fmt.Sprintf("mkdir -p %s && cp -R %s %s && ", to, shellWord(sourceDir+"/"+rel+"/."), to)
	if mode == nil {
		command += "chmod -R u=rwX,go=rX " + to
	} else {
		command += fmt.Sprintf("chmod -R %s %s && find %s -type d -exec chmod %s {} +",
			plan.FormatMode(*mode), to, to, plan.FormatMode(*mode|*mode&0o444>>2))
	}
	img.prepared = append(img.prepared, command)
	return source, under
}

func copyLine(from, flags, source, dest string) string {
	line := "COPY "
	if from != "" {
		line += "--from=" + from + " "
	}
	if path.Clean(dest) == "/" {
		dest = "/"
	}
	line += flags
	words := []string{escapeWord(source), escapeWord(dest)}
	if strings.ContainsAny(source+dest, " \t\"'\\$") || strings.HasPrefix(source, "[") || strings.HasPrefix(source, "<<") {
		return line + jsonWords(words)
	}
	return line + strings.Join(words, " ")
}

// looked is a file of the context.
type looked struct {
	fs.FileInfo
	// plain tells that all modes are those that it gets in an image anyway.
	plain bool
}

// normal is the mode that a file of the context gets.
func normal(mode fs.FileMode) fs.FileMode {
	if mode.IsDir() || mode&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

func lookAt(files fs.FS, name string) (*looked, error) {
	info, err := fs.Lstat(files, name)
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	if err != nil {
		return nil, err
	}
	found := &looked{info, info.Mode().Type() != fs.ModeSymlink}
	err = fs.WalkDir(files, name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() == fs.ModeSymlink {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != normal(info.Mode()) {
			found.plain = false
		}
		return err
	})
	return found, err
}

// config writes the instructions that change the configuration.
func (w *printer) config(img *printed, c *plan.Config) {
	for _, key := range sortedKeys(c.Labels) {
		w.keyValue(img, "LABEL", key, c.Labels[key])
	}
	for _, kv := range c.Env {
		key, value, _ := strings.Cut(kv, "=")
		w.keyValue(img, "ENV", key, value)
	}
	if len(c.Ports) > 0 {
		w.line(img, "EXPOSE "+strings.ReplaceAll(strings.Join(c.Ports, " "), "/tcp", ""))
	}
	if len(c.Volumes) > 0 {
		escaped := make([]string, len(c.Volumes))
		for i, v := range c.Volumes {
			escaped[i] = escapeWord(v)
		}
		w.line(img, "VOLUME "+jsonWords(escaped))
	}
	if c.StopSignal != "" {
		w.line(img, "STOPSIGNAL "+c.StopSignal)
	}
	w.health(img, c.Healthcheck)
	if c.WorkingDir != "" {
		w.line(img, "WORKDIR "+escapeWord(c.WorkingDir))
	}
	if c.User != "" {
		w.line(img, "USER "+escapeWord(c.User))
	}
	if c.Entrypoint != nil {
		w.line(img, "ENTRYPOINT "+jsonWords(c.Entrypoint))
	}
	if c.Cmd != nil {
		w.line(img, "CMD "+jsonWords(c.Cmd))
	}
}

func (w *printer) keyValue(img *printed, instruction, key, value string) {
	if strings.Contains(key+value, "\n") {
		w.fail("--%s %s: a Dockerfile has no line breaks in a value", strings.ToLower(instruction), key)
		return
	}
	w.line(img, instruction+" "+quoteWord(key)+"="+quoteWord(value))
}

func (w *printer) health(img *printed, h *v1.HealthConfig) {
	if h == nil {
		return
	}
	var b strings.Builder
	b.WriteString("HEALTHCHECK ")
	if h.Test[0] == "NONE" {
		w.line(img, b.String()+"NONE")
		return
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"interval", h.Interval}, {"timeout", h.Timeout}, {"start-period", h.StartPeriod}} {
		if d.value != 0 && d.value < time.Millisecond {
			w.fail("--health-%s %s: for Docker it is at least 1ms", d.name, d.value)
		}
		if d.value != 0 {
			fmt.Fprintf(&b, "--%s=%s ", d.name, d.value)
		}
	}
	if h.Retries != 0 {
		fmt.Fprintf(&b, "--retries=%d ", h.Retries)
	}
	if h.Test[0] == "CMD" {
		w.line(img, b.String()+"CMD "+jsonWords(h.Test[1:]))
		return
	}
	line := h.Test[1]
	if strings.Contains(line, "\n") || strings.HasSuffix(line, `\`) {
		w.fail("--health-cmd: a Dockerfile has the command on one line, which ends with no backslash; write that, or a JSON array")
	}
	w.line(img, b.String()+"CMD "+line)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
