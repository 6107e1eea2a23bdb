package golang

import (
	"go/version"
	"path"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// VersionVar is the variable in which a golang image says which release it has.
const VersionVar = "GOLANG_VERSION"

// Tag returns the tag of a golang image, in whatever registry it is; false for
// any other image. By digest alone, the tag is empty.
func Tag(ref string) (tag string, ok bool) {
	parsed, err := name.ParseReference(ref)
	if err != nil || path.Base(parsed.Context().RepositoryStr()) != "golang" {
		return "", false
	}
	if t, ok := parsed.(name.Tag); ok {
		return t.TagStr(), true
	}
	// Of name:tag@digest, the parser keeps the digest alone.
	named, _, _ := strings.Cut(ref, "@")
	if t, err := name.NewTag(named, name.WithDefaultTag("")); err == nil {
		return t.TagStr(), true
	}
	return "", true
}

// Release is the release that the variables of an image name, as "1.6.4";
// empty where they name none.
func Release(env []string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, VersionVar+"="); ok && version.IsValid("go"+v) {
			return v
		}
	}
	return ""
}

var tagPattern = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+){0,2}(?:(?:rc|beta)[0-9]+)?)?(?:(?:^|-)[a-z][a-z0-9.-]*)?$`)

// wanted is the version at the beginning of a tag, which may be empty, as of
// "alpine"; false where the tag is not of the form that they have.
func wanted(tag string) (string, bool) {
	m := tagPattern.FindStringSubmatch(tag)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// exact tells whether a version is one release, and not the newest of some.
func exact(v string) bool {
	return strings.Count(v, ".") == 2 || strings.Contains(v, "rc") || strings.Contains(v, "beta")
}

// within tells whether a release is one that a version, or none, stands for.
func within(release, v string) bool {
	if v == "" || v == release {
		return true
	}
	return strings.HasPrefix(release, v+".")
}

// isAlpine tells the tags of images on Alpine from those on Debian.
func isAlpine(tag string) bool { return strings.Contains(tag, "alpine") }

// HasCompiler tells whether a golang image has a C compiler: those on Alpine have
// none.
func HasCompiler(ref string) bool {
	tag, ok := Tag(ref)
	return ok && !isAlpine(tag)
}

// Config is the configuration of the golang image with a tag, as those images
// have it.
func Config(tag, release string) v1.Config {
	c := v1.Config{
		Env: []string{
			"PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			VersionVar + "=" + release,
		},
		Cmd:        []string{"bash"},
		WorkingDir: "/go",
	}
	if atLeast(release, "1.21") {
		c.Env = append(c.Env, "GOTOOLCHAIN=local")
	}
	c.Env = append(c.Env, "GOPATH=/go")
	if isAlpine(tag) {
		c.Cmd = []string{"/bin/sh"}
	}
	return c
}

// atLeast compares releases.
func atLeast(release, than string) bool { return version.Compare("go"+release, "go"+than) >= 0 }
