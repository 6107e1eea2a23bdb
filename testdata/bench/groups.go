package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// fourPlatforms are told after platform, which they replace.
const fourPlatforms = "--platform=linux/amd64,linux/arm64,linux/arm/v7,linux/386"

// groups are all that is measured, in order.
func groups(t *tools, works *workloads, o options) []group {
	mains := fmt.Sprintf("%d mains", o.Mains)
	return []group{
		{Contenders: []contender{versionStart(t, works.Server)}, Rows: []row{
			{"stagectl version", versionName, "", goal{Text: "<= 15 ms", Plus: 0.015}},
		}},
		serverSame(t, works.Server),
		mainsSame(t, works.Mains, mains),
		serverChanged(t, works.Server),
		numberChanged(t, works.Mains, mains),
		leafChanged(t, works.Mains, leafCode, mains+", code in a shared leaf changed: archive"),
		leafChanged(t, works.Mains, leafString, mains+", string in a shared leaf changed: archive"),
		linksGone(t, works.Mains, mains),
		oneOfMany(t, works.Services, o.Services),
		platforms(t, works.Server),
		peakMemory(t, works.Payload),
	}
}

func versionStart(t *tools, w *workload) contender {
	return contender{Name: versionName, Run: func(ctx context.Context) (float64, error) {
		return seconds(t.command(ctx, w, t.stagectl, "version"))
	}}
}

func serverSame(t *tools, w *workload) group {
	g := goal{Text: "<= 0.7 x go build", Times: 0.7}
	return group{Contenders: []contender{t.floor(w), t.archive(w), t.push(w)}, Rows: []row{
		{"small server, nothing changed: archive", archiveName, floorName, g},
		{"small server, nothing changed: push", pushName, floorName, g},
	}}
}

func mainsSame(t *tools, w *workload, mains string) group {
	g := goal{Text: "<= 0.3 x go build", Times: 0.3}
	return group{
		Contenders: []contender{t.floor(w), t.archive(w), t.push(w), t.koPush(w, true), t.koPush(w, false)},
		Rows: []row{
			{mains + ", nothing changed: archive", archiveName, floorName, g},
			{mains + ", nothing changed: push", pushName, floorName, g},
			{mains + ", nothing changed: push", pushName, koCacheName, faster(10, "ko with KOCACHE")},
			{mains + ", nothing changed: push", pushName, koName, faster(80, "ko")},
		},
	}
}

// faster is a goal that the reference takes so many times the subject's time.
func faster(times float64, reference string) goal {
	return goal{Text: fmt.Sprintf(">= %v x faster than %s", times, reference), Times: 1 / times, Faster: true}
}

func serverChanged(t *tools, w *workload) group {
	return group{Contenders: before(w.edit, t.floor(w), t.archive(w)), Rows: []row{
		{"small server, source changed: archive", archiveName, floorName,
			goal{Text: "<= 1.10 x go build + 50 ms", Times: 1.10, Plus: 0.050}},
	}}
}

// numberChanged edits a number that all mains have, which leaves most of their
// bytes where they were.
func numberChanged(t *tools, w *workload, mains string) group {
	g := goal{Text: "<= 1.10 x go build", Times: 1.10}
	return group{
		Contenders: before(w.edit, t.floor(w), t.archive(w), t.push(w), t.koPush(w, true), t.koPush(w, false)),
		Rows: []row{
			{mains + ", number in a shared leaf changed: archive", archiveName, floorName, g},
			{mains + ", number in a shared leaf changed: push", pushName, floorName, g},
			{mains + ", number in a shared leaf changed: push", pushName, koCacheName, faster(2, "ko with KOCACHE")},
			{mains + ", number in a shared leaf changed: push", pushName, koName, faster(2, "ko")},
		},
	}
}

// leafChanged edits the leaf in another way.
func leafChanged(t *tools, w *workload, s source, what string) group {
	w = w.edited(s)
	return group{Contenders: before(w.edit, t.floor(w), t.archive(w)), Rows: []row{
		{what, archiveName, floorName, goal{Text: "<= 1.10 x go build", Times: 1.10}},
	}}
}

// linksGone takes away each tool's binaries, with what stagectl remembers of
// compiling, and leaves the go build cache and stagectl's layers.
func linksGone(t *tools, w *workload, mains string) group {
	floor, archive := t.floor(w), t.archive(w)
	floor.Before = func() error { return os.RemoveAll(t.out("floor", w.Name)) }
	archive.Before = func() error {
		for _, part := range []string{"links", "records/binaries", "records/inputs", "records/packages", "records/patterns"} {
			if err := os.RemoveAll(filepath.Join(t.cacheDir(), filepath.FromSlash(part))); err != nil {
				return err
			}
		}
		return nil
	}
	return group{Contenders: []contender{floor, archive}, Rows: []row{
		{mains + ", link outputs gone: archive", archiveName, floorName,
			goal{Text: "<= 1.10 x go build", Times: 1.10}},
	}}
}

// oneOfMany pushes, because an archive has the unchanged ones in it, too.
func oneOfMany(t *tools, w *workload, n int) group {
	one := t.push(w.alone())
	one.Name = oneOfManyName
	return group{Contenders: before(w.edit, one, t.push(w)), Rows: []row{
		{fmt.Sprintf("%d services, one changed: push", n), pushName, oneOfManyName,
			goal{Text: "<= 1.3 x that one alone", Times: 1.3}},
	}}
}

// platforms edits the source, so that each platform is linked every time.
func platforms(t *tools, w *workload) group {
	one, four := t.archive(w), t.archive(w, fourPlatforms)
	one.Name, four.Name = archive1Name, archive4Name
	return group{Contenders: before(w.edit, one, four), Rows: []row{
		{"small server, 4 platforms against 1: archive", archive4Name, archive1Name,
			goal{Text: "<= 4.2 x", Times: 4.2}},
	}}
}

// peakMemory has the whole work done, on an empty cache.
func peakMemory(t *tools, w *workload) group {
	anew := func() error {
		if err := os.RemoveAll(t.cacheDir()); err != nil {
			return err
		}
		return w.edit()
	}
	archive := []string{"-o", t.out("stagectl", w.Name+".tar")}
	push := []string{"--push", "-t", t.host + "/stagectl/" + w.Name + ":bench"}
	g := group{Unit: mebibytes}
	for _, c := range []struct {
		name string
		args []string
	}{
		{archive1Name, archive}, {push1Name, push},
		{archive4Name, append(archive, fourPlatforms)}, {push4Name, append(push, fourPlatforms)},
	} {
		g.Contenders = append(g.Contenders, contender{Name: c.name, Before: anew,
			Run: func(ctx context.Context) (float64, error) {
				return peakRSS(t.buildCommand(ctx, w, c.args))
			}})
		g.Rows = append(g.Rows, row{"peak RSS, 120 MB binary: " + c.name, c.name, "",
			goal{Text: "<= 64 MiB", Plus: 64, Peak: true}})
	}
	return g
}
