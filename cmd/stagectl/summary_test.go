package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
)

// sizedImage is an image of which only the manifest and the config can be
// read, as of one whose base is on a registry.
type sizedImage struct {
	v1.Image
	digest  string
	sizes   []int64
	history []v1.History
	err     error
}

func (i sizedImage) Digest() (v1.Hash, error) { return v1.NewHash(testDigest(i.digest)) }

func (i sizedImage) ConfigFile() (*v1.ConfigFile, error) {
	return &v1.ConfigFile{History: i.history}, nil
}

func (i sizedImage) Manifest() (*v1.Manifest, error) {
	m := &v1.Manifest{}
	for n, size := range i.sizes {
		h, err := v1.NewHash(testDigest(fmt.Sprintf("%02x", n)))
		if err != nil {
			return nil, err
		}
		m.Layers = append(m.Layers, v1.Descriptor{Size: size, Digest: h})
	}
	return m, i.err
}

// embedded lets sizedIndex have a method of the interface's own name.
type embedded = v1.ImageIndex

type sizedIndex struct{ embedded }

func (sizedIndex) Digest() (v1.Hash, error) { return v1.NewHash(testDigest("ff")) }

func onePlatform(t *testing.T, platform, base string, baseLayers int, img sizedImage) image.Platform {
	t.Helper()
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		t.Fatal(err)
	}
	return image.Platform{Platform: *p, BaseName: base, BaseLayers: baseLayers, Image: img}
}

func created(by ...string) []v1.History {
	var history []v1.History
	for _, s := range by {
		history = append(history, v1.History{CreatedBy: s}, v1.History{CreatedBy: "ENV A=b", EmptyLayer: true})
	}
	return history
}

