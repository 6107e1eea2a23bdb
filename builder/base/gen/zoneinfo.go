package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

const zoneinfoDir = "usr/share/zoneinfo"

// readZones returns the files in a zip by their names.
func readZones(file string) (_ map[string][]byte, err error) {
	zr, err := zip.OpenReader(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, zr.Close()) }()
	zones := map[string][]byte{}
	for _, f := range zr.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if zones[f.Name], err = readZone(f); err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.Name, err)
		}
	}
	return zones, nil
}

func readZone(f *zip.File) (_ []byte, err error) {
	if !fs.ValidPath(f.Name) {
		return nil, errors.New("not a path inside an archive")
	}
	rc, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	return io.ReadAll(rc)
}

// zoneinfo returns the zones' entries. Zones with the same rules, more than a
// quarter of them, are hard links to the first by name. A symbolic link would
// make that one the real name of the others, which it is not (it would be
// Etc/GMT for UTC), and copying one file out of the image would miss its target.
func zoneinfo(zones map[string][]byte) []entry {
	var entries []entry
	first := map[string]string{}
	for _, zone := range slices.Sorted(maps.Keys(zones)) {
		e := entry{name: path.Join(zoneinfoDir, zone), mode: 0o644}
		data := string(zones[zone])
		if target, ok := first[data]; ok {
			e.link = target
		} else {
			first[data] = e.name
			e.data = zones[zone]
		}
		entries = append(entries, e)
	}
	return entries
}
