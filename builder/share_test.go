package builder_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/event"
)

// What is the same for all platforms is carried out once, up to where a stage uses
// what it is built for, and comes to what it comes to for each platform alone.
func TestSharedSteps(t *testing.T) {
	const file = `
FROM --platform=$BUILDPLATFORM golang:1 AS build
WORKDIR /src
COPY f ./
RUN echo shared >>f
COPY g ./
ARG TARGETARCH
RUN echo $TARGETARCH >>f
FROM --platform=$BUILDPLATFORM golang:1 AS whole
RUN echo whole >/whole
FROM --platform=$BUILDPLATFORM build AS more
RUN echo more >>/src/f
FROM golang:1 AS own
RUN echo own >/own
FROM scratch
COPY --from=more /src /
COPY --from=whole /whole /
COPY --from=own /own /
`
	dir := t.TempDir()
	putFile(t, filepath.Join(dir, "Dockerfile"), file)
	putFile(t, filepath.Join(dir, "f"), "f\n")
	putFile(t, filepath.Join(dir, "g"), "g\n")
	amd64, arm64 := v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"}
	var said said
	both := dockerfileImages(t, dir, t.TempDir(), said.note, amd64, arm64)
	var runs []string
	for _, e := range said.events {
		if e.Phase == event.Run && e.State == event.Done {
			_, text, _ := strings.Cut(e.Subject, " RUN ")
			runs = append(runs, text)
		}
	}
	slices.Sort(runs)
	want := []string{
		"echo $TARGETARCH >>f linux/amd64", "echo $TARGETARCH >>f linux/arm64",
		"echo more >>/src/f linux/amd64", "echo more >>/src/f linux/arm64",
		"echo own >/own linux/amd64", "echo own >/own linux/arm64",
		"echo shared >>f", "echo whole >/whole",
	}
	for i := range runs { // which of the platforms is the first is all the same
		if strings.HasPrefix(runs[i], "echo whole >/whole") {
			runs[i] = "echo whole >/whole"
		}
	}
	if diff := cmp.Diff(want, runs); diff != "" {
		t.Errorf("carried out (-want +got):\n%s", diff)
	}
	for i, platform := range []v1.Platform{amd64, arm64} {
		alone := dockerfileImages(t, dir, t.TempDir(), nil, platform)[0].Image
		if diff := cmp.Diff(imageText(t, alone), imageText(t, both[i].Image)); diff != "" {
			t.Errorf("%s (-alone +together):\n%s", platform, diff)
		}
		if !strings.Contains(imageText(t, both[i].Image), `"f\nshared\n`+platform.Architecture+`\nmore\n"`) {
			t.Errorf("%s has:\n%s", platform, imageText(t, both[i].Image))
		}
	}
}
