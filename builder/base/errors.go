package base

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagectl/stagectl/builder/registry"
)

// answer is an error about something in a registry, on one line.
type answer struct {
	// what was asked for.
	what string
	err  error
}

func (a *answer) Error() string {
	te := (*transport.Error)(nil)
	if !errors.As(a.err, &te) {
		return a.what + ": " + oneLine(registry.Redact(a.err.Error()))
	}
	// Its own words may be a whole page of HTML.
	text := fmt.Sprintf("%s: %d %s", a.what, te.StatusCode, http.StatusText(te.StatusCode))
	for _, d := range te.Errors {
		text += ", " + oneLine(registry.Redact(string(d.Code)+": "+d.Message))
	}
	return text
}

// Unwrap returns the cause.
func (a *answer) Unwrap() error { return a.err }

// oneLine shortens text that comes from elsewhere.
func oneLine(s string) string {
	const most = 500
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// anyOf are the errors of several places of which one would have been enough.
type anyOf []error

func (e anyOf) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns all causes.
func (e anyOf) Unwrap() []error { return e }
