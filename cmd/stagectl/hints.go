package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagectl/stagectl/builder"
	"github.com/stagectl/stagectl/builder/base"
	"github.com/stagectl/stagectl/builder/cache"
	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/registry"
)

// printError writes what went wrong, and a hint where the remedy is known. The
// go command's own output goes first, unchanged.
func (a *app) printError(err error) {
	style := newStyle(isTerminal(a.Stderr), a.Getenv)
	if ce := (*compile.Error)(nil); errors.As(err, &ce) && len(ce.Output) > 0 {
		_, _ = a.Stderr.Write(ce.Output)
	}
	_, _ = fmt.Fprintf(a.Stderr, "%s %s\n", style.paint(red, "stagectl:"), message(err))
	if h := hint(err); h != "" {
		_, _ = fmt.Fprintf(a.Stderr, "%s %s\n", style.paint(cyan, "hint:"), h)
	}
}

// message has joined errors one below the other.
func message(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "\n          ")
}

// hint returns the remedy for err, or nothing.
func hint(err error) string {
	for _, h := range []func(error) string{flagHint, compileHint, imageHint, registryHint, fileHint} {
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
	if errors.Is(err, registry.ErrOffline) {
		return "run once without --offline to fill the cache"
	}
	if te := (*transport.Error)(nil); errors.As(err, &te) {
		host := ""
		if te.Request != nil {
			host = strings.Replace(te.Request.URL.Host, "index.docker.io", "docker.io", 1)
		}
		switch te.StatusCode {
		case http.StatusUnauthorized:
			return "log in with `docker login " + host + "`, or check the credentials; some registries say this of what does not exist"
		case http.StatusForbidden:
			return "the credentials for " + host + " do not allow this; log in with others by `docker login " + host + "`"
		case http.StatusNotFound:
			return "check the name and the tag"
		case http.StatusTooManyRequests:
			return "the registry limits requests: log in, wait, or use --registry-mirror"
		}
	}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "check the name of the registry and the network; --registry-mirror names another place, --base static needs none"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check the host and the port"
	case strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "pass --insecure-registry HOST for a registry without a trusted certificate"
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
