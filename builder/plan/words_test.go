package plan_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/plan"
)

func TestParseWords(t *testing.T) {
	parse := func(s string) ([]string, error) { return plan.ParseWords("--cmd", s) }
	testParsing(t, parse, []parsing[[]string]{
		{name: "nothing", in: "", want: []string{}},
		{name: "blanks", in: " \t\r\n ", want: []string{}},
		{name: "words", in: " a  b\tc\nd ", want: []string{"a", "b", "c", "d"}},
		{name: "single quotes", in: `'a b' c`, want: []string{"a b", "c"}},
		{name: "double quotes", in: `"a b" c`, want: []string{"a b", "c"}},
		{name: "quotes in quotes", in: `'"' "'"`, want: []string{`"`, `'`}},
		{name: "quotes inside a word", in: `--x="a b"'c d'`, want: []string{"--x=a bc d"}},
		{name: "empty words", in: `'' ""`, want: []string{"", ""}},
		{name: "backslash", in: `a\ b \" \' \\ \n`, want: []string{"a b", `"`, `'`, `\`, "n"}},
		{name: "backslash in single quotes", in: `'a\'`, want: []string{`a\`}},
		{name: "backslash in double quotes", in: `"\"\\\$\` + "`" + `\n\'"`, want: []string{`"\$` + "`" + `\n\'`}},
		{name: "line goes on", in: "a\\\nb \"c\\\nd\"", want: []string{"ab", "cd"}},
		{name: "nothing is expanded", in: `$HOME *.go ~ a;b|c`, want: []string{"$HOME", "*.go", "~", "a;b|c"}},
		{name: "not ASCII", in: `ä "日本"`, want: []string{"ä", "日本"}},
		{name: "array", in: ` ["a b", "c\n", ""]`, want: []string{"a b", "c\n", ""}},
		{name: "empty array", in: `[]`, want: []string{}},
		{name: "single quote is open", in: `a 'b`, wantErr: `malformed --cmd "a 'b": the quote ' is not closed`},
		{name: "double quote is open", in: `a "b\"`, wantErr: `the quote " is not closed`},
		{name: "backslash at the end of quotes", in: `"a\`, wantErr: `the quote " is not closed`},
		{name: "backslash at the end", in: `a \`, wantErr: "there is nothing behind the last backslash"},
		{name: "NUL", in: "a\x00b", wantErr: "it has a NUL in it"},
		{name: "not UTF-8", in: "a\xffb", wantErr: "it is not UTF-8"},
		{name: "array that is none", in: `[ -f x ]`, wantErr: "not a JSON array of strings: invalid character"},
		{name: "array of numbers", in: `["a", 1]`, wantErr: "not a JSON array of strings: json: cannot unmarshal number"},
		{name: "array with null", in: `["a", null]`, wantErr: "not a JSON array of strings: it has null in it"},
		{name: "array and more", in: `["a"] b`, wantErr: "not a JSON array of strings"},
		{name: "array with NUL", in: `["\u0000"]`, wantErr: "it has a NUL in it"},
	})
}

func FuzzParseWords(f *testing.F) {
	for _, s := range []string{
		"", "a b", `'a b' "c\"d" e\ f`, "a\\\nb", `["a", "b c"]`, `[]`, `["a"`, `"`, `\`, "''", "$x `y`", "ä\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := plan.ParseWords("command", s)
		if err != nil {
			if words != nil {
				t.Errorf("%q: %q beside error %v", s, words, err)
			}
			return
		}
		if words == nil {
			t.Fatalf("%q: nil, which stands for a command that is not given", s)
		}
		array, err := json.Marshal(words)
		if err != nil {
			t.Fatal(err)
		}
		// What the words are in each notation is the same words again.
		for _, again := range []string{string(array), shellQuote(words)} {
			got, err := plan.ParseWords("command", again)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(words, got); diff != "" {
				t.Errorf("%q written as %q (-want +got):\n%s", s, again, diff)
			}
		}
		if plain := strings.Fields(s); !strings.ContainsAny(s, "\\'\"[\v\f\u0085\u00a0") && isASCII(s) && !slices.Equal(plain, words) {
			t.Errorf("%q: %q, want %q", s, words, plain)
		}
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > '~' }) < 0
}

func shellQuote(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
