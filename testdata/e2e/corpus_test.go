//go:build linux

package e2e

import (
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/stagectl/stagectl/testdata/build/corpus"
)

// corpusDir has the cases, and corpusDifferences what is known to differ.
const (
	corpusDir         = "../build"
	corpusDifferences = corpusDir + "/differences.txt"
)

// TestCorpus builds the Dockerfiles of testdata/build with BuildKit and with
// stagectl, and proves that the images have the same files and the same
// configuration, but for the differences that are known, each with its reason.
func TestCorpus(t *testing.T) {
	if env.BuildKitErr != "" {
		t.Fatal(env.BuildKitErr)
	}
	cases, err := corpus.Load(corpusDir)
	if err != nil {
		t.Fatal(err)
	}
	known, err := corpus.ReadDifferences(corpusDifferences)
	if err != nil {
		t.Fatal(err)
	}
	startCorpus(t, cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) { compareCase(t, c, known[c.Name]) })
		delete(known, c.Name)
	}
	for name := range known {
		t.Errorf("%s has differences of %s, which is no case", corpusDifferences, name)
	}
}

// compareCase builds a case twice and checks that nothing differs but what is
// known to, and all of that.
func compareCase(t *testing.T, c *corpus.Case, known map[string]string) {
	dir := t.TempDir()
	if err := c.Write(dir); err != nil {
		t.Fatal(err)
	}
	got := corpusFacts(t, c, buildByStagectl(t, c, dir))
	theirs, failed := buildByBuildKit(t, c, dir)
	if reason, ok := known["*"]; ok {
		if failed == "" {
			t.Errorf("BuildKit builds it: it need not be left out any more (%s)", reason)
		}
		return
	}
	if failed != "" {
		t.Fatalf("BuildKit fails:\n%s", failed)
	}
	compareFacts(t, got, corpusFacts(t, c, theirs), "BuildKit", known)
}

var corpusStarted bool

// startCorpus starts BuildKit and makes the images that the cases start from,
// with the first test that wants them.
func startCorpus(t *testing.T, cases []*corpus.Case) {
	t.Helper()
	if corpusStarted {
		return
	}
	if err := services.startBuildKit(env.Dir); err != nil {
		t.Fatal(err)
	}
	pushCorpusBases(t)
	pushGolang(t, cases)
	corpusStarted = true
}

// compareFacts fails for each fact that differs and is not known to, and for
// each that is known to and does not.
func compareFacts(t *testing.T, got, want map[string]string, who string, known map[string]string) {
	t.Helper()
	all := maps.Clone(got)
	maps.Copy(all, want)
	for _, fact := range slices.Sorted(maps.Keys(all)) {
		reason, differs := known[fact]
		switch {
		case got[fact] == want[fact] && differs:
			t.Errorf("%s does not differ any more, though it is known to (%s)", fact, reason)
		case got[fact] != want[fact] && !differs:
			t.Errorf("%s\n stagectl %s\n %s %s", fact, show(got, fact), who, show(want, fact))
		}
	}
	for fact := range known {
		if _, ok := all[fact]; !ok {
			t.Errorf("%s is known to differ, and neither has it", fact)
		}
	}
}

// show is a fact on one line.
func show(facts map[string]string, fact string) string {
	value, ok := facts[fact]
	switch {
	case !ok:
		return "has none"
	case !strings.HasSuffix(fact, " content"):
		return value
	case len(value) > 500 || !utf8.ValidString(value):
		return fmt.Sprintf("%d bytes, sha256:%x", len(value), sha256.Sum256([]byte(value)))
	}
	return fmt.Sprintf("%q", value)
}

// buildByStagectl builds a case, with nothing in stagectl's cache.
func buildByStagectl(t testing.TB, c *corpus.Case, dir string) v1.Image {
	t.Helper()
	to := filepath.Join(t.TempDir(), "layout")
	args := append([]string{"build", "-f", filepath.Join(dir, "Dockerfile"), "-t", "corpus", "-o", "type=oci,tar=false,dest=" + to}, useMirror()...)
	for _, base := range corpus.Bases {
		args = append(args, "--build-context", base+"=docker-image://"+corpusRepo+base)
	}
	args = append(append(args, c.Flags...), dir)
	mustStagectl(t, opts{}, args...)
	openLayout(t, to)
	return onlyImage(t, to)
}

// buildByBuildKit builds a case, or returns why that fails.
func buildByBuildKit(t testing.TB, c *corpus.Case, dir string) (v1.Image, string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "layout")
	args := []string{"--output", "type=oci,tar=false,compression=uncompressed,dest=" + to}
	for i := 0; i+1 < len(c.Flags); i += 2 {
		flag, value := strings.TrimPrefix(c.Flags[i], "--"), c.Flags[i+1]
		if flag == "build-arg" {
			key, v, _ := strings.Cut(value, "=")
			flag, value = flag+":"+key, v
		}
		args = append(args, "--opt", flag+"="+value)
	}
	if r := execute(t, buildctl(t, dir, args...)); r.Code != 0 {
		return nil, r.Stderr
	}
	return onlyImage(t, to), ""
}

// onlyImage is the image in a layout of one.
func onlyImage(t testing.TB, dir string) v1.Image {
	t.Helper()
	idx, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := manifest(t, idx)
	if len(m.Manifests) != 1 {
		t.Fatalf("%s has %d images", dir, len(m.Manifests))
	}
	img, err := idx.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// corpusFacts are what is compared. A program is the same in both only where
// the Dockerfile itself keeps the build's directories out of it, as stagectl
// does anyway.
func corpusFacts(t testing.TB, c *corpus.Case, img v1.Image) map[string]string {
	t.Helper()
	facts, err := corpus.Describe(img)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(c.Dockerfile, "-trimpath") {
		return facts
	}
	for fact, value := range facts {
		if !strings.HasSuffix(fact, " content") || !strings.HasPrefix(value, elf.ELFMAG) || strings.HasPrefix(fact, "/bin/busybox") {
			continue
		}
		program, err := elf.NewFile(strings.NewReader(value))
		if err != nil {
			t.Fatal(err)
		}
		facts[fact] = fmt.Sprintf("a program for %s, %s", program.Machine, program.Class)
	}
	return facts
}
