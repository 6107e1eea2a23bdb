package dockerfile_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagectl/stagectl/builder/dockerfile"
)

// failing is a Dockerfile that can't be built, and all that is said about it.
type failing struct {
	name string
	text string
	with settings
	want []string
}

func testFailing(t *testing.T, tests []failing) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := convert(t, "Dockerfile", tt.text, tt.with)
			if err == nil {
				t.Fatalf("no error, want\n%s", strings.Join(tt.want, "\n"))
			}
			if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			if first := new(dockerfile.Error); !errors.As(err, &first) || first.File != "Dockerfile" {
				t.Errorf("%T is no *Error of the file", err)
			}
		})
	}
}

func TestSyntaxErrors(t *testing.T) {
	testFailing(t, []failing{
		{name: "nothing", text: "", want: []string{"Dockerfile: the file has no instructions"}},
		{name: "only comments", text: "# a\n\n  # b\n", want: []string{"Dockerfile: the file has no instructions"}},
		{name: "no stage", text: "ARG A=1\n", want: []string{"Dockerfile: the file has no stage: a FROM is missing"}},
		{name: "instruction before the first stage", text: "ARG A\nRUN x\nCOPY a b\nFROM alpine\n", want: []string{
			"Dockerfile:2: RUN x: there is no stage yet: only ARG may stand before the first FROM",
		}},
		{name: "unknown instruction", text: "FROM alpine\nCOPPY a b\n", want: []string{
			"Dockerfile:2: COPPY a b: unknown instruction: COPPY (did you mean COPY?)",
		}},
		{name: "instruction like no other", text: "FROM alpine\n  npm install\n", want: []string{
			"Dockerfile:2: npm install: unknown instruction: npm",
		}},
		{name: "line that should go on", text: "FROM alpine\nRUN a &&\n    b\n", want: []string{
			`Dockerfile:3: b: unknown instruction: b: the line before ends with &&, and goes on only with a \`,
		}},
		{name: "unknown flag", text: "FROM alpine\nCOPY --form=x a b\n", want: []string{
			"Dockerfile:2: COPY --form=x a b: unknown flag: --form (did you mean from?)",
		}},
		{name: "flag twice", text: "FROM alpine\nCOPY --chown=1 --chown=2 a b\n", want: []string{
			"Dockerfile:2: COPY --chown=1 --chown=2 a b: duplicate flag specified: --chown",
		}},
		{name: "flag without a value", text: "FROM alpine\nCOPY --chown a b\n", want: []string{
			"Dockerfile:2: COPY --chown a b: missing a value on flag: --chown",
		}},
		{name: "flag that is neither true nor false", text: "FROM alpine\nCOPY --link=maybe a b\n", want: []string{
			"Dockerfile:2: COPY --link=maybe a b: expecting boolean value for flag --link, not: maybe",
		}},
		{name: "copy of nothing", text: "FROM alpine\nCOPY a\n", want: []string{
			"Dockerfile:2: COPY a: COPY requires at least two arguments, but only one was provided. Destination could not be determined",
		}},
		{name: "here-document as a destination", text: "FROM alpine\nCOPY a <<EOF\nEOF\n", want: []string{
			"Dockerfile:2: COPY a <<EOF: COPY cannot accept a heredoc as a destination",
		}},
		{name: "here-document without an end", text: "FROM alpine\nRUN a\nRUN <<EOF\necho\nFROM x\n", want: []string{
			"Dockerfile:3: RUN <<EOF: unterminated heredoc: it ends with a line that is its name alone",
		}},
		{name: "name of a stage", text: "FROM alpine AS 1st\n", want: []string{
			`Dockerfile:1: FROM alpine AS 1st: invalid name for build stage: "1st", name can't start with a number or contain symbols`,
		}},
		{name: "from too much", text: "FROM alpine build\n", want: []string{
			"Dockerfile:1: FROM alpine build: FROM requires either one or three arguments",
		}},
		{name: "variable without a value", text: "FROM alpine\nENV A\n", want: []string{
			"Dockerfile:2: ENV A: ENV must have two arguments",
		}},
		{name: "variables with blanks", text: "FROM alpine\nENV A=1 B = 2\n", want: []string{
			`Dockerfile:2: ENV A=1 B = 2: Syntax error - can't find = in "B". Must be of the form: name=value: quote a value that has blanks in it`,
		}},
		{name: "shell that is not JSON", text: "FROM alpine\nSHELL /bin/bash -c\n", want: []string{
			"Dockerfile:2: SHELL /bin/bash -c: SHELL requires the arguments to be in JSON form",
		}},
		{name: "words that are no strings", text: "FROM alpine\nCMD [\"a\", 1]\n", want: []string{
			`Dockerfile:2: CMD ["a", 1]: when using JSON array syntax, arrays must be comprised of strings only`,
		}},
		{name: "health check", text: "FROM alpine\nHEALTHCHECK curl x\nHEALTHCHECK --interval=1 CMD x\nHEALTHCHECK --retries=-1 CMD x\n", want: []string{
			`Dockerfile:2: HEALTHCHECK curl x: Unknown type "CURL" in HEALTHCHECK (try CMD)`,
			`Dockerfile:3: HEALTHCHECK --interval=1 CMD x: time: missing unit in duration "1": write it as 5s or 1m30s`,
			"Dockerfile:4: HEALTHCHECK --retries=-1 CMD x: --retries cannot be negative (-1)",
		}},
		{name: "triggers", text: "FROM alpine\nONBUILD FROM x\nONBUILD ONBUILD RUN x\nONBUILD RNU x\nONBUILD ADD x\n", want: []string{
			"Dockerfile:2: ONBUILD FROM x: FROM isn't allowed as an ONBUILD trigger",
			"Dockerfile:3: ONBUILD ONBUILD RUN x: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
			"Dockerfile:4: ONBUILD RNU x: unknown instruction: RNU (did you mean RUN?)",
			"Dockerfile:5: ONBUILD ADD x: ADD requires at least two arguments, but only one was provided. Destination could not be determined",
		}},
		{name: "mount", text: "FROM alpine\nRUN --mount=type=bind,from=$X,target=/x y\nRUN --network=bridge x\nRUN --security=none x\n", want: []string{
			"Dockerfile:2: RUN --mount=type=bind,from=$X,target=/x y: 'from' doesn't support variable expansion, define alias stage instead",
			`Dockerfile:3: RUN --network=bridge x: invalid network mode "bridge": there are default, none and host`,
			`Dockerfile:4: RUN --security=none x: security "none" is not valid`,
		}},
		{name: "not text", text: "FROM alpine\nRUN \xff\nRUN \x00\n", want: []string{
			"Dockerfile:2: the line is not UTF-8",
			"Dockerfile:3: the line has a NUL in it",
		}},
		{name: "front end that would be run", text: "# syntax=example.com/front/end:1\nFROM alpine\n", want: []string{
			"Dockerfile:1: # syntax=example.com/front/end:1: the front end example.com/front/end:1 is an image, and is not run: " +
				"remove the line, if docker/dockerfile understands the rest",
		}},
		{name: "front end that looks like ours", text: "# syntax=docker/dockerfile-x\nFROM alpine\n", want: []string{
			"Dockerfile:1: # syntax=docker/dockerfile-x: the front end docker/dockerfile-x is an image, and is not run: " +
				"remove the line, if docker/dockerfile understands the rest",
		}},
		{name: "escape", text: "# escape=^\nFROM alpine\n", want: []string{"Dockerfile:1: # escape=^: malformed escape \"^\": it is \\ or `"}},
		{name: "directive twice", text: "# escape=\\\n# escape=`\nFROM alpine\n", want: []string{
			"Dockerfile:2: only one escape parser directive can be used",
		}},
		{name: "several at once", text: "FROM alpine\nENV A\nCOPY a\n\nRUN <<X\nX\nENV B\nFRUM x\nCMD [1]\n", want: []string{
			"Dockerfile:2: ENV A: ENV must have two arguments",
			"Dockerfile:3: COPY a: COPY requires at least two arguments, but only one was provided. Destination could not be determined",
			"Dockerfile:7: ENV B: ENV must have two arguments",
			"Dockerfile:8: FRUM x: unknown instruction: FRUM (did you mean FROM?)",
			"Dockerfile:9: CMD [1]: when using JSON array syntax, arrays must be comprised of strings only",
		}},
		{name: "instruction of several lines", text: "FROM alpine\nENV \\\n  # comment\n  A\nRUN x\nENV B\n", want: []string{
			"Dockerfile:2: ENV \\: ENV must have two arguments",
			"Dockerfile:6: ENV B: ENV must have two arguments",
		}},
	})
}

