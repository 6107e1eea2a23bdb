// Command gen writes static.tar.gz, the only layer of the static base. Run it
// with "go generate ./builder/base" after golang.org/x/crypto/x509roots or the
// time zones of the Go release have moved on, and pin the new digests in
// static.go: they are part of every image that is built on static.
//
// The same input gives the same bytes on every machine. Nothing of the host
// gets in, and the compressor is the one pinned in go.mod, not the standard
// library's, whose output changes between Go releases.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
)

func main() {
	zip := flag.String("zoneinfo", "", "zip `file` with the time zones: $GOROOT/lib/time/zoneinfo.zip")
	out := flag.String("o", "static.tar.gz", "`file` to write")
	flag.Parse()
	if err := run(*zip, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes the layer to out, or leaves out as it is.
func run(zip, out string) error {
	zones, err := readZones(zip)
	if err != nil {
		return fmt.Errorf("reading time zones: %w", err)
	}
	layer, err := generate(zones)
	if err != nil {
		return err
	}
	return os.WriteFile(out, layer, 0o644)
}

// generate returns the layer as a gzip-compressed tar.
func generate(zones map[string][]byte) ([]byte, error) {
	roots, err := rootsPEM()
	if err != nil {
		return nil, fmt.Errorf("reading CA roots: %w", err)
	}
	entries := append(system(roots), zoneinfo(zones)...)
	var b bytes.Buffer
	if err := writeLayer(&b, complete(entries)); err != nil {
		return nil, fmt.Errorf("writing the layer: %w", err)
	}
	return b.Bytes(), nil
}
