package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ParseWords reads a command: a JSON array of strings, or words as a shell
// divides them, with quotes and backslashes but nothing expanded. The empty
// string is no words, which is not nil. what names it in the error.
func ParseWords(what, s string) ([]string, error) {
	if err := checkText(s); err != nil {
		return nil, fmt.Errorf("malformed %s %q: %w", what, s, err)
	}
	divide := shellWords
	if strings.HasPrefix(strings.TrimSpace(s), "[") {
		divide = jsonWords
	}
	words, err := divide(s)
	if err != nil {
		return nil, fmt.Errorf("malformed %s %q: %w", what, s, err)
	}
	return words, nil
}

func jsonWords(s string) ([]string, error) {
	var array []*string // a null would make an empty string of a string
	if err := json.Unmarshal([]byte(s), &array); err != nil {
		return nil, fmt.Errorf("not a JSON array of strings: %w", err)
	}
	words := make([]string, len(array))
	for i, word := range array {
		if word == nil {
			return nil, errors.New("not a JSON array of strings: it has null in it")
		}
		if err := checkText(*word); err != nil {
			return nil, err
		}
		words[i] = *word
	}
	return words, nil
}

// shellWords divides words by the rules of POSIX, section 2.2, "Quoting"
// (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html).
func shellWords(s string) ([]string, error) {
	words := []string{}
	var word []byte
	in := false // a word, which may be empty: ''
	end := func() {
		if in {
			words = append(words, string(word))
		}
		word, in = nil, false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n':
			end()
		case '\'', '"':
			text, n, ok := quoted(s[i+1:], c)
			if !ok {
				return nil, fmt.Errorf("the quote %c is not closed", c)
			}
			word, in = append(word, text...), true
			i += n
		case '\\':
			if i++; i == len(s) {
				return nil, errors.New("there is nothing behind the last backslash")
			}
			if s[i] != '\n' { // else the line goes on
				word, in = append(word, s[i]), true
			}
		default:
			word, in = append(word, c), true
		}
	}
	end()
	return words, nil
}

// quoted returns the text up to the closing quote, and how much of s it takes
// with that. A backslash is special before a few characters in double quotes,
// and never in single ones.
func quoted(s string, quote byte) (text []byte, n int, ok bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == quote {
			return text, i + 1, true
		}
		if quote == '"' && c == '\\' && i+1 < len(s) && bytes.IndexByte([]byte("\"\\$`\n"), s[i+1]) >= 0 {
			i++
			if c = s[i]; c == '\n' {
				continue
			}
		}
		text = append(text, c)
	}
	return nil, 0, false
}