func TestStageErrors(t *testing.T) {
	testFailing(t, []failing{
		{name: "base that is not there", text: "FROM golang AS build\nFROM biuld\n", want: []string{
			"Dockerfile:2: FROM biuld: there is no stage biuld (did you mean build?), and as an image: resolving biuld: no such image",
		}},
		{name: "base that is malformed", text: "FROM Alpine:X:Y\n", want: []string{
			`Dockerfile:1: FROM Alpine:X:Y: malformed image reference "Alpine:X:Y": it is NAME[:TAG][@DIGEST], the name in lower case, as alpine:3.20`,
		}},
		{name: "base without a variable", text: "FROM alpine AS a\nARG TAG=1\nFROM alpine:$TAG\n", want: []string{
			`Dockerfile:3: FROM alpine:$TAG: malformed image reference "alpine:": ` +
				"ARG TAG has no value for a FROM: it stands before the first FROM, with a default, or --build-arg TAG=… gives one",
		}},
		{name: "base of a variable that is not set", text: "ARG BASE\nFROM $BASE\n", want: []string{
			"Dockerfile:2: FROM $BASE: the base is empty: ARG BASE has no value for a FROM: it stands before the first FROM, with a default, or --build-arg BASE=… gives one",
		}},
		{name: "base of a variable that is not there", text: "ARG BASE=alpine\nFROM $BSAE\n", want: []string{
			"Dockerfile:2: FROM $BSAE: the base is empty: there is no ARG BSAE before the first FROM (did you mean BASE?)",
		}},
		{name: "base that is required", text: "ARG BASE\nFROM ${BASE:?needed}\n", want: []string{
			`Dockerfile:2: FROM ${BASE:?needed}: failed to process "${BASE:?needed}": BASE: needed`,
		}},
		{name: "global argument", text: "ARG A=${B:?needed}\nFROM alpine\n", want: []string{
			`Dockerfile:1: ARG A=${B:?needed}: failed to process "${B:?needed}": B: needed`,
		}},
		{name: "base by index", text: "FROM alpine\nFROM 0\n", want: []string{
			"Dockerfile:2: FROM 0: a base is an image or the name of a stage, not an index: name that stage with AS",
		}},
		{name: "platform", text: "FROM --platform=windows/amd64 alpine\nFROM --platform=$ARCH alpine\nFROM --platform=linux/x alpine\n", want: []string{
			`Dockerfile:1: FROM --platform=windows/amd64 alpine: unknown platform "windows/amd64": only linux images are made`,
			"Dockerfile:2: FROM --platform=$ARCH alpine: --platform is empty: there is no ARG ARCH before the first FROM",
			`Dockerfile:3: FROM --platform=linux/x alpine: unknown platform "linux/x": the architecture is one of ` +
				"386, amd64, arm, arm64, loong64, mips64, mips64le, ppc64, ppc64le, riscv64, s390x",
		}},
		{name: "target", text: "FROM alpine AS build\nFROM alpine\n", with: settings{Target: "biuld"}, want: []string{
			`Dockerfile: there is no target stage "biuld" (did you mean build?): there are build, and the indexes from 0 to 1`,
		}},
		{name: "target by index", text: "FROM alpine\n", with: settings{Target: "1"}, want: []string{
			`Dockerfile: there is no target stage "1": there are the indexes from 0 to 0`,
		}},

		{name: "copy from an unknown index", text: "FROM alpine\nCOPY --from=1 a b\nCOPY --from=-1 a b\n", want: []string{
			"Dockerfile:2: COPY --from=1 a b: there is no stage 1: there are the indexes from 0 to 0",
			"Dockerfile:3: COPY --from=-1 a b: there is no stage -1: there are the indexes from 0 to 0",
		}},
		{name: "copy from an image that is not there", text: "FROM golang AS builder\nFROM alpine\nCOPY --from=build a b\n", want: []string{
			"Dockerfile:3: COPY --from=build a b: there is no stage build (did you mean builder?), and as an image: resolving build: no such image",
		}},
		{name: "copy from no name at all", text: "FROM golang AS builder\nFROM alpine\nCOPY --from=Build! a b\n", want: []string{
			`Dockerfile:3: COPY --from=Build! a b: there is no stage Build! (did you mean builder?), and it is no image: malformed image reference "Build!": it is NAME[:TAG][@DIGEST], the name in lower case, as alpine:3.20`,
		}},
		{name: "copy from a variable", text: "ARG S=0\nFROM alpine\nCOPY --from=$S a b\n", want: []string{
			"Dockerfile:3: COPY --from=$S a b: --from has no variables: make a stage with FROM … AS, which has, and copy from that",
		}},
		{name: "copy from its own stage", text: "FROM alpine AS a\nCOPY --from=a x y\nFROM alpine\nCOPY --from=1 x y\n", want: []string{
			"Dockerfile:2: COPY --from=a x y: stage a needs itself: what it has already needs no --from",
			"Dockerfile:4: COPY --from=1 x y: stage 1 needs itself: what it has already needs no --from",
		}},
		{name: "copy from a later stage", text: "FROM alpine AS a\nCOPY --from=b x y\nFROM alpine AS b\nFROM a\nCOPY --from=b x y\n", want: []string{
			"Dockerfile:2: COPY --from=b x y: stage b comes later than a: it has to come first",
		}},
		{name: "cycle", text: "FROM alpine AS a\nCOPY --from=c x y\nFROM a AS b\nFROM alpine AS c\nCOPY --from=b x y\n", want: []string{
			"Dockerfile:2: COPY --from=c x y: circular dependency: stage a needs c, which needs b, which needs a",
		}},
		{name: "cycle of a mount", text: "FROM alpine AS a\nRUN --mount=from=b,target=/b x\nFROM alpine AS b\nCOPY --from=a x y\n", want: []string{
			"Dockerfile:2: RUN --mount=from=b,target=/b x: circular dependency: stage a needs b, which needs a",
		}},
		{name: "mount from an index", text: "FROM alpine\nFROM alpine\nRUN --mount=from=0,target=/b x\n", want: []string{
			"Dockerfile:3: RUN --mount=from=0,target=/b x: a mount is from an image or the name of a stage, not an index 0: name that stage with AS",
		}},
		{name: "trigger of the base", text: "FROM onbuild\nRUN x\n", with: settings{Bases: onbuild("COPY a", "RNU x", "COPY --from=7 a b", "ADD --chmod=9 a b")}, want: []string{
			"Dockerfile:1: ONBUILD COPY a: COPY requires at least two arguments, but only one was provided. Destination could not be determined",
			"Dockerfile:1: ONBUILD RNU x: unknown instruction: RNU (did you mean RUN?)",
			"Dockerfile:1: ONBUILD COPY --from=7 a b: there is no stage 7: there are the indexes from 0 to 0",
			`Dockerfile:1: ONBUILD ADD --chmod=9 a b: --chmod: mode "9" is neither octal, of at most 7777, nor symbolic, as u+x,go=r`,
		}},
		{name: "trigger that is none", text: "FROM onbuild\n", with: settings{Bases: onbuild("", "RUN a\nRUN b")}, want: []string{
			"Dockerfile:1: ONBUILD: file with no instructions",
			"Dockerfile:1: ONBUILD RUN a: a trigger is one instruction",
		}},
	})
}

