package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/golang"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/registry"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/script"
)

// printError writes what went wrong, and a hint where the remedy is known. The
// go command's own output goes first, unchanged.
func (a *app) printError(err error) {
	style := newStyle(isTerminal(a.Stderr), a.Getenv)
	if ce := (*compile.Error)(nil); errors.As(err, &ce) && len(ce.Output) > 0 {
		_, _ = a.Stderr.Write(ce.Output)
	}
	_, _ = fmt.Fprintf(a.Stderr, "%s %s\n", style.paint(red, "stagectl:"), message(err))
	for line := range strings.SplitSeq(hint(err), "\n") {
		if line != "" {
			_, _ = fmt.Fprintf(a.Stderr, "%s %s\n", style.paint(cyan, "hint:"), line)
		}
	}
}

// message has joined errors one below the other. What they repeat of files and
// registries cannot move the cursor.
func message(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	for i := range lines {
		lines[i] = visible(strings.ReplaceAll(lines[i], "\t", "    "))
	}
	return strings.Join(lines, "\n          ")
}

// hint returns the remedies for err, a line each, or nothing.
func hint(err error) string {
	for _, h := range []func(error) string{flagHint, dockerHint, compileHint, imageHint, registryHint, fileHint} {
		if text := h(err); text != "" {
			return text
		}
	}
	return ""
}

func flagHint(err error) string {
	switch {
	case errors.Is(err, errNoCacheDir):
		return "set HOME, or name a directory with --cache-dir"
	case errors.Is(err, errPushNeedsTag):
		return "add -t registry.example.com/team/{name}:v1"
	case errors.Is(err, errNameNeeded):
		return "write {name} in it, as -t registry.example.com/team/{name}:v1; --single puts all binaries into one image"
	}
	return ""
}

func dockerHint(err error) string {
	if se := (*builder.SourceError)(nil); errors.As(err, &se) {
		if se.Ignored {
			return "take it out of the ignore file, or add a line !" + strings.TrimPrefix(se.Source, "/")
		}
		if se.Link != "" {
			return "put the file itself there, or name its directory with --build-context and copy from that"
		}
		return "check the path, which starts at the directory of the build context: the last argument of build"
	}
	if me := (*builder.MissingError)(nil); errors.As(err, &me) && me.Kind == plan.FromStage {
		return fmt.Sprintf("`stagectl build --target %s -o stage.tar` builds the stage alone, and `stagectl inspect stage.tar` lists its files", me.From)
	}
	if ue := (*rootfs.UnknownError)(nil); errors.As(err, &ue) {
		return "give numbers, as 1000:1000, or make the " + ue.Kind + " before, as RUN adduser does"
	}
	if ge := (*builder.GolangError)(nil); errors.As(err, &ge) {
		return "end with a stage on a small base, as FROM scratch, that copies the program: COPY --from; or, where it is meant, see that the image can be pulled"
	}
	if text := downloadHint(err); text != "" {
		return text
	}
	if ge := (*golang.CgoError)(nil); errors.As(err, &ge) {
		return fmt.Sprintf("CGO_ENABLED=0 compiles without, where %s can do without C", ge.Package)
	}
	ce := (*builder.ContainerError)(nil)
	if !errors.As(err, &ce) {
		return ""
	}
	var hints, where []string
	for _, f := range ce.Findings {
		if f.Hint != "" && !slices.Contains(hints, f.Hint) {
			hints, where = append(hints, f.Hint), append(where, f.Where())
		}
	}
	if len(ce.Findings) > 1 {
		for i := range hints {
			hints[i] = where[i] + ": " + hints[i] // or nobody knows what it is about
		}
	}
	if slices.ContainsFunc(ce.Findings, func(f builder.Finding) bool { return f.Class == script.Container }) {
		hints = append(hints, "`stagectl plan -f` shows which lines are native")
	}
	return strings.Join(hints, "\n")
}

