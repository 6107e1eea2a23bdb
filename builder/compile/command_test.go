package compile_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// onlyCall returns how the go command is called to build step, with the
// environment variables ROOT/home and so on replaced.
func onlyCall(t *testing.T, offline bool, p v1.Platform, step plan.Compile, env ...string) call {
	t.Helper()
	c, calls := recorded(t, "note", env...)
	c.Offline = offline
	out, err := c.Build(t.Context(), p, []plan.Compile{step})
	if err == nil { // nothing was made
		out.Close()
		t.Fatal("no error")
	}
	all := calls()
	if len(all) != 1 {
		t.Fatalf("%d calls, want 1", len(all))
	}
	return all[0]
}

func TestBuildEnvironment(t *testing.T) {
	linux := func(arch, variant string) v1.Platform {
		return v1.Platform{OS: "linux", Architecture: arch, Variant: variant}
	}
	inModule, bare := tree(t, hello), tree(t, "-- main.go --\npackage main\n")
	file := func(content string) string { return filepath.Join(tree(t, "-- env --\n"+content+"\n"), "env") }
	home := tree(t, "-- .config/go/env --\nCGO_ENABLED=1\n")
	tests := map[string]struct {
		platform v1.Platform
		dir      string // inModule where empty
		env      []string
		offline  bool
		want     map[string]string
	}{
		"amd64":             {platform: linux("amd64", ""), want: map[string]string{"GOOS": "linux", "GOARCH": "amd64", "GOAMD64": "v1"}},
		"amd64, a variant":  {platform: linux("amd64", "v3"), want: map[string]string{"GOARCH": "amd64", "GOAMD64": "v3"}},
		"amd64, the user's": {platform: linux("amd64", ""), env: []string{"GOAMD64=v3"}, want: map[string]string{"GOAMD64": "v1"}},
		"386":               {platform: linux("386", ""), env: []string{"GO386=softfloat"}, want: map[string]string{"GOARCH": "386", "GO386": "sse2"}},
		"arm":               {platform: linux("arm", ""), env: []string{"GOARM=5"}, want: map[string]string{"GOARCH": "arm", "GOARM": "7"}},
		"arm v6":            {platform: linux("arm", "v6"), want: map[string]string{"GOARM": "6"}},
		"arm64":             {platform: linux("arm64", ""), env: []string{"GOARM64=v9.0"}, want: map[string]string{"GOARCH": "arm64", "GOARM64": "v8.0"}},
		"arm64 v8.2":        {platform: linux("arm64", "v8.2"), want: map[string]string{"GOARM64": "v8.2"}},
		"mips64le":          {platform: linux("mips64le", ""), env: []string{"GOMIPS64=softfloat"}, want: map[string]string{"GOMIPS64": "hardfloat"}},
		"ppc64le":           {platform: linux("ppc64le", ""), env: []string{"GOPPC64=power10"}, want: map[string]string{"GOPPC64": "power8"}},
		"riscv64":           {platform: linux("riscv64", ""), env: []string{"GORISCV64=rva23u64"}, want: map[string]string{"GORISCV64": "rva20u64"}},
		"s390x":             {platform: linux("s390x", ""), want: map[string]string{"GOARCH": "s390x"}},
		"the user's platform": {
			platform: amd64, env: []string{"GOOS=windows", "GOARCH=arm64"},
			want: map[string]string{"GOOS": "linux", "GOARCH": "amd64"},
		},
		"no cgo":          {platform: amd64, want: map[string]string{"CGO_ENABLED": "0"}},
		"cgo":             {platform: amd64, env: []string{"CGO_ENABLED=1"}, want: map[string]string{"CGO_ENABLED": "1"}},
		"cgo, by a file":  {platform: amd64, env: []string{"GOENV=" + file("CGO_ENABLED=1")}, want: map[string]string{"CGO_ENABLED": ""}},
		"cgo, by go env":  {platform: amd64, env: []string{"GOENV=", "XDG_CONFIG_HOME=", "HOME=" + home}, want: map[string]string{"CGO_ENABLED": ""}},
		"cgo, by XDG":     {platform: amd64, env: []string{"GOENV=", "XDG_CONFIG_HOME=" + filepath.Join(home, ".config")}, want: map[string]string{"CGO_ENABLED": ""}},
		"cgo, file off":   {platform: amd64, env: []string{"GOENV=off", "XDG_CONFIG_HOME=" + filepath.Join(home, ".config")}, want: map[string]string{"CGO_ENABLED": "0"}},
		"cgo, empty":      {platform: amd64, env: []string{"CGO_ENABLED="}, want: map[string]string{"CGO_ENABLED": "0"}},
		"in a module":     {platform: amd64, want: map[string]string{"GO111MODULE": ""}},
		"in no module":    {platform: amd64, dir: bare, want: map[string]string{"GO111MODULE": "off"}},
		"in no module on": {platform: amd64, dir: bare, env: []string{"GO111MODULE=on"}, want: map[string]string{"GO111MODULE": "on"}},
		"in no module, by a file": {
			platform: amd64, dir: bare, env: []string{"GOENV=" + file("GO111MODULE=auto")},
			want: map[string]string{"GO111MODULE": ""},
		},
		"in a workspace": {
			platform: amd64, dir: bare, env: []string{"GOWORK=" + filepath.Join(inModule, "go.work")},
			want: map[string]string{"GO111MODULE": ""},
		},
		"online":  {platform: amd64, env: []string{"GOPROXY=direct", "GONOPROXY=x"}, want: map[string]string{"GOPROXY": "direct", "GONOPROXY": "x"}},
		"offline": {platform: amd64, env: []string{"GOPROXY=direct", "GOPRIVATE=x"}, offline: true, want: map[string]string{"GOPROXY": "off", "GONOPROXY": "none"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := inModule
			if tt.dir != "" {
				dir = tt.dir
			}
			got := onlyCall(t, tt.offline, tt.platform, plan.Compile{Dir: dir, Package: ".", Binary: "hello"}, tt.env...)
			tt.want["PWD"] = dir
			for key, want := range tt.want {
				if value := got.value(key); value != want {
					t.Errorf("%s=%s, want %s", key, value, want)
				}
			}
		})
	}
}

