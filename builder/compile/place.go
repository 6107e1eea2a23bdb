package compile

import (
	"encoding/json"
	"strings"
)

// place is a directory that may be another one the next time, while what is in it
// stays the same; empty where there is none.
type place string

// hidden stands for the place in what is remembered. No path and no variable has
// it.
const hidden = "\x00"

// hide returns a text, as a path is one, that is the same wherever the place is.
func (p place) hide(text string) string {
	if p == "" {
		return text
	}
	return strings.ReplaceAll(text, string(p), hidden)
}

func (p place) hideAll(texts []string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, p.hide(text))
	}
	return all
}

// records are those in which the place is hidden.
func (p place) records(r Records) Records {
	if p == "" {
		return r
	}
	return placed{r, p}
}

type placed struct {
	Records
	place place
}

func (r placed) Record(kind, key string, value any) bool {
	var raw json.RawMessage
	if !r.Records.Record(kind, key, &raw) {
		return false
	}
	text := strings.ReplaceAll(string(raw), quoted(hidden), quoted(string(r.place)))
	return json.Unmarshal([]byte(text), value) == nil
}

func (r placed) SetRecord(kind, key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return r.Records.SetRecord(kind, key, json.RawMessage(strings.ReplaceAll(string(raw), quoted(string(r.place)), quoted(hidden))))
}

// quoted is how a text is written in JSON, without the quotes.
func quoted(text string) string {
	raw, err := json.Marshal(text)
	if err != nil {
		panic(err) // of a string
	}
	return string(raw[1 : len(raw)-1])
}
