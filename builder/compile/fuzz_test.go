package compile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// rawRecords have the same text under every key of a kind.
type rawRecords map[string]string

func (r rawRecords) Record(kind, _ string, value any) bool {
	raw, ok := r[kind]
	return ok && json.Unmarshal([]byte(raw), value) == nil
}

func (rawRecords) SetRecord(string, string, any) error { return nil }

// FuzzRecords has any text for what is remembered of the packages of a project.
// Whatever it is, nothing panics, and a binary is never held to be made of other
// files than those that are there.
func FuzzRecords(f *testing.F) {
	dir := f.TempDir()
	for name, text := range map[string]string{"go.mod": "module m\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	g := &patternGroup{dir: dir, patterns: []string{"."}, shown: []string{"."}, places: []int{0}}
	sum, err := sumOf(filepath.Join(dir, "main.go"))
	if err != nil {
		f.Fatal(err)
	}
	files := `[{"name":"go.mod","sum":"x","listed":true},{"name":"main.go","sum":"` + sum + `"}]`
	for _, graph := range []string{
		`{"packages":{"m":{"dir":"DIR","sources":{"files":` + files + `}}}}`,
		`{"packages":{"m":null}}`, `{"packages":{"m":{"imports":["m","n","m"]},"n":null}}`, `null`, `[]`, `{"modules":[{}],"packages":{}}`,
		`{"packages":{"m":{"dir":"\u0000","sources":{"files":null,"patterns":["[","all:*/../*","a\\"],"embedded":[{"name":"../x"}],"above":["/",""]}}}}`,
	} {
		f.Add(graph, `{"mains":[[{"Dir":"x","ImportPath":"m","Binary":"m"}]],"packages":["m"],"trees":[]}`, `{"inputs":[{"name":"a","value":"b"}]}`)
	}
	f.Add(`{}`, `{"mains":[[],[],[]],"packages":[]}`, `null`)
	f.Add(`{}`, `{"mains":[null],"packages":null}`, `[]`)
	f.Fuzz(func(t *testing.T, graphText, listingText, inputsText string) {
		records := rawRecords{graphRecords: graphText, listingRecords: listingText, inputRecords: inputsText}
		m := &memory{old: records, new: records, dir: dir}
		m.readGraph()
		m.modules = m.graph.Modules
		if mains, _ := m.known(g); len(mains) > len(g.places) {
			t.Errorf("%d lists of packages for one pattern", len(mains))
		}
		step := plan.Compile{Dir: dir, Package: "m", Binary: "m"}
		inputs := m.inputsOf(step, nil, map[string]sources{})
		w := &worker{Compiler: &Compiler{Records: records}, platform: v1.Platform{OS: "linux", Architecture: "amd64"}}
		_ = w.changed(step, inputs)
		if inputs == nil {
			return
		}
		for _, in := range inputs {
			if in.Name == "main.go" && in.Value != sum {
				t.Errorf("main.go is an input as %s, and is %s", in.Value, sum)
			}
		}
		if n := m.graph.Packages["m"]; n.Dir == dir && !n.Sources.lists("main.go") && !slices.Contains(inputs, input{"main.go", sum}) {
			t.Errorf("main.go is compiled, and is no input: %v", inputs)
		}
	})
}

// lists tells whether a file is there for what the package is alone.
func (s sources) lists(name string) bool {
	return slices.ContainsFunc(s.Files, func(f sourceFile) bool { return f.Name == name && f.Listed })
}
