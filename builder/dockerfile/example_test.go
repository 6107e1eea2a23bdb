package dockerfile_test

import (
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/dockerfile"
)

func ExampleFile_Stages() {
	f, err := dockerfile.Parse("Dockerfile", strings.NewReader(`ARG GO=1.26
FROM golang:$GO AS build
RUN go build -o /app .

FROM scratch
COPY --from=build /app /app
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	amd64 := v1.Platform{OS: "linux", Architecture: "amd64"}
	stages, err := f.Stages(dockerfile.Options{
		BuildPlatform: amd64, TargetPlatform: amd64, BuildArgs: map[string]string{"GO": "1.25"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range stages {
		fmt.Println(s.Name, "from", s.Base)
		for _, step := range s.Steps {
			fmt.Println(" ", step.Position, step.Position.Text)
		}
	}
	// Output:
	// build from golang:1.25
	//   Dockerfile:3 RUN go build -o /app .
	// 1 from scratch
	//   Dockerfile:5 FROM scratch
	//   Dockerfile:6 COPY --from=build /app /app
}

func ExampleIgnore_Excludes() {
	ignore, err := dockerfile.ParseIgnore(".dockerignore", strings.NewReader("docs\n!docs/LICENSE\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"main.go", "docs/index.md", "docs/LICENSE"} {
		fmt.Println(name, ignore.Excludes(name))
	}
	// Output:
	// main.go false
	// docs/index.md true
	// docs/LICENSE false
}
