package plan

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// linuxVariants has the architectures that both the go command compiles for on
// Linux and images are made for, with the variants there are beside the one
// that goes without a name.
var linuxVariants = map[string][]string{
	"386":   nil,
	"amd64": {"v2", "v3", "v4"},
	"arm":   {"v5", "v6", "v7"},
	"arm64": {
		"v8.1", "v8.2", "v8.3", "v8.4", "v8.5", "v8.6", "v8.7", "v8.8", "v8.9",
		"v9.0", "v9.1", "v9.2", "v9.3", "v9.4", "v9.5",
	},
	"loong64":  nil,
	"mips64":   nil,
	"mips64le": nil,
	"ppc64":    nil,
	"ppc64le":  nil,
	"riscv64":  nil,
	"s390x":    nil,
}

// archAliases are the names of uname and of Debian that docker takes too.
var archAliases = map[string]string{
	"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386",
	"armhf": "arm/v7", "armel": "arm/v6",
}

// Normalize returns p by the names that images use: the variant that is
// understood without being named (v8 of arm64, v1 of amd64) is left out, and
// the one of arm that docker assumes (v7) put in.
func Normalize(p v1.Platform) v1.Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	if alias, ok := archAliases[p.Architecture]; ok {
		arch, variant, _ := strings.Cut(alias, "/")
		p.Architecture = arch
		if p.Variant == "" {
			p.Variant = variant
		}
	}
	if p.Variant != "" && !strings.HasPrefix(p.Variant, "v") {
		p.Variant = "v" + p.Variant
	}
	switch {
	case p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "v8.0"),
		p.Architecture == "amd64" && p.Variant == "v1":
		p.Variant = ""
	case p.Architecture == "arm64" && p.Variant == "v9":
		p.Variant = "v9.0"
	case p.Architecture == "arm" && p.Variant == "":
		p.Variant = "v7"
	}
	return p
}

// ParsePlatform reads OS/ARCH[/VARIANT], or ARCH alone, as docker does. Only
// Linux is known, and only architectures that Go compiles for.
func ParsePlatform(s string) (v1.Platform, error) {
	parts := strings.Split(strings.TrimSpace(s), "/")
	if len(parts) == 1 && parts[0] != "linux" {
		parts = []string{"linux", parts[0]}
	}
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return v1.Platform{}, fmt.Errorf("malformed platform %q: it is OS/ARCH or OS/ARCH/VARIANT, as linux/arm64 or linux/arm/v7", s)
	}
	p := v1.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	p = Normalize(p)
	if p.OS != "linux" {
		return v1.Platform{}, fmt.Errorf("unknown platform %q: only linux images are made", s)
	}
	variants, ok := linuxVariants[p.Architecture]
	if !ok {
		archs := slices.Sorted(maps.Keys(linuxVariants))
		return v1.Platform{}, fmt.Errorf("unknown platform %q: the architecture is one of %s", s, strings.Join(archs, ", "))
	}
	switch {
	case p.Variant == "" || slices.Contains(variants, p.Variant):
		return p, nil
	case len(variants) == 0:
		return v1.Platform{}, fmt.Errorf("unknown platform %q: %s has no variants", s, p.Architecture)
	}
	return v1.Platform{}, fmt.Errorf("unknown platform %q: the variant of %s is one of %s", s, p.Architecture, strings.Join(variants, ", "))
}

// Runs says how well something made for have suits a machine of the platform
// want: 0 not at all, otherwise the higher the better. A lower variant of the
// same architecture runs, a higher one does not.
func Runs(want, have v1.Platform) int {
	want, have = Normalize(want), Normalize(have)
	if want.OS != have.OS || want.Architecture != have.Architecture {
		return 0
	}
	if want.Variant == have.Variant {
		return math.MaxInt
	}
	if have.Variant == "" {
		return 1
	}
	w, known := featuresOf(want)
	h, ok := featuresOf(have)
	if !known || !ok || h.version > w.version || h.branch > w.branch {
		return 0
	}
	return 1 + h.version + 100*h.branch
}

// features is how far a variant has come on the two lines there are. What has
// no more on either line than a machine, runs on it.
type features struct {
	// version of the architecture; of arm64 the minor version of Armv8.
	version int
	// branch is one more than the minor version of Armv9, which left Armv8
	// behind at 8.5 and has what is in 8.(n+5) at 9.n: the relation that
	// internal/buildcfg of Go and containerd's platforms have too.
	branch int
}

var variantPattern = pattern(`^v([0-9]{1,2})(?:\.([0-9]{1,2}))?$`)

// featuresOf tells the variant of p, which is normal. The one without a name
// is the lowest.
func featuresOf(p v1.Platform) (features, bool) {
	m := variantPattern().FindStringSubmatch(p.Variant)
	if m == nil {
		return features{}, p.Variant == ""
	}
	major, _ := strconv.Atoi(m[1]) // digits, by the pattern
	minor, _ := strconv.Atoi(m[2]) // none is 0
	switch {
	case p.Architecture != "arm64":
		return features{version: major}, m[2] == ""
	case major == 8:
		return features{version: minor}, true
	case major == 9:
		return features{version: minor + 5, branch: minor + 1}, true
	}
	return features{}, false
}
