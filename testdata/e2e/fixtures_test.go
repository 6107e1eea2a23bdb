//go:build linux

package e2e

import (
	"debug/elf"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// commands is a module with two commands that say their name and arguments.
var commands = map[string]string{
	"go.mod":          "module example.com/commands\n\ngo 1.21\n",
	"cmd/one/main.go": sayer("one"),
	"cmd/two/main.go": sayer("two"),
}

// sayer is a program that prints name and its arguments.
func sayer(name string) string {
	return `package main

import (
	"fmt"
	"os"
)

func main() { fmt.Println("` + name + `", os.Args[1:]) }
`
}

// hostPlatform is the platform of the engines.
const hostPlatform = "linux/" + runtime.GOARCH

// otherPlatform is a platform of the base image that the engines cannot run.
func otherPlatform() string {
	if runtime.GOARCH == "arm64" {
		return "linux/amd64"
	}
	return "linux/arm64"
}

// clone copies the source to a directory of the test's own.
func clone(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(env.Source)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// metadata is what --metadata-file says about an image.
type metadata struct {
	Digest       string        `json:"containerimage.digest"`
	ConfigDigest string        `json:"containerimage.config.digest"`
	Name         string        `json:"image.name"`
	Descriptor   v1.Descriptor `json:"containerimage.descriptor"`
}

// readMetadata reads what --metadata-file wrote.
func readMetadata(t testing.TB, file string) metadata {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var m metadata
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return m
}

// sample is ./server on the alpine base, built once for the tests that only read it.
type sample struct {
	// Archive is what docker loads, OCIArchive an OCI archive and no more.
	Archive, OCIArchive, Layout string
	metadata
}

const sampleName = "e2e/sample:v1"

var (
	sampleOnce  sync.Once
	sampleBuilt *sample
)

// serverSample builds the sample with the first test that wants it.
func serverSample(t testing.TB) *sample {
	t.Helper()
	sampleOnce.Do(func() {
		dir := filepath.Join(env.Dir, "sample")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		s := &sample{
			Archive:    filepath.Join(dir, "image.tar"),
			OCIArchive: filepath.Join(dir, "oci.tar"),
			Layout:     filepath.Join(dir, "layout"),
		}
		file := filepath.Join(dir, "metadata.json")
		buildOnAlpine(t, opts{}, "-t", sampleName, "-p", "8080", "--metadata-file", file,
			"-o", s.Archive, "-o", "type=oci,dest="+s.OCIArchive, "-o", "type=oci,tar=false,dest="+s.Layout, "./server")
		s.metadata = readMetadata(t, file)
		sampleBuilt = s
	})
	if sampleBuilt == nil {
		t.Fatal("the sample could not be built, as an earlier test says")
	}
	return sampleBuilt
}

// openArchive checks everything in an archive and returns its index.
func openArchive(t testing.TB, file string) v1.ImageIndex {
	t.Helper()
	dir := t.TempDir()
	output(t, tool(t, "tar", "-xf", file, "-C", dir))
	return openLayout(t, dir)
}

// openLayout checks everything in an OCI layout and returns its index.
func openLayout(t testing.TB, dir string) v1.ImageIndex {
	t.Helper()
	idx, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(idx); err != nil {
		t.Errorf("validating %s: %v", dir, err)
	}
	return idx
}

// manifest is the index's manifest.
func manifest(t testing.TB, idx v1.ImageIndex) *v1.IndexManifest {
	t.Helper()
	m, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// machines are the ELF machines of the architectures that the tests build for.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM}

// checkELF fails unless file is a program for the architecture.
func checkELF(t testing.TB, file, arch string) {
	t.Helper()
	program, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	equal(t, "machine of "+file, program.Machine, machines[arch])
}

// checkFile fails unless file has the text.
func checkFile(t testing.TB, file, text string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, file, string(data), text)
}

// fileDigest is the digest of a file's content.
func fileDigest(t testing.TB, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	digest, _, err := v1.SHA256(f)
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}