func onbuild(triggers ...string) map[string]v1.Config {
	return map[string]v1.Config{"onbuild": {Env: []string{"PATH=/bin"}, OnBuild: triggers}}
}

func TestInstructionErrors(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"source above the context", "COPY ../x /", "../x is outside the build context: name a directory above as the context, or copy from another with --build-context"},
		{"source that goes above", "ADD a/../../x b /", "a/../../x is outside the build context: name a directory above as the context, or copy from another with --build-context"},
		{"source above the root", "COPY /../x /", "/../x is outside the build context: name a directory above as the context, or copy from another with --build-context"},
		{"copy of a URL", "COPY https://example.com/x /", "https://example.com/x is not copied by COPY: ADD downloads it"},
		{"copy of a repository", "COPY git@example.com:x/y.git /", "git@example.com:x/y.git is not copied by COPY: ADD downloads it"},
		{"here-document in a directory", "COPY <<a/b /x\na/b", `"a/b" is not the name of a file: a here-document is called what its delimiter is`},
		{"mode", "COPY --chmod=10000 a b", `--chmod: mode "10000" is neither octal, of at most 7777, nor symbolic, as u+x,go=r`},
		{"symbolic mode", "COPY --chmod=u+y a b", `--chmod: mode "u+y" is neither octal, of at most 7777, nor symbolic, as u+x,go=r`},
		{"owner", "COPY --chown=a:b:c a b", `--chown: malformed user "a:b:c": it is USER or USER:GROUP, by name or number`},
		{"owner of a link", "COPY --link --chown=app a b", "--chown=app has a name, which --link can't look up: it takes numbers, UID:GID"},
		{"excluded pattern", "COPY --exclude=[ a b", "--exclude: syntax error in pattern"},
		{"checksum of a file", "ADD --checksum=sha256:0 a b", "--checksum is of what is downloaded, and a is in the build context"},
		{"checksum of several", "ADD --checksum=sha256:0 https://a https://b /c/", "--checksum is of one source"},
		{"checksum", "ADD --checksum=md5:0 https://example.com/a b", `--checksum "md5:0" is not a digest, as sha256: and 64 hexadecimal digits`},
		{"commit", "ADD --checksum=sha256:0 https://example.com/a.git b", `--checksum "sha256:0" is not a commit of a repository`},
		{"expansion", "COPY ${A:?needed}x b", `failed to process "${A:?needed}x": A: needed`},
		{"quote", `WORKDIR "/a`, `failed to process "\"/a": unexpected end of statement while looking for matching double-quote: a quote is written \" where it is meant`},
		{"port", "EXPOSE 80/http", `malformed port "80/http": the protocol is tcp, udp or sctp`},
		{"port that is too large", "EXPOSE 70000", `malformed port "70000": ports go from 1 to 65535, the lower one first`},
		{"port that is none", "EXPOSE http", `malformed port "http": it is PORT or PORT/udp, as 8080 or 53/udp`},
		{"range", "EXPOSE 90-80", `malformed port "90-80": ports go from 1 to 65535, the lower one first`},
		{"port of the host", "EXPOSE x:80", `malformed port "x:80": x is no port of the host`},
		{"address of the host", "EXPOSE 1.2.3:80:80", `malformed port "1.2.3:80:80": 1.2.3 is no IP address`},
		{"volume", "VOLUME data", `malformed volume "data": it is an absolute path in the image`},
		{"volume of nothing", "VOLUME $NONE", "the path of a volume is empty"},
		{"user of nothing", "USER $NONE", "the user is empty: root is USER 0"},
		{"user", "USER a:b:c", `malformed user "a:b:c": it is USER or USER:GROUP, by name or number`},
		{"signal", "STOPSIGNAL SIGNOPE", `malformed signal "SIGNOPE": it is a name as SIGTERM or a number from 1 to 64`},
		{"variable without a name", "ENV $NONE=x", `malformed variable "=x": it is KEY=VALUE, and the key has no blanks`},
		{"variable with blanks", `ENV "a b"=x`, `malformed variable "a b=x": it is KEY=VALUE, and the key has no blanks`},
		{"label without a name", "LABEL $NONE=x", `malformed label "=x": it has no key`},
		{"required argument", "ARG X=${NONE:?needed}", `failed to process "${NONE:?needed}": NONE: needed`},
		{"command of nothing", "RUN []", "there is no command"},
		{"program elsewhere", "RUN <<a/b\n#!/bin/sh\na/b", `"a/b" is not the name of a file: a here-document is called what its delimiter is`},
		{"mount over everything", "RUN --mount=type=tmpfs,target=/ x", `--mount: target "/" would hide the whole stage`},
		{"mount of nowhere", "RUN --mount=type=tmpfs x", "--mount: target is missing"},
		{"mount from above", "RUN --mount=source=../x,target=/x y", "--mount: ../x is outside the build context"},
		{"unknown mount", "RUN --mount=type=bnid,target=/x y", `unsupported mount type "bnid" (did you mean bind?)`},
		{"mount's unknown option", "RUN --mount=type=bind,trget=/x y", "unexpected key 'trget' in 'trget=/x' (did you mean target?)"},
		{"mount's owner", "RUN --mount=type=cache,target=/x,uid=4294967295 y", "--mount: owner 4294967295 is too large"},
		{"mount's mode", "RUN --mount=type=cache,target=/x,mode=77777 y", `--mount: mode "77777" is neither octal, of at most 7777, nor symbolic, as u+x,go=r`},
		{"secret of nothing", "RUN --mount=type=secret x", "invalid secret mount. one of source, target required"},
		{"socket with a source", "RUN --mount=type=ssh,source=/x y", "--mount: an ssh socket has no source"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := convert(t, "x/Dockerfile", "FROM alpine\nRUN x\n\n"+tt.line+"\n", settings{})
			shown, _, _ := strings.Cut(tt.line, "\n")
			if want := "x/Dockerfile:4: " + shown + ": " + tt.want; err == nil || err.Error() != want {
				t.Errorf("got error\n%v, want\n%s", err, want)
			}
		})
	}
}