func TestBuildArguments(t *testing.T) {
	dir := tree(t, hello)
	file := filepath.Join(tree(t, "-- env --\nGOFLAGS=-ldflags=-X=main.v=file\n"), "env")
	tests := map[string]struct {
		step plan.Compile
		env  []string
		want []string // after "build -o DIR/"
	}{
		"a package": {
			step: plan.Compile{Package: "example.com/hello"},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "--", "example.com/hello"},
		},
		"files": {
			step: plan.Compile{Files: []string{"main.go", "util.go"}},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "--", "main.go", "util.go"},
		},
		"debug": {
			step: plan.Compile{Package: ".", Settings: plan.GoSettings{Debug: true}},
			want: []string{"-trimpath", "-buildvcs=false", "--", "."},
		},
		"tags": {
			step: plan.Compile{Package: ".", Settings: plan.GoSettings{Tags: "a,b"}},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-tags=a,b", "--", "."},
		},
		"ldflags": {
			step: plan.Compile{Package: ".", Settings: plan.GoSettings{LDFlags: "-X main.v=1"}},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.v=1", "--", "."},
		},
		"ldflags, debug": {
			step: plan.Compile{Package: ".", Settings: plan.GoSettings{LDFlags: " -X main.v=1 ", Debug: true}},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-X main.v=1", "--", "."},
		},
		"ldflags, for a pattern": {
			step: plan.Compile{Package: ".", Settings: plan.GoSettings{LDFlags: "all=-X main.v=1"}},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-ldflags=all=-s -w -X main.v=1", "--", "."},
		},
		"ldflags, malformed": {
			step: plan.Compile{Package: ".", Settings: plan.GoSettings{LDFlags: "main.v"}},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-ldflags=main.v", "--", "."},
		},
		"ldflags in GOFLAGS": {
			step: plan.Compile{Package: "."},
			env:  []string{`GOFLAGS=-mod=mod '-ldflags=-X main.v=2'`},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.v=2", "--", "."},
		},
		"ldflags in GOFLAGS, and ours": {
			step: plan.Compile{Package: ".", Settings: plan.GoSettings{LDFlags: "-X main.w=1"}},
			env:  []string{`GOFLAGS="--ldflags=-X main.v='a b'"`},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.v='a b' -X main.w=1", "--", "."},
		},
		"ldflags in GOFLAGS, for a pattern": {
			step: plan.Compile{Package: ".", Settings: plan.GoSettings{LDFlags: "-X main.w=1"}},
			env:  []string{"GOFLAGS=-ldflags=example.com/...=-X=main.v=1"},
			want: []string{
				"-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.w=1",
				"-ldflags=example.com/...=-s -w -X main.w=1 -X=main.v=1", "--", ".",
			},
		},
		"ldflags in GOFLAGS, with a backslash": {
			step: plan.Compile{Package: "."},
			env:  []string{`GOFLAGS=-ldflags=-X=main.v=C:\x`},
			want: []string{"-trimpath", "-buildvcs=false", `-ldflags=-s -w -X=main.v=C:\x`, "--", "."},
		},
		"ldflags in the file of go env": {
			step: plan.Compile{Package: "."},
			env:  []string{"GOENV=" + file},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -X=main.v=file", "--", "."},
		},
		"ldflags in GOFLAGS before those of the file": {
			step: plan.Compile{Package: "."},
			env:  []string{"GOENV=" + file, "GOFLAGS=-ldflags=-X=main.v=env"},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -X=main.v=env", "--", "."},
		},
		"other flags in GOFLAGS": {
			step: plan.Compile{Package: "."},
			env:  []string{"GOFLAGS=-trimpath=false -buildvcs=true -tags=x -ldflagsx=1"},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "--", "."},
		},
		"a dash": {
			step: plan.Compile{Package: "-x"},
			want: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "--", "-x"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.step.Dir, tt.step.Binary = dir, "hello"
			got := onlyCall(t, false, amd64, tt.step, tt.env...).Args
			if len(got) < 3 || got[0] != "build" || got[1] != "-o" {
				t.Fatalf("got %q", got)
			}
			if diff := cmp.Diff(tt.want, got[3:]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
