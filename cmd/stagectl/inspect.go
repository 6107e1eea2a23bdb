package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
)

type inspectOptions struct {
	commonFlags
	platform string
	name     string
	json     bool
	files    bool
}

func newInspectCommand(a *app) *cobra.Command {
	o := &inspectOptions{}
	cmd := &cobra.Command{
		Use:   "inspect [flags] ARCHIVE|LAYOUT|REF",
		Short: "Show what is in an image",
		Long: `Show the configuration, the layers and the files of every image in an archive
or an OCI layout, or of the one that a reference names.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.withoutCache(func() error { return a.inspect(cmd.Context(), o, args[0]) })
		},
	}
	o.registerRegistry(cmd)
	o.registerPull(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.platform, "platform", "", "only the image for the `PLATFORM`")
	flags.StringVar(&o.name, "image", "", "only the image of this `NAME` in the file")
	flags.BoolVar(&o.json, "json", false, "everything as JSON, files included")
	flags.BoolVar(&o.files, "files", false, "list all files of the merged image")
	return cmd
}

// inspected is one image for one platform, as --json has it.
type inspected struct {
	Names    []string          `json:"names,omitempty"`
	Platform string            `json:"platform"`
	Digest   v1.Hash           `json:"digest"`
	ConfigID v1.Hash           `json:"configDigest"`
	Size     int64             `json:"size"`
	Notes    map[string]string `json:"annotations,omitempty"`
	Config   *v1.ConfigFile    `json:"config"`
	Layers   []inspectedLayer  `json:"layers"`
	Files    []inspectedFile   `json:"files"`

	entries []image.Entry
}

type inspectedLayer struct {
	Digest    v1.Hash `json:"digest"`
	DiffID    v1.Hash `json:"diffID"`
	MediaType string  `json:"mediaType"`
	Size      int64   `json:"size"`
	CreatedBy string  `json:"createdBy,omitempty"`
	Entries   int     `json:"entries"`

	entries []image.Entry
}

// inspectedFile is a path of the merged image. Mode is as ls shows it.
type inspectedFile struct {
	Path  string `json:"path"`
	Mode  string `json:"mode"`
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	Size  int64  `json:"size,omitempty"`
	Link  string `json:"link,omitempty"`
	Layer int    `json:"layer"`
}

func (a *app) inspect(ctx context.Context, o *inspectOptions, what string) error {
	var want *v1.Platform
	if o.platform != "" {
		p, err := plan.ParsePlatform(o.platform)
		if err != nil {
			return usagef("--platform: %w", err)
		}
		want = &p
	}
	found, closeFile, err := a.find(ctx, o, what, want)
	if err != nil {
		return err
	}
	defer closeFile()
	all := make([]*inspected, len(found))
	for i, f := range found {
		if all[i], err = look(f); err != nil {
			return fmt.Errorf("inspecting %s: %w", what, err)
		}
	}
	closeFile() // and the progress display, before anything is printed
	if o.json {
		raw, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Stdout, "%s\n", raw)
		return err
	}
	style := newStyle(isTerminal(a.Stdout), a.Getenv)
	var text strings.Builder
	for i, in := range all {
		if i > 0 {
			text.WriteString("\n")
		}
		if err := in.print(&text, style, o.files); err != nil {
			return err
		}
	}
	_, err = io.WriteString(a.Stdout, text.String())
	return err
}

// sight is an image to look at.
type sight struct {
	names    []string
	platform v1.Platform
	image    v1.Image
}

// find opens a file where there is one by that name, and asks the registry
// otherwise.
func (a *app) find(ctx context.Context, o *inspectOptions, what string, want *v1.Platform) ([]sight, func(), error) {
	if !exists(what) {
		return a.findRemote(ctx, o, what, want)
	}
	f, err := image.Open(what)
	if err != nil {
		return nil, nil, err
	}
	images := f.Images
	if o.name != "" {
		one, err := f.Find(o.name)
		if err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		images = []image.Opened{*one}
	}
	var found []sight
	var have []string
	for _, opened := range images {
		for _, p := range opened.Images {
			have = append(have, p.Platform.String())
			if want == nil || plan.Normalize(p.Platform).Equals(*want) {
				found = append(found, sight{opened.Names, p.Platform, p.Image})
			}
		}
	}
	if len(found) == 0 {
		err := fmt.Errorf("inspecting %s: no image for %s: it has %s", what, want, strings.Join(have, ", "))
		return nil, nil, errors.Join(err, f.Close())
	}
	return found, func() { _ = f.Close() }, nil
}

func (a *app) findRemote(ctx context.Context, o *inspectOptions, what string, want *v1.Platform) ([]sight, func(), error) {
	if strings.HasSuffix(what, ".tar") || strings.HasPrefix(what, ".") || strings.HasPrefix(what, "/") {
		return nil, nil, fmt.Errorf("inspecting %s: there is no such file or directory", what)
	}
	client, err := o.client()
	if err != nil {
		return nil, nil, err
	}
	p, err := a.display(&o.commonFlags)
	if err != nil {
		return nil, nil, err
	}
	client.Progress = p.Event
	c, release, err := a.usableCache(ctx, &o.commonFlags, p.Event)
	if err != nil {
		p.Close()
		return nil, nil, err
	}
	done := func() { p.Close(); release() }
	found, err := sights(ctx, &base.Resolver{Registry: client, Cache: c, Progress: p.Event}, what, want)
	if err != nil {
		done()
		return nil, nil, err
	}
	return found, done, nil
}

// sights are the images of a reference, or the one for the platform.
func sights(ctx context.Context, r *base.Resolver, what string, want *v1.Platform) ([]sight, error) {
	platforms, err := r.Platforms(ctx, what)
	if err != nil {
		return nil, err
	}
	if want != nil {
		platforms = []v1.Platform{*want}
	}
	var found []sight
	for _, p := range platforms {
		img, err := r.Image(ctx, what, p)
		if err != nil {
			return nil, err
		}
		found = append(found, sight{[]string{img.Reference}, p, img.Image})
	}
	return found, nil
}

// look reads all of an image.
func look(s sight) (*inspected, error) {
	in := &inspected{Names: s.names, Platform: s.platform.String()}
	m, err := s.image.Manifest()
	if err != nil {
		return nil, err
	}
	in.Notes, in.ConfigID = m.Annotations, m.Config.Digest
	if in.Digest, err = s.image.Digest(); err != nil {
		return nil, err
	}
	if in.Config, err = s.image.ConfigFile(); err != nil {
		return nil, err
	}
	layers, err := s.image.Layers()
	if err != nil {
		return nil, err
	}
	history := historyOf(in.Config)
	entries, err := image.ReadLayers(layers, nil)
	if err != nil {
		return nil, err
	}
	for i, l := range layers {
		il, err := lookAtLayer(l)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		il.entries, il.Entries = entries[i], len(entries[i])
		if i < len(history) {
			il.CreatedBy = history[i]
		}
		in.Size += il.Size
		in.Layers = append(in.Layers, *il)
	}
	image.Merge(entries).Walk(func(e image.Entry) {
		in.entries = append(in.entries, e)
		in.Files = append(in.Files, inspectedFile{
			Path: e.Path, Mode: e.ModeString(), UID: e.UID, GID: e.GID, Size: e.Size, Link: e.Link, Layer: e.Layer + 1,
		})
	})
	return in, nil
}

func lookAtLayer(l v1.Layer) (il *inspectedLayer, err error) {
	il = &inspectedLayer{}
	if il.Digest, err = l.Digest(); err != nil {
		return nil, err
	}
	if il.DiffID, err = l.DiffID(); err != nil {
		return nil, err
	}
	if il.Size, err = l.Size(); err != nil {
		return nil, err
	}
	mt, err := l.MediaType()
	if err != nil {
		return nil, err
	}
	il.MediaType = string(mt)
	return il, nil
}

// fewFiles is how many entries of a layer are listed without --files.
const fewFiles = 20

func (in *inspected) print(w *strings.Builder, s style, files bool) error {
	title := in.Platform
	if len(in.Names) > 0 {
		title = strings.Join(in.Names, ", ") + "  " + in.Platform
	}
	fmt.Fprintf(w, "%s\n%s\n\n", s.paint(bold, visible(title)), s.paint(dim, in.Digest.String()))
	t := table{}
	for _, row := range configRows(in.Config) {
		t.add(row[0], visible(row[1]))
	}
	for _, k := range sortedKeys(in.Notes) {
		t.add("annotation", visible(k+"="+in.Notes[k]))
	}
	if err := t.write(w, "  "); err != nil {
		return err
	}
	w.WriteString("\n")
	layers := table{align: "rrl"}
	for i, l := range in.Layers {
		layers.add(fmt.Sprint(i+1), formatSize(l.Size), shortDigests(l.Digest.String())+"  "+cutEnd(oneLine(l.CreatedBy), 60, s.ellipsis))
	}
	layers.add("", formatSize(in.Size), "total")
	if err := layers.write(w, "  "); err != nil {
		return err
	}
	w.WriteString("\n")
	if files {
		printFiles(w, in.entries)
		return nil
	}
	for i, l := range in.Layers {
		if len(l.entries) > fewFiles {
			fmt.Fprintf(w, "  layer %d: %d entries; --files lists all of the image\n", i+1, len(l.entries))
			continue
		}
		fmt.Fprintf(w, "  layer %d:\n", i+1)
		printFiles(w, l.entries)
	}
	return nil
}

func printFiles(w *strings.Builder, entries []image.Entry) {
	for _, e := range entries {
		fmt.Fprintf(w, "    %s\n", e)
	}
}

// configRows are the settings that an image has, by the names of the flags.
func configRows(cf *v1.ConfigFile) [][2]string {
	c := cf.Config
	var rows [][2]string
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, [2]string{name, value})
		}
	}
	words := func(name string, w []string) {
		if len(w) > 0 {
			raw, _ := json.Marshal(w)
			add(name, string(raw))
		}
	}
	words("entrypoint", c.Entrypoint)
	words("cmd", c.Cmd)
	add("user", c.User)
	add("workdir", c.WorkingDir)
	for _, e := range c.Env {
		add("env", e)
	}
	for _, p := range sortedKeys(c.ExposedPorts) {
		add("port", p)
	}
	for _, v := range sortedKeys(c.Volumes) {
		add("volume", v)
	}
	for _, k := range sortedKeys(c.Labels) {
		add("label", k+"="+c.Labels[k])
	}
	add("stop signal", c.StopSignal)
	add("health", healthText(c.Healthcheck))
	add("created", cf.Created.UTC().Format("2006-01-02T15:04:05Z"))
	return rows
}

// healthText is a health check with those of its numbers that are set.
func healthText(h *v1.HealthConfig) string {
	if h == nil || len(h.Test) == 0 {
		return ""
	}
	raw, _ := json.Marshal(h.Test) // strings: no error
	text := string(raw)
	if h.Interval > 0 {
		text += " every " + h.Interval.String()
	}
	if h.Timeout > 0 {
		text += ", timeout " + h.Timeout.String()
	}
	if h.StartPeriod > 0 {
		text += ", after " + h.StartPeriod.String()
	}
	if h.Retries > 0 {
		text += fmt.Sprintf(", %d retries", h.Retries)
	}
	return text
}

// exists tells whether there is anything at the path.
func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
