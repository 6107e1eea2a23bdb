package dockerfile_test

import (
	"fmt"
	"strings"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/dockerfile"
	"github.com/stagectl/stagectl/builder/plan"
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

func ExamplePrint() {
	p := &plan.Plan{Dir: "/w", Images: []plan.Image{{
		Name: "server", Tags: []string{"server:latest"}, Platforms: []v1.Platform{{OS: "linux", Architecture: "arm64"}},
		Stages: []plan.Stage{
			{Name: "build", Steps: []plan.Step{{Compile: &plan.Compile{Dir: "/w", Package: "./server", Binary: "server", Output: "/app/server"}}}},
			{Name: "server", Base: "alpine", Steps: []plan.Step{
				{Copy: &plan.Copy{From: "build", Source: "/app/server", Dest: "/app/server"}},
				{Config: &plan.Config{Entrypoint: []string{"/app/server"}, Ports: []string{"8080/tcp"}}},
			}},
		},
	}}}
	text, err := dockerfile.Print(p, dockerfile.Printing{
		Context: "/w", Files: fstest.MapFS{},
		Recipe: func(c plan.Compile) (release string, env, args []string, err error) {
			return "1.26.0", []string{"CGO_ENABLED=0"}, []string{"-trimpath", c.Package}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, stages, _ := strings.Cut(string(text), "\n\n")
	fmt.Print(stages)
	// Output:
	// FROM --platform=$BUILDPLATFORM golang:1.26.0 AS build
	// WORKDIR /src
	// COPY . .
	// ARG TARGETOS TARGETARCH
	// RUN --mount=type=cache,target=/root/.cache/go-build --mount=type=cache,target=/go/pkg/mod \
	//     GOOS=$TARGETOS GOARCH=$TARGETARCH CGO_ENABLED=0 go build -trimpath -o /out/app/server ./server
	//
	// FROM alpine AS server
	// COPY --from=build /out/app/server /app/server
	// EXPOSE 8080
	// ENTRYPOINT ["/app/server"]
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