// Errors of several stages, and of what they are made from, come together.
func TestSeveralErrors(t *testing.T) {
	testFailing(t, []failing{{
		name: "several",
		text: `FROM golang AS build
COPY --chmod=9 a b
COPY --from=nowhere a b
FROM alpine:$TAG AS broken
EXPOSE http
FROM broken
COPY --from=build a b
COPY --from=9 a b
USER a b c
RUN --mount=type=tmpfs x
`,
		want: []string{
			`Dockerfile:2: COPY --chmod=9 a b: --chmod: mode "9" is neither octal, of at most 7777, nor symbolic, as u+x,go=r`,
			"Dockerfile:3: COPY --from=nowhere a b: resolving nowhere: no such image",
			`Dockerfile:4: FROM alpine:$TAG AS broken: malformed image reference "alpine:": there is no ARG TAG before the first FROM`,
			`Dockerfile:5: EXPOSE http: malformed port "http": it is PORT or PORT/udp, as 8080 or 53/udp`,
			"Dockerfile:8: COPY --from=9 a b: there is no stage 9: there are build, broken, and the indexes from 0 to 2",
			`Dockerfile:9: USER a b c: malformed user "a b c": it is USER or USER:GROUP, by name or number`,
			"Dockerfile:10: RUN --mount=type=tmpfs x: --mount: target is missing",
		},
	}})
}

