package registry

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// redactedText stands for what was taken out.
const redactedText = "REDACTED"

var (
	urlPattern = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'<>]+`)
	// harmless are the query parameters of the protocol itself. Others are often
	// signatures: who has them needs no credentials.
	harmless = map[string]bool{
		"scope": true, "service": true, "mount": true, "from": true, "digest": true, "n": true, "last": true,
	}
)

// noToken is how go-containerregistry introduces the answer of a token server
// that it cannot make sense of.
const noToken = "no token in bearer response"

// Redact takes out of a text what URLs in it have of user names, passwords and
// signatures, and what token servers have answered.
func Redact(text string) string {
	if before, _, ok := strings.Cut(text, noToken); ok {
		text = before + noToken
	}
	return urlPattern.ReplaceAllStringFunc(text, func(s string) string {
		trimmed := strings.TrimRight(s, ".,:;)]}")
		return redactURL(trimmed) + s[len(trimmed):]
	})
}

func redactURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		scheme, _, _ := strings.Cut(s, "://")
		return scheme + "://" + redactedText
	}
	if u.User != nil {
		u.User = url.User(redactedText)
	}
	if u.RawQuery != "" {
		pairs := strings.Split(u.RawQuery, "&")
		for i, pair := range pairs {
			if key, _, ok := strings.Cut(pair, "="); !harmless[key] {
				pairs[i] = key + "=" + redactedText
				if !ok {
					pairs[i] = redactedText
				}
			}
		}
		u.RawQuery = strings.Join(pairs, "&")
	}
	if u.Fragment != "" {
		u.Fragment = redactedText
	}
	return u.String()
}

// Clean is err with its text redacted. Its causes are those of err.
func Clean(err error) error {
	if err == nil {
		return nil
	}
	if text := Redact(err.Error()); text != err.Error() {
		return &cleaned{text, err}
	}
	return err
}

type cleaned struct {
	text string
	err  error
}

func (c *cleaned) Error() string { return c.text }

func (c *cleaned) Unwrap() error { return c.err }

// ErrUserInfo is returned for a name that has credentials in it.
var ErrUserInfo = errors.New("credentials are not part of a name, `docker login` keeps them")

// CheckUserInfo refuses credentials in the name of an image, a mirror or a
// host, which would end up wherever the name does. It does not repeat them.
func CheckUserInfo(s string) error {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	host, _, path := strings.Cut(s, "/")
	before, after, ok := strings.Cut(host, "@")
	if ok && !strings.HasPrefix(after, "sha") && (path || strings.Contains(before, ":")) {
		return ErrUserInfo
	}
	return nil
}