// downloadHint returns the remedy for an ADD of a URL that fails.
func downloadHint(err error) string {
	var (
		status   *registry.StatusError
		metadata *registry.MetadataError
		sum      *builder.ChecksumError
	)
	switch {
	case errors.Is(err, builder.ErrOffline):
		return "run once without --offline to fill the cache"
	case errors.As(err, &sum):
		return "if the file is meant to be another one by now, write that checksum; if not, somebody has changed it"
	case errors.As(err, &metadata):
		return "a build has no business there; what it needs, take from a file or with --secret"
	case strings.Contains(err.Error(), "(publickey)"):
		return "--ssh default gives git the ssh agent that SSH_AUTH_SOCK names"
	case strings.Contains(err.Error(), "could not read Username"):
		return "there is no such repository, or it wants credentials: those of ~/.netrc are used, and by ssh those of --ssh default"
	case errors.As(err, &status) && status.Code >= 500:
		return "the server was asked several times: wait until it is in order again"
	case errors.As(err, &status):
		return "check the URL; no credentials are sent but for those in it"
	}
	return ""
}

func compileHint(err error) string {
	ce := (*compile.Error)(nil)
	switch {
	case errors.Is(err, exec.ErrNotFound) && errors.As(err, &ce):
		return "install Go from https://go.dev/dl, or put it on PATH"
	case errors.Is(err, compile.ErrTooOld):
		return "install a later release from https://go.dev/dl; `go version` tells which one this is"
	}
	return ""
}

func imageHint(err error) string {
	if de := (*builder.DynamicError)(nil); errors.As(err, &de) {
		return "unset CGO_ENABLED, take a base that has the library, or pass --allow-dynamic"
	}
	if pe := (*base.PlatformError)(nil); errors.As(err, &pe) {
		return "choose with --platform, or take another --base"
	}
	if te := (*builder.TypeError)(nil); errors.As(err, &te) && te.Have == "directory" {
		return fmt.Sprintf("end the destination with a slash to copy into the directory: %s/", te.Path)
	}
	if errors.Is(err, builder.ErrOutside) {
		return "run stagectl from the directory above, or name the source by its absolute path"
	}
	return ""
}

func registryHint(err error) string {
	if te := (*transport.Error)(nil); errors.As(err, &te) {
		if text := answerHint(te); text != "" {
			return text
		}
	}
	var dns *net.DNSError
	switch pe := (*registry.PrivateError)(nil); {
	case errors.Is(err, registry.ErrOffline):
		return "run once without --offline to fill the cache"
	case errors.As(err, &pe):
		return "only registries that are at a private address themselves may do that; a proxy that is named in HTTPS_PROXY may reach it"
	case errors.Is(err, registry.ErrPlain):
		return "pass --insecure-registry HOST for a host without TLS, if everybody on the way to it may see the credentials"
	case errors.As(err, &dns):
		return "check the name of the registry and the network; --registry-mirror names another place, --base static needs none"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check the host and the port"
	case errors.Is(err, registry.ErrStalled), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
		return "it was tried several times: check the network and what is between here and the registry"
	case strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "pass --insecure-registry HOST for a registry without a trusted certificate"
	}
	return ""
}

// answerHint returns the remedy for what a registry or its token server says.
func answerHint(te *transport.Error) string {
	host, login := "the registry", "docker login"
	if te.Request != nil && strings.HasPrefix(te.Request.URL.Path, "/v2/") { // not a token server's
		host = strings.Replace(te.Request.URL.Host, "index.docker.io", "docker.io", 1)
		login += " " + host
	}
	switch te.StatusCode {
	case http.StatusBadRequest:
		return "the registry does not take this: check the name, and whether it stores OCI images"
	case http.StatusUnauthorized:
		return "log in with `" + login + "`, or check the credentials; some registries say this of what does not exist"
	case http.StatusForbidden:
		return "the credentials for " + host + " do not allow this; log in with others by `" + login + "`"
	case http.StatusNotFound:
		return "check the name and the tag"
	case http.StatusRequestEntityTooLarge:
		return "the registry, or a proxy before it, limits how large a layer may be"
	case http.StatusTooManyRequests:
		return "the registry limits requests: log in, wait, or use --registry-mirror"
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "the registry was asked several times: wait until it is in order again, or use --registry-mirror"
	}
	return ""
}

func fileHint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full; `stagectl cache prune` frees what builds have cached"
	case errors.Is(err, cache.ErrCorrupt):
		return "it has been dropped: run the command again"
	case errors.Is(err, fs.ErrPermission):
		return "check the permissions of the file and its directory"
	}
	return ""
}
