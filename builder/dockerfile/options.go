package dockerfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/plan"
)

// Options are what a Dockerfile is built with.
type Options struct {
	// Target is the name or index of the stage to end with; empty is the last.
	Target string
	// BuildArgs are the values of ARGs.
	BuildArgs map[string]string
	// BuildContexts stand in for what their names would be: a stage, the image
	// of a FROM, or of --from. A value is docker-image://REF, oci-layout://DIR
	// or a directory.
	BuildContexts map[string]string
	// BuildPlatform is the machine's, TargetPlatform that of the image.
	BuildPlatform, TargetPlatform v1.Platform
	// Epoch, unless zero, is the value of ARG SOURCE_DATE_EPOCH.
	Epoch time.Time
	// Resolve returns the configuration of an image that a stage is made from
	// or that files are copied from. ErrNoConfig goes on with an empty one,
	// any other error is one of the Dockerfile. Nil is always ErrNoConfig.
	Resolve func(ref string, p v1.Platform) (*v1.ConfigFile, error)
	// Warn, unless nil, gets what is likely to be a mistake.
	Warn func(*Error)
}

// autoArgs are the ARGs that have a value without being given one.
func (o *Options) autoArgs(target string) environ {
	if target == "" {
		target = "default"
	}
	build, to := plan.Normalize(o.BuildPlatform), plan.Normalize(o.TargetPlatform)
	var env environ
	for _, kv := range [][2]string{
		{"BUILDPLATFORM", platformText(build)}, {"BUILDOS", build.OS}, {"BUILDOSVERSION", build.OSVersion},
		{"BUILDARCH", build.Architecture}, {"BUILDVARIANT", build.Variant},
		{"TARGETPLATFORM", platformText(to)}, {"TARGETOS", to.OS}, {"TARGETOSVERSION", to.OSVersion},
		{"TARGETARCH", to.Architecture}, {"TARGETVARIANT", to.Variant}, {"TARGETSTAGE", target},
	} {
		value, given := o.BuildArgs[kv[0]]
		if !given {
			value = kv[1]
		}
		env.set(kv[0], value)
	}
	return env
}

func platformText(p v1.Platform) string {
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	return text
}

// buildArg is the value that was given for an ARG.
func (o *Options) buildArg(key string) (string, bool) {
	value, ok := o.BuildArgs[key]
	if !ok && key == epochArg && !o.Epoch.IsZero() {
		return strconv.FormatInt(o.Epoch.Unix(), 10), true
	}
	return value, ok
}

const epochArg = "SOURCE_DATE_EPOCH"

// proxies are the variables that a RUN has without any ARG.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}

// proxyEnv are the variables of the proxies that were given, in both spellings,
// since programs differ in which of them they read.
func (o *Options) proxyEnv() []variable {
	var env []variable
	for _, proxy := range proxies {
		value := ""
		for _, key := range slices.Sorted(maps.Keys(o.BuildArgs)) {
			if strings.EqualFold(key, proxy) {
				value = o.BuildArgs[key]
			}
		}
		if value != "" {
			env = append(env, variable{proxy, value}, variable{strings.ToLower(proxy), value})
		}
	}
	return env
}

// needsNoARG tells whether a build argument has an effect of its own.
func needsNoARG(key string, auto environ) bool {
	_, isAuto := auto.Get(key)
	isProxy := slices.ContainsFunc(proxies, func(p string) bool { return strings.EqualFold(p, key) })
	return isAuto || isProxy || strings.HasPrefix(key, "BUILDKIT_") || key == epochArg
}

// check refuses options that no Dockerfile can be built with.
func (o *Options) check() error {
	for _, p := range []v1.Platform{o.BuildPlatform, o.TargetPlatform} {
		if _, err := plan.ParsePlatform(platformText(p)); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(o.BuildArgs)) {
		if _, _, err := plan.ParseKeyValue("build argument", key+"="+o.BuildArgs[key]); err != nil {
			return err
		}
	}
	if ref, ok := o.BuildArgs["BUILDKIT_SYNTAX"]; ok {
		if err := checkSyntax(ref); err != nil {
			return fmt.Errorf("build argument BUILDKIT_SYNTAX: %w", err)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(o.BuildContexts)) {
		if _, err := o.context(key); err != nil {
			return err
		}
	}
	return nil
}

// origin is where files or a base come from.
type origin struct {
	kind  plan.FromKind
	name  string
	stage *stage // of a stage
}

// context is the build context of that name, or nil.
func (o *Options) context(called string) (*origin, error) {
	if strings.EqualFold(called, plan.Scratch) || strings.EqualFold(called, "context") {
		return nil, nil
	}
	key := contextKey(called)
	for _, given := range slices.Sorted(maps.Keys(o.BuildContexts)) {
		if contextKey(given) != key {
			continue
		}
		from, err := parseContext(given, o.BuildContexts[given])
		if err != nil {
			return nil, fmt.Errorf("build context %s: %w", given, err)
		}
		return from, nil
	}
	return nil, nil
}

// contextKey makes one of the names that an image has: alpine is
// docker.io/library/alpine:latest.
func contextKey(s string) string {
	ref, err := name.ParseReference(s)
	if err != nil {
		return strings.ToLower(s)
	}
	return ref.Name()
}

var remote = []string{"http://", "https://", "git://", "ssh://", "git@", "target:"}

func parseContext(given, value string) (*origin, error) {
	for _, scheme := range remote {
		if strings.HasPrefix(value, scheme) {
			return nil, fmt.Errorf("%s is neither a directory nor an image, which alone are known: fetch it, and name the directory", value)
		}
	}
	if ref, ok := strings.CutPrefix(value, "docker-image://"); ok {
		return imageOrigin(ref)
	}
	if dir, ok := strings.CutPrefix(value, "oci-layout://"); ok {
		if dir == "" {
			return nil, errors.New("oci-layout:// is followed by the directory")
		}
		return &origin{kind: plan.FromImage, name: "oci:" + dir}, nil
	}
	if value == "" {
		return nil, errors.New("it is NAME=DIRECTORY or NAME=docker-image://REFERENCE")
	}
	return &origin{kind: plan.FromContext, name: given}, nil
}

// ownSchemes are what names a base for stagectl alone, and an image of Docker
// Hub for Dockerfiles.
var ownSchemes = []string{"oci:", "docker-archive:"}

// malformedError is of the reference that it is.
type malformedError string

func (e malformedError) Error() string {
	return fmt.Sprintf("malformed image reference %q: it is NAME[:TAG][@DIGEST], the name in lower case, as alpine:3.20", string(e))
}

// imageOrigin reads the reference of an image.
func imageOrigin(ref string) (*origin, error) {
	if ref == plan.Scratch || ref == plan.Static {
		return &origin{kind: plan.FromImage, name: ref}, nil
	}
	if _, err := name.ParseReference(ref); err != nil {
		return nil, malformedError(ref)
	}
	for _, scheme := range ownSchemes {
		if strings.HasPrefix(ref, scheme) {
			ref = "docker.io/library/" + ref
		}
	}
	return &origin{kind: plan.FromImage, name: ref}, nil
}
