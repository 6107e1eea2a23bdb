package main

import (
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/image"
	"github.com/stagectl/stagectl/builder/plan"
)

// leftBehind is what is not in an image because it has several stages: the
// largest image that a stage is made from which only feeds others.
type leftBehind struct {
	// Image as the Dockerfile names it.
	Image string `json:"image"`
	// Size of its compressed layers.
	Size int64 `json:"size"`
	// Result is the size of those of the image that was built.
	Result int64 `json:"resultSize"`
}

// sizeOf sums up the compressed layers of an image, of which no layer is read.
func sizeOf(img v1.Image) (int64, error) {
	m, err := img.Manifest()
	if err != nil {
		return 0, err
	}
	var size int64
	for _, l := range m.Layers {
		size += l.Size
	}
	return size, nil
}

// leftBehindOf finds the stages that only feed others. sizes has that of each image
// that is known, by its name and platform; of others nothing is said.
func leftBehindOf(p *plan.Plan, sizes map[string]int64, built image.Platform) (*leftBehind, error) {
	if len(p.Images) != 1 {
		return nil, nil
	}
	stages := p.Images[0].StagesFor(built.Platform)
	var chain []string
	for i := len(stages) - 1; i >= 0; i-- {
		if len(chain) == 0 || stages[i].Name == chain[len(chain)-1] {
			chain = append(chain, stages[i].Name, stages[i].Base)
		}
	}
	var most leftBehind
	for _, s := range stages {
		platform := built.Platform
		if s.Platform != nil {
			platform = *s.Platform
		}
		if size := sizes[imageKey(s.Base, platform)]; size > most.Size && !slices.Contains(chain, s.Name) && !slices.Contains(chain, s.Base) {
			most = leftBehind{Image: s.Base, Size: size}
		}
	}
	if most.Size == 0 {
		return nil, nil
	}
	var err error
	most.Result, err = sizeOf(built.Image)
	return &most, err
}

func imageKey(ref string, p v1.Platform) string { return ref + " " + p.String() }

// text says what that is, and how much beside the image.
func (l *leftBehind) text(style style) string {
	times := ""
	if l.Result > 0 && l.Size >= 2*l.Result {
		times = fmt.Sprintf(", %d times the image", l.Size/l.Result)
	}
	const what = "left behind: "
	return what + cutEnd(baseLabel(l.Image), summaryWidth-len(gap)*2-bytesWidth-len(what)-len(times), style.ellipsis) + times
}
