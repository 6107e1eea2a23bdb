package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
)

// The rules of the summary:
//
//   - It goes to standard error, after the progress display is closed.
//   - It answers what a person asks after a build: what is it called, how big
//     is it, what of that is mine, where is it, what do I type next.
//   - Sizes are of the compressed layers: what a registry stores and a pull
//     downloads.
//   - It fits 80 columns, but for what is there to be copied: references, paths
//     and the next command are never cut.

// summaryOptions is what a summary depends on besides the images.
type summaryOptions struct {
	Style style
	// Outputs are the places that the images went to.
	Outputs []summaryOutput
	// Left is what only a build stage is made from, or nil.
	Left *leftBehind
	// Next is the command to go on with, or empty.
	Next string
}

// summaryOutput is one place that images went to: "wrote image.tar (2.5 MB)".
type summaryOutput struct {
	What  string // "wrote", "pushed", "loaded"
	Where string
	Size  int64 // 0 where it says nothing
}

const (
	summaryWidth = 80
	layerBar     = 20
	platformBar  = 10
	// tableLimit is how many images may have a table each.
	tableLimit = 3
	// baseLimit is how many layers of a base have a line each.
	baseLimit = 8
)

// writeSummary says what a build made.
func writeSummary(w io.Writer, results []image.Result, o summaryOptions) error {
	var b strings.Builder
	for _, r := range results {
		b.WriteString("\n")
		s := summary{style: o.Style, w: &b, brief: len(results) > tableLimit}
		if err := s.result(r); err != nil {
			return fmt.Errorf("summarizing %s: %w", r.Name, err)
		}
	}
	if o.Left != nil {
		fmt.Fprintf(&b, "  %s  %s\n", padLeft(formatSize(o.Left.Size), bytesWidth), o.Style.paint(dim, o.Left.text(o.Style)))
	}
	if len(o.Outputs) > 0 || o.Next != "" {
		b.WriteString("\n")
	}
	for _, out := range o.Outputs {
		fmt.Fprintf(&b, "%s %s", out.What, o.Style.paint(bold, out.Where))
		if out.Size > 0 {
			fmt.Fprintf(&b, " (%s)", formatSize(out.Size))
		}
		b.WriteString("\n")
	}
	if o.Next != "" {
		b.WriteString(o.Style.paint(dim, "next:") + " " + o.Next + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// summary writes about one image.
type summary struct {
	style style
	w     *strings.Builder
	brief bool // totals only
}

// layerInfo is what a summary says about a layer.
type layerInfo struct {
	label string
	size  int64
	base  bool
}

func (s *summary) result(r image.Result) error {
	digest, err := r.Digest()
	if err != nil {
		return err
	}
	names := r.Tags
	if len(names) == 0 {
		names = []string{r.Name}
	}
	what := fmt.Sprintf("%d platforms", len(r.Images))
	if len(r.Images) == 1 {
		what = r.Images[0].Platform.String()
	}
	if base := r.Images[0].BaseName; base != "" {
		what += " on " + baseLabel(base)
	}
	fmt.Fprintf(s.w, "%s  %s\n", s.style.paint(bold, names[0]), s.style.paint(dim, what))
	for _, name := range names[1:] {
		s.w.WriteString(s.style.paint(bold, name) + "\n")
	}
	s.w.WriteString(s.style.paint(dim, digest.String()) + "\n")
	if len(r.Images) > 1 {
		return s.platforms(r.Images)
	}
	return s.layers(r.Images[0])
}

// layers writes a line for each layer, and the total.
func (s *summary) layers(p image.Platform) error {
	layers, err := layersOf(p)
	if err != nil {
		return err
	}
	base, own := subtotals(layers)
	total := base + own
	if s.brief {
		layers = nil
	}
	var at int64
	for _, l := range layers {
		bar := s.share(l.base, at, at+l.size, total, layerBar)
		label := cutEnd(l.label, summaryWidth-len(gap)*4-bytesWidth-layerBar-percentWidth, s.style.ellipsis)
		if l.base {
			label = s.style.paint(dim, label)
		}
		fmt.Fprintf(s.w, "  %s  %s  %s  %s\n", padLeft(formatSize(l.size), bytesWidth),
			padRight(bar, layerBar), padLeft(formatPercent(l.size, total), percentWidth), label)
		at += l.size
	}
	if len(layers) > 0 {
		s.w.WriteString("  " + s.style.paint(dim, strings.Repeat(s.style.rule, bytesWidth)) + "\n")
	}
	s.w.WriteString("  " + s.style.paint(bold, padLeft(formatSize(total), bytesWidth)))
	if p.BaseName != "" {
		fmt.Fprintf(s.w, "  base %s (%s) + own %s (%s)", formatSize(base), formatPercent(base, total), formatSize(own), formatPercent(own, total))
	}
	s.w.WriteString("\n")
	return nil
}

// platforms writes a line for each platform of an index.
func (s *summary) platforms(images []image.Platform) error {
	t := table{align: "llrrr"}
	t.add("PLATFORM", "DIGEST", "BASE", "OWN", "TOTAL")
	for i := range t.rows[0] {
		t.rows[0][i] = s.style.paint(dim, t.rows[0][i])
	}
	for _, p := range images {
		layers, err := layersOf(p)
		if err != nil {
			return err
		}
		digest, err := p.Image.Digest()
		if err != nil {
			return err
		}
		base, own := subtotals(layers)
		total := base + own
		bar := s.share(true, 0, base, total, platformBar)
		bar += strings.TrimLeft(s.share(false, base, total, total, platformBar), " ")
		t.add(p.Platform.String(), shortDigests(digest.String()),
			formatSize(base), formatSize(own), s.style.paint(bold, formatSize(total)), bar)
	}
	return t.write(s.w, "  ")
}

// share draws the part from..to of total where it lies in width columns, so
// that the layers of an image descend like stairs. Something is never drawn as
// nothing.
func (s *summary) share(base bool, from, to, total int64, width int) string {
	if to <= from {
		return ""
	}
	column := func(n int64) int { return int(float64(n)/float64(total)*float64(width) + 0.5) }
	first := min(column(from), width-1)
	part, color := s.style.ownPart, green
	if base {
		part, color = s.style.basePart, dim
	}
	bar := cmp.Or(strings.Repeat(part, max(0, column(to)-column(from))), s.style.sliver)
	return strings.Repeat(" ", first) + s.style.paint(color, bar)
}

func subtotals(layers []layerInfo) (base, own int64) {
	for _, l := range layers {
		if l.base {
			base += l.size
		} else {
			own += l.size
		}
	}
	return base, own
}

// layersOf returns the layers of p, those of a base of very many as one. It
// reads the manifest and the config alone: a base's layers may be on a
// registry only.
func layersOf(p image.Platform) ([]layerInfo, error) {
	manifest, err := p.Image.Manifest()
	if err != nil {
		return nil, err
	}
	config, err := p.Image.ConfigFile()
	if err != nil {
		return nil, err
	}
	created := historyOf(config)
	label := "base " + baseLabel(p.BaseName)
	var layers []layerInfo
	for i, desc := range manifest.Layers {
		if i < p.BaseLayers {
			layers = append(layers, layerInfo{label, desc.Size, true})
			continue
		}
		// Counted from the end, because a base need not have a history.
		l := layerInfo{label: shortDigests(desc.Digest.String()), size: desc.Size}
		if at := len(created) - len(manifest.Layers) + i; at >= 0 {
			l.label = cmp.Or(created[at], l.label)
		}
		layers = append(layers, l)
	}
	if p.BaseLayers <= baseLimit || p.BaseLayers > len(layers) {
		return layers, nil
	}
	size, _ := subtotals(layers)
	folded := layerInfo{fmt.Sprintf("%s (%d layers)", label, p.BaseLayers), size, true}
	return append([]layerInfo{folded}, layers[p.BaseLayers:]...), nil
}

// historyOf returns how the layers of config were created, one entry a layer.
func historyOf(config *v1.ConfigFile) []string {
	var created []string
	for _, h := range config.History {
		if !h.EmptyLayer {
			created = append(created, oneLine(h.CreatedBy))
		}
	}
	return created
}

func baseLabel(name string) string { return shortDigests(oneLine(name)) }