func TestReadError(t *testing.T) {
	_, err := dockerfile.Parse("Dockerfile", io.MultiReader(strings.NewReader("FROM"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "reading Dockerfile: unexpected EOF" {
		t.Errorf("got error %v", err)
	}
}

func TestOptionErrors(t *testing.T) {
	tests := []struct {
		name string
		with dockerfile.Options
		want string
	}{
		{"no platform", dockerfile.Options{}, `malformed platform "/": it is OS/ARCH or OS/ARCH/VARIANT, as linux/arm64 or linux/arm/v7`},
		{"argument", dockerfile.Options{BuildArgs: map[string]string{"A B": ""}}, `malformed build argument "A B=": it is KEY=VALUE`},
		{"front end", dockerfile.Options{BuildArgs: map[string]string{"BUILDKIT_SYNTAX": "x/y"}}, "build argument BUILDKIT_SYNTAX: the front end x/y is an image, and is not run: remove the line, if docker/dockerfile understands the rest"},
		{"remote context", dockerfile.Options{BuildContexts: map[string]string{"x": "https://example.com/x.git"}}, "build context x: https://example.com/x.git is neither a directory nor an image, which alone are known: fetch it, and name the directory"},
		{"context of nothing", dockerfile.Options{BuildContexts: map[string]string{"x": ""}}, "build context x: it is NAME=DIRECTORY or NAME=docker-image://REFERENCE"},
		{"layout of nothing", dockerfile.Options{BuildContexts: map[string]string{"x": "oci-layout://"}}, "build context x: oci-layout:// is followed by the directory"},
		{"image of a context", dockerfile.Options{BuildContexts: map[string]string{"x": "docker-image://X"}}, `build context x: malformed image reference "X": it is NAME[:TAG][@DIGEST], the name in lower case, as alpine:3.20`},
	}
	f, err := dockerfile.Parse("Dockerfile", strings.NewReader("FROM alpine\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name != "no platform" {
				tt.with.BuildPlatform = v1.Platform{OS: "linux", Architecture: "amd64"}
				tt.with.TargetPlatform = tt.with.BuildPlatform
			}
			if _, err := f.Stages(tt.with); err == nil || err.Error() != tt.want {
				t.Errorf("got error %v, want %s", err, tt.want)
			}
		})
	}
}

// What is said about an image is said with its cause.
func TestResolveErrorIsWrapped(t *testing.T) {
	f, err := dockerfile.Parse("Dockerfile", strings.NewReader("FROM alpine\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := settings{}
	options := s.options(t, nil)
	options.Resolve = func(string, v1.Platform) (*v1.ConfigFile, error) { return nil, io.ErrClosedPipe }
	_, err = f.Stages(options)
	if first := new(dockerfile.Error); !errors.Is(err, io.ErrClosedPipe) || !errors.As(err, &first) || first.Line != 1 || first.Instruction != "FROM alpine" {
		t.Errorf("got error %#v", err)
	}
}
