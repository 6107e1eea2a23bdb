package plan_test

import (
	"math"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

func platform(arch, variant string) v1.Platform {
	return v1.Platform{OS: "linux", Architecture: arch, Variant: variant}
}

func TestParsePlatform(t *testing.T) {
	testParsing(t, plan.ParsePlatform, []parsing[v1.Platform]{
		{name: "os and architecture", in: "linux/amd64", want: platform("amd64", "")},
		{name: "architecture alone", in: "arm64", want: platform("arm64", "")},
		{name: "upper case", in: "Linux/AMD64", want: platform("amd64", "")},
		{name: "blanks around it", in: " linux/s390x\n", want: platform("s390x", "")},
		{name: "uname's amd64", in: "linux/x86_64", want: platform("amd64", "")},
		{name: "amd64 with a hyphen", in: "x86-64", want: platform("amd64", "")},
		{name: "uname's arm64", in: "aarch64", want: platform("arm64", "")},
		{name: "uname's 386", in: "i686", want: platform("386", "")},
		{name: "Debian's 386", in: "i386", want: platform("386", "")},
		{name: "Debian's arm with floats", in: "linux/armhf", want: platform("arm", "v7")},
		{name: "Debian's arm without", in: "linux/armel", want: platform("arm", "v6")},
		{name: "alias with its own variant", in: "linux/armhf/v6", want: platform("arm", "v6")},
		{name: "arm has a default variant", in: "linux/arm", want: platform("arm", "v7")},
		{name: "variant without v", in: "linux/arm/6", want: platform("arm", "v6")},
		{name: "lowest arm", in: "linux/arm/v5", want: platform("arm", "v5")},
		{name: "lowest amd64 goes without saying", in: "linux/amd64/v1", want: platform("amd64", "")},
		{name: "highest amd64", in: "linux/amd64/v4", want: platform("amd64", "v4")},
		{name: "arm64 v8 goes without saying", in: "linux/arm64/v8", want: platform("arm64", "")},
		{name: "arm64 v8.0 goes without saying", in: "linux/arm64/8.0", want: platform("arm64", "")},
		{name: "arm64 v8.9", in: "linux/arm64/v8.9", want: platform("arm64", "v8.9")},
		{name: "arm64 v9", in: "linux/arm64/v9", want: platform("arm64", "v9.0")},
		{name: "arm64 v9.5", in: "linux/arm64/v9.5", want: platform("arm64", "v9.5")},
		{name: "empty", in: "", wantErr: `malformed platform "": it is OS/ARCH`},
		{name: "os alone", in: "linux", wantErr: `malformed platform "linux"`},
		{name: "empty architecture", in: "linux/", wantErr: `malformed platform "linux/"`},
		{name: "empty variant", in: "linux/arm/", wantErr: `malformed platform "linux/arm/"`},
		{name: "too many parts", in: "linux/arm/v7/x", wantErr: "malformed platform"},
		{name: "another os", in: "windows/amd64", wantErr: `unknown platform "windows/amd64": only linux images are made`},
		{name: "architecture and variant alone", in: "arm/v7", wantErr: "only linux images are made"},
		{name: "no such architecture", in: "linux/vax", wantErr: "the architecture is one of 386, amd64, arm, arm64, loong64, mips64, mips64le, ppc64, ppc64le, riscv64, s390x"},
		{name: "architecture that Go lacks", in: "linux/ppc", wantErr: "the architecture is one of"},
		{name: "os version", in: "linux/amd64:10", wantErr: "the architecture is one of"},
		{name: "no such variant", in: "linux/arm/v8", wantErr: `unknown platform "linux/arm/v8": the variant of arm is one of v5, v6, v7`},
		{name: "no such amd64", in: "linux/amd64/v5", wantErr: "the variant of amd64 is one of v2, v3, v4"},
		{name: "no such arm64", in: "linux/arm64/v9.6", wantErr: "the variant of arm64 is one of v8.1,"},
		{name: "variant where there are none", in: "linux/riscv64/v1", wantErr: "riscv64 has no variants"},
	})
}

func TestNormalizeKeepsUnknown(t *testing.T) {
	in := v1.Platform{OS: "Windows", Architecture: "VAX", Variant: "780", OSVersion: "10"}
	want := v1.Platform{OS: "windows", Architecture: "vax", Variant: "v780", OSVersion: "10"}
	if got := plan.Normalize(in); !got.Equals(want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Each list goes from what suits best to what just runs; below are those that
// do not run at all.
func TestRuns(t *testing.T) {
	tests := []struct {
		name  string
		want  v1.Platform
		runs  []v1.Platform
		never []v1.Platform
	}{
		{
			name:  "amd64 without a variant",
			want:  platform("amd64", ""),
			runs:  []v1.Platform{platform("amd64", "v1")},
			never: []v1.Platform{platform("amd64", "v2"), platform("386", ""), platform("arm64", "")},
		},
		{
			name:  "amd64 v3",
			want:  platform("amd64", "v3"),
			runs:  []v1.Platform{platform("x86_64", "3"), platform("amd64", "v2"), platform("amd64", "")},
			never: []v1.Platform{platform("amd64", "v4"), platform("amd64", "v2.1"), platform("amd64", "fast")},
		},
		{
			name:  "arm v7",
			want:  platform("arm", "v7"),
			runs:  []v1.Platform{platform("arm", ""), platform("arm", "v6"), platform("arm", "v5")},
			never: []v1.Platform{platform("arm", "v8"), platform("arm64", "")},
		},
		{
			name:  "arm v5",
			want:  platform("arm", "v5"),
			runs:  []v1.Platform{platform("arm", "5")},
			never: []v1.Platform{platform("arm", "v6"), platform("arm", "")},
		},
		{
			name:  "arm64 without a variant",
			want:  platform("arm64", ""),
			runs:  []v1.Platform{platform("arm64", "v8")},
			never: []v1.Platform{platform("arm64", "v8.1"), platform("arm64", "v9"), platform("arm", "v7")},
		},
		{
			name:  "arm64 v8.7",
			want:  platform("arm64", "v8.7"),
			runs:  []v1.Platform{platform("arm64", "v8.7"), platform("arm64", "v8.6"), platform("arm64", "v8.1"), platform("arm64", "")},
			never: []v1.Platform{platform("arm64", "v8.8"), platform("arm64", "v9.0"), platform("arm64", "v9.1")},
		},
		{
			name: "arm64 v9.1, which has all of v8.6",
			want: platform("arm64", "v9.1"),
			runs: []v1.Platform{
				platform("arm64", "v9.1"), platform("arm64", "v9"), platform("arm64", "v8.6"), platform("arm64", "v8.5"),
				platform("arm64", "v8.1"), platform("arm64", "v8"),
			},
			never: []v1.Platform{platform("arm64", "v9.2"), platform("arm64", "v8.7"), platform("arm64", "v8.9"), platform("arm64", "v7")},
		},
		{
			name:  "arm64 v9.5, the highest",
			want:  platform("arm64", "v9.5"),
			runs:  []v1.Platform{platform("arm64", "v9.5"), platform("arm64", "v9.4"), platform("arm64", "v8.9")},
			never: []v1.Platform{platform("arm64", "v10.0")},
		},
		{
			name:  "variant that nobody knows",
			want:  platform("riscv64", "rva22"),
			runs:  []v1.Platform{platform("riscv64", "rva22"), platform("riscv64", "")},
			never: []v1.Platform{platform("riscv64", "rva20"), platform("riscv64", "rva23"), platform("riscv64", "v1")},
		},
		{
			name:  "another os",
			want:  platform("amd64", ""),
			runs:  []v1.Platform{platform("amd64", "")},
			never: []v1.Platform{{OS: "windows", Architecture: "amd64"}, {Architecture: "amd64"}, {}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := plan.Runs(tt.want, tt.runs[0]); got != math.MaxInt {
				t.Errorf("%s on %s: %d, want the highest score there is", tt.runs[0], tt.want, got)
			}
			for i, have := range tt.runs[1:] {
				better := plan.Runs(tt.want, tt.runs[i])
				if got := plan.Runs(tt.want, have); got <= 0 || got >= better {
					t.Errorf("%s on %s: %d, want more than 0 and less than the %d of %s", have, tt.want, got, better, tt.runs[i])
				}
			}
			for _, have := range tt.never {
				if got := plan.Runs(tt.want, have); got != 0 {
					t.Errorf("%s on %s: %d, want 0", have, tt.want, got)
				}
			}
		})
	}
}

func FuzzParsePlatform(f *testing.F) {
	for _, s := range []string{
		"linux/amd64", "arm64", "Linux/x86_64/3", "linux/arm/v7", "armhf", "linux/arm64/v9.1", "linux/arm64/8", "windows/amd64", "linux//", "/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := plan.ParsePlatform(s)
		if err != nil {
			if !p.Equals(v1.Platform{}) {
				t.Errorf("%q: %s beside error %v", s, p, err)
			}
			return
		}
		if again, err := plan.ParsePlatform(p.String()); err != nil || !again.Equals(p) {
			t.Errorf("%q is %s, which is %s, %v", s, p, again, err)
		}
		if normal := plan.Normalize(p); !normal.Equals(p) {
			t.Errorf("%q is %s, which is not normal: %s", s, p, normal)
		}
		if got := plan.Runs(p, p); got != math.MaxInt {
			t.Errorf("%s on itself: %d", p, got)
		}
		base := platform(p.Architecture, "")
		if p.Architecture == "arm" {
			base.Variant = "v5"
		}
		if plan.Runs(p, base) == 0 {
			t.Errorf("%s does not run on %s", base, p)
		}
		if p.Variant != base.Variant && plan.Runs(base, p) != 0 {
			t.Errorf("%s runs on %s", p, base)
		}
	})
}
