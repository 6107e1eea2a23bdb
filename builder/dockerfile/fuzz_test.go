package dockerfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/tools/txtar"

	"github.com/stagectl/stagectl/builder/dockerfile"
)

// FuzzStages takes any text for a Dockerfile. What is accepted makes a valid
// plan, the same each time, and what is not says where it is wrong.
func FuzzStages(f *testing.F) {
	cases, err := filepath.Glob(filepath.Join("..", "..", "testdata", "dockerfile", "*.txtar"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range cases {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range txtar.Parse(raw).Files {
			if strings.HasPrefix(part.Name, "Dockerfile") {
				f.Add(string(part.Data), "", "A", "1")
			}
		}
	}
	for _, text := range []string{
		"FROM onbuild\nCOPY --from=onbuild a b\n", "FROM a\nFROM a AS a\nFROM a\nCOPY --from=2 a b", "from a\nRUN <<-\"E\" <<F\n\ta\nE\nF\n",
		"# escape=`\n#syntax=docker/dockerfile\nFROM a\nRUN a`\n#\n\n b", "\xef\xbb\xbf# syntax=x\n", "FROM a\nONBUILD ONBUILD\nRUN --mount=,a\nRUN []",
		"ARG A\nFROM a$A\nENV $A$A=\\\nENV =\nEXPOSE $A:::\nLABEL ''=\nCMD\nENTRYPOINT\nRUN\nSHELL [\"\"]\n", "FROM --platform=$A a\nUSER \x00",
	} {
		f.Add(text, "a", "TARGETARCH", "x y")
	}
	f.Fuzz(func(t *testing.T, text, target, key, value string) {
		s := settings{
			Target: target, BuildArgs: map[string]string{key: value}, Unknown: []string{"unknown"}, Any: true,
			Contexts: map[string]string{"dir": "./dir", "img": "docker-image://alpine"},
			Bases: map[string]v1.Config{
				"onbuild": {OnBuild: []string{"ARG A", "RUN a $A", "COPY . .", "WORKDIR $A", "ONBUILD RUN x"}, WorkingDir: "rel", Env: []string{"=x", "A"}, User: "u"},
			},
		}
		parsed, err := dockerfile.Parse("Dockerfile", strings.NewReader(text))
		if err != nil {
			checkErrors(t, text, err)
			return
		}
		for _, w := range parsed.Warnings() {
			if w.Line < 1 {
				t.Errorf("%q: warning of no line: %v", text, w)
			}
		}
		options := s.options(t, nil)
		if _, err := parsed.Stages(options); err != nil {
			return
		}
		if _, _, err := convert(t, "Dockerfile", text, s); err != nil {
			t.Errorf("%q: once accepted, once not: %v", text, err)
		}
	})
}

// checkErrors holds the errors of a Dockerfile to naming a line that it has.
func checkErrors(t *testing.T, text string, err error) {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%q: %T is not joined", text, err)
	}
	for _, err := range joined.Unwrap() {
		e, ok := err.(*dockerfile.Error) //nolint:errorlint // no error is to be inside another
		if !ok {
			t.Fatalf("%q: %T is no *Error", text, err)
		}
		if lines := strings.Count(text, "\n") + 1; e.Line < 0 || e.Line > lines || strings.Contains(e.Instruction, "\n") || e.Err.Error() == "" {
			t.Errorf("%q: %#v", text, e)
		}
	}
}
