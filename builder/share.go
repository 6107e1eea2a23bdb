package builder

import (
	"encoding/json"
	"slices"

	"github.com/stagectl/stagectl/builder/plan"
)

// shareSteps divides stages that are the same for all platforms up to some step,
// as those on BUILDPLATFORM are up to where they use what the image is built for:
// what is the same is a stage of its own, and is carried out once. A beginning
// with no RUN is not worth that.
func shareSteps(img plan.Image) plan.Image {
	if len(img.Variants) < 2 {
		return img
	}
	img.Variants = slices.Clone(img.Variants)
	for _, stage := range img.Variants[0].Stages {
		same := sameStages(img, stage.Name)
		n := 0
		for n < len(stage.Steps) && !slices.ContainsFunc(same, func(o plan.Stage) bool {
			return n >= len(o.Steps) || text(o.Steps[n]) != text(stage.Steps[n])
		}) {
			n++
		}
		runs := slices.ContainsFunc(stage.Steps[:n], func(s plan.Step) bool { return s.Run != nil })
		if !runs || !slices.ContainsFunc(same, func(o plan.Stage) bool { return len(o.Steps) > n }) {
			continue
		}
		for i := range img.Variants {
			img.Variants[i].Stages = divide(img.Variants[i].Stages, stage.Name, n)
		}
	}
	return img
}

// sameStages are the stages of a name for all platforms, where they are made on
// the same, for the same platform, and none is the image.
func sameStages(img plan.Image, name string) []plan.Stage {
	var same []plan.Stage
	for _, v := range img.Variants {
		at := slices.IndexFunc(v.Stages, func(s plan.Stage) bool { return s.Name == name })
		if at < 0 || (target{img, v.Platform}).isChain(name) {
			return nil
		}
		stage := v.Stages[at]
		platform := (target{img, v.Platform}).platformOf(stage)
		stage.Platform = &platform
		if len(same) > 0 && (same[0].Base != stage.Base || !same[0].Platform.Equals(platform)) {
			return nil
		}
		same = append(same, stage)
	}
	return same
}

// forAll is how the name of a stage ends that is the same for all platforms.
const forAll = " for all platforms"

// divide makes two stages of one, the first with n of its steps.
func divide(stages []plan.Stage, name string, n int) []plan.Stage {
	at := slices.IndexFunc(stages, func(s plan.Stage) bool { return s.Name == name })
	rest := stages[at]
	first := rest
	first.Name += forAll
	first.Steps = rest.Steps[:n:n]
	rest.Base, rest.Steps = first.Name, rest.Steps[n:]
	return slices.Concat(stages[:at:at], []plan.Stage{first, rest}, stages[at+1:])
}

// text is a value in a form that can be compared.
func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // plans print as JSON
	}
	return string(raw)
}
