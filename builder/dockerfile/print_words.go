package dockerfile

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
)

// The words of a Dockerfile are read three times: by its parser, which divides
// them, by what replaces variables, which removes quotes and backslashes, and
// where they are sources, as patterns.

var (
	escaper = strings.NewReplacer(`\`, `\\`, `$`, `\$`, `"`, `\"`, `'`, `\'`)
	quoter  = strings.NewReplacer(`\`, `\\`, `$`, `\$`, `"`, `\"`)
	matcher = strings.NewReplacer(`\`, `\\`, `*`, `[*]`, `?`, `[?]`, `[`, `[[]`)

	plainWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.,:/@%+=-]+$`) })
	plainKey  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_./-]+$`) })
)

// escapeWord writes a word in which nothing is replaced.
func escapeWord(s string) string { return escaper.Replace(s) }

// escapePath writes a path as a pattern that matches it alone.
func escapePath(s string) string { return matcher.Replace(s) }

// quoteWord writes a key or a value of ENV and LABEL.
func quoteWord(s string) string {
	if plainKey().MatchString(s) {
		return s
	}
	return `"` + quoter.Replace(s) + `"`
}

// jsonWords writes the exec form.
func jsonWords(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(word) // which cannot fail with a string
		quoted[i] = strings.TrimSuffix(b.String(), "\n")
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// shellWord writes a word for a shell.
func shellWord(s string) string {
	if plainWord().MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