func summaryText(t *testing.T, o summaryOptions, results ...image.Result) string {
	t.Helper()
	if o.Style.ellipsis == "" {
		o.Style = newStyle(false, testEnv("LANG=C.UTF-8"))
	}
	var b strings.Builder
	if err := writeSummary(&b, results, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSummaryOfOnePlatform(t *testing.T) {
	result := image.Result{
		Name: "server",
		Tags: []string{"server:latest", "registry.example.com/team/server:v1"},
		Images: []image.Platform{onePlatform(t, "linux/amd64", "alpine", 1, sizedImage{
			digest:  "9f",
			sizes:   []int64{3_420_000, 152, 27_300_000},
			history: created("ADD alpine-minirootfs", "copy ./static to /srv/www", "go build ./cmd/a-rather-long-name to /app/server"),
		})},
	}
	got := summaryText(t, summaryOptions{
		Outputs: []summaryOutput{{"wrote", "image.tar", 30_800_000}, {"pushed", "registry.example.com/team/server:v1", 0}},
		Next:    "docker load < image.tar && docker run --rm -p 8080:8080 server:latest",
	}, result)
	want := `
server:latest  linux/amd64 on alpine
registry.example.com/team/server:v1
` + testDigest("9f") + `
    3.4 MB  ░░                     11%  base alpine
     152 B    ▏                    <1%  copy ./static to /srv/www
   27.3 MB    ██████████████████   89%  go build ./cmd/a-rather-long-name to /a…
  ────────
   30.7 MB  base 3.4 MB (11%) + own 27.3 MB (89%)

wrote image.tar (30.8 MB)
pushed registry.example.com/team/server:v1
next: docker load < image.tar && docker run --rm -p 8080:8080 server:latest
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	for line := range strings.Lines(got) {
		if textWidth(strings.TrimSpace(line)) > summaryWidth {
			t.Errorf("wider than %d columns: %q", summaryWidth, line)
		}
	}
}

func TestSummaryOfWhatIsLeft(t *testing.T) {
	result := image.Result{Name: "x", Tags: []string{"x"}, Images: []image.Platform{
		onePlatform(t, "linux/amd64", "", 0, sizedImage{digest: "9f", sizes: []int64{3_000_000}, history: created("COPY")}),
	}}
	for _, tt := range []struct {
		left leftBehind
		want string
	}{
		{leftBehind{"golang:1.26-alpine", 85_600_000, 3_000_000}, "   85.6 MB  left behind: golang:1.26-alpine, 28 times the image\n"},
		{leftBehind{"golang", 5_000_000, 3_000_000}, "    5.0 MB  left behind: golang\n"},
		{leftBehind{"golang", 5_000_000, 0}, "    5.0 MB  left behind: golang\n"},
		{leftBehind{strings.Repeat("registry.example.com/", 5) + "golang", 85_600_000, 3_000_000}, ", 28 times the image\n"},
	} {
		got := summaryText(t, summaryOptions{Left: &tt.left}, result)
		if !strings.HasSuffix(got, tt.want) {
			t.Errorf("got %s\nwant %s", got, tt.want)
		}
		for line := range strings.Lines(got) {
			if textWidth(strings.TrimSuffix(line, "\n")) > summaryWidth {
				t.Errorf("wider than %d columns: %q", summaryWidth, line)
			}
		}
	}
}

func TestSummaryOfPlatforms(t *testing.T) {
	var images []image.Platform
	for i, platform := range []string{"linux/amd64", "linux/arm64", "linux/arm/v7"} {
		images = append(images, onePlatform(t, platform, "docker.io/library/alpine@"+testDigest("1a"), 1, sizedImage{
			digest: fmt.Sprintf("a%d", i), sizes: []int64{342_000, 2_700_000 - int64(i)*100_000},
		}))
	}
	got := summaryText(t, summaryOptions{}, image.Result{Name: "server", Images: images, Index: sizedIndex{}})
	want := `
server  3 platforms on docker.io/library/alpine@sha256:1a1a1a1a1a1a
` + testDigest("ff") + `
  PLATFORM      DIGEST                   BASE     OWN   TOTAL
  linux/amd64   sha256:a0a0a0a0a0a0  342.0 kB  2.7 MB  3.0 MB  ░█████████
  linux/arm64   sha256:a1a1a1a1a1a1  342.0 kB  2.6 MB  2.9 MB  ░█████████
  linux/arm/v7  sha256:a2a2a2a2a2a2  342.0 kB  2.5 MB  2.8 MB  ░█████████
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

// TestSummaryOfUnusualImages looks at the lines about layers alone.
func TestSummaryOfUnusualImages(t *testing.T) {
	many := sizedImage{digest: "9f", history: created("go build ./server")}
	for range 12 {
		many.sizes = append(many.sizes, 1_000_000)
	}
	tests := []struct {
		name, base string
		baseLayers int
		img        sizedImage
		want       string
	}{
		{"scratch", "scratch", 0, sizedImage{digest: "9f", sizes: []int64{1_420_000}, history: created("go build ./server")}, `
    1.4 MB  ████████████████████  100%  go build ./server
  ────────
    1.4 MB  base 0 B (0%) + own 1.4 MB (100%)
`},
		{"many base layers, no history", "golang", 11, many, `
   11.0 MB  ░░░░░░░░░░░░░░░░░░     92%  base golang (11 layers)
    1.0 MB                    ██    8%  go build ./server
  ────────
   12.0 MB  base 11.0 MB (92%) + own 1.0 MB (8%)
`},
		{"no history at all", "a", 1, sizedImage{digest: "9f", sizes: []int64{10, 10}}, `
      10 B  ░░░░░░░░░░             50%  base a
      10 B            ██████████   50%  sha256:010101010101
  ────────
      20 B  base 10 B (50%) + own 10 B (50%)
`},
		{"no layers", "scratch", 0, sizedImage{digest: "9f"}, `
       0 B  base 0 B (0%) + own 0 B (0%)
`},
		{"empty layers", "scratch", 0, sizedImage{digest: "9f", sizes: []int64{0}, history: created("WORKDIR /\x1b[2J")}, `
       0 B                          0%  WORKDIR /?[2J
  ────────
       0 B  base 0 B (0%) + own 0 B (0%)
`},
		{"a sliver at the end", "a", 1, sizedImage{digest: "9f", sizes: []int64{1e9, 1}, history: created("own")}, `
   1.00 GB  ░░░░░░░░░░░░░░░░░░░░   99%  base a
       1 B                     ▏   <1%  own
  ────────
   1.00 GB  base 1.00 GB (99%) + own 1 B (<1%)
`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got := summaryText(t, summaryOptions{}, image.Result{
				Name: "x", Images: []image.Platform{onePlatform(t, "linux/amd64", tc.base, tc.baseLayers, tc.img)},
			})
			_, got, _ = strings.Cut(got, testDigest("9f"))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSummaryOfManyImagesIsBrief(t *testing.T) {
	var results []image.Result
	for i := range tableLimit + 1 {
		img := sizedImage{digest: "9f", sizes: []int64{1000, 3000}, history: created("base", "own")}
		results = append(results, image.Result{Name: fmt.Sprint("cmd", i), Images: []image.Platform{onePlatform(t, "linux/amd64", "static", 1, img)}})
	}
	want := ""
	for i := range results {
		want += fmt.Sprintf("\ncmd%d  linux/amd64 on static\n%s\n    4.0 kB  base 1.0 kB (25%%) + own 3.0 kB (75%%)\n", i, testDigest("9f"))
	}
	if diff := cmp.Diff(want, summaryText(t, summaryOptions{}, results...)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

// TestSummaryColor checks that colour changes nothing but colour.
func TestSummaryColor(t *testing.T) {
	result := image.Result{Name: "server", Images: []image.Platform{onePlatform(t, "linux/amd64", "alpine", 1, sizedImage{
		digest: "9f", sizes: []int64{1000, 3000}, history: created("base", "own"),
	})}}
	o := summaryOptions{Outputs: []summaryOutput{{"wrote", "image.tar", 1}}, Next: "docker load"}
	o.Style = newStyle(true, testEnv("TERM=xterm"))
	colored := summaryText(t, o, result)
	o.Style = newStyle(true, testEnv("TERM=xterm", "NO_COLOR=1"))
	plain := summaryText(t, o, result)
	if strings.Contains(plain, "\x1b") || !strings.Contains(colored, "\x1b[") {
		t.Errorf("plain %q\ncolored %q", plain, colored)
	}
	if diff := cmp.Diff(plain, vtermSGR.ReplaceAllString(colored, "")); diff != "" {
		t.Errorf("without colours (-want +got):\n%s", diff)
	}
	for _, r := range plain {
		if r > '~' {
			t.Errorf("not ASCII without a UTF-8 locale: %q", r)
		}
	}
}

func TestSummaryErrors(t *testing.T) {
	unreadable := errors.New("blob is gone")
	result := image.Result{Name: "server", Images: []image.Platform{onePlatform(t, "linux/amd64", "alpine", 1, sizedImage{digest: "9f", err: unreadable})}}
	var b strings.Builder
	err := writeSummary(&b, []image.Result{result}, summaryOptions{})
	if !errors.Is(err, unreadable) || b.Len() > 0 {
		t.Errorf("error %v, wrote %q", err, b.String())
	}
}
