package dockerfile_test

import (
	"strings"
	"testing"

	"github.com/stagectl/stagectl/builder/plan"
)

// TestExpansion goes through the notation of variables: what is written as the
// value of a LABEL, and what it comes to.
func TestExpansion(t *testing.T) {
	tests := []struct{ in, want, wantErr string }{
		{in: `plain`, want: "plain"},
		{in: `$V`, want: "val"},
		{in: `${V}`, want: "val"},
		{in: `a$V`, want: "aval"},
		{in: `a$V.b`, want: "aval.b"},
		{in: `a$Vb`, want: "a"},
		{in: `a${V}b`, want: "avalb"},
		{in: `$V$V`, want: "valval"},
		{in: `$NONE`, want: ""},
		{in: `[${NONE}]`, want: "[]"},
		{in: `$`, want: "$"},
		{in: `$.`, want: "$."},
		{in: `a$`, want: "a$"},
		{in: `$1x`, want: "x"},
		{in: `$@`, want: ""},
		{in: `"$V"`, want: "val"},
		{in: `'$V'`, want: "$V"},
		{in: `"'$V'"`, want: "'val'"},
		{in: `'"$V"'`, want: `"$V"`},
		{in: `\$V`, want: "$V"},
		{in: `\\$V`, want: `\val`},
		{in: `"\$V"`, want: "$V"},
		{in: `"\\$V"`, want: `\val`},
		{in: `'\$V'`, want: `\$V`},
		{in: `\a\b`, want: "ab"},
		{in: `"\a\b"`, want: `\a\b`},
		{in: `"a\"b"`, want: `a"b`},
		{in: `'a'b"c"`, want: "abc"},
		{in: `""`, want: ""},
		{in: `a\ b`, want: "a b"},
		{in: `"a  b"`, want: "a  b"},
		{in: `${V:-d}`, want: "val"},
		{in: `${E:-d}`, want: "d"},
		{in: `${E-d}`, want: ""},
		{in: `${NONE:-d}`, want: "d"},
		{in: `${NONE-d}`, want: "d"},
		{in: `${NONE:-$V}`, want: "val"},
		{in: `${NONE:-${ALSO:-${V}}}`, want: "val"},
		{in: `${NONE:-"a}b"}`, want: "a}b"},
		{in: `${V:+s}`, want: "s"},
		{in: `${E:+s}`, want: ""},
		{in: `${E+s}`, want: "s"},
		{in: `${NONE+s}`, want: ""},
		{in: `${V:+${NONE:-x}}`, want: "x"},
		{in: `${V?}`, want: "val"},
		{in: `${E?m}`, want: ""},
		{in: `${E:?m}`, wantErr: "E: m"},
		{in: `${E:?}`, wantErr: "E: is not allowed to be empty"},
		{in: `${NONE?}`, wantErr: "NONE: is not allowed to be unset"},
		{in: `${NONE:?no\ value}`, wantErr: "NONE: no value"},
		{in: `${P#*/}`, want: "b/c.tar.gz"},
		{in: `${P##*/}`, want: "c.tar.gz"},
		{in: `${P%.*}`, want: "a/b/c.tar"},
		{in: `${P%%.*}`, want: "a/b/c"},
		{in: `${P#b}`, want: "a/b/c.tar.gz"},
		{in: `${P%??}`, want: "a/b/c.tar."},
		{in: `${P/b/x}`, want: "a/x/c.tar.gz"},
		{in: `${P/a*b}`, wantErr: "missing '/' in ${}"},
		{in: `${P//\//-}`, want: "a-b-c.tar.gz"},
		{in: `${P/[/x}`, want: "a/b/c.tar.gz"},
		{in: `${NONE#x}`, want: ""},
		{in: `${NONE/x/y}`, want: ""},
		{in: `${}`, wantErr: "bad substitution"},
		{in: `${:-x}`, wantErr: "bad substitution"},
		{in: `${V`, wantErr: "in substitution"},
		{in: `${V:x}`, wantErr: "unsupported modifier (:x) in substitution"},
		{in: `${V:#x}`, wantErr: "unsupported modifier (:#) in substitution"},
		{in: `${V^}`, wantErr: "unsupported modifier (^) in substitution"},
		{in: `'a`, wantErr: "matching single-quote"},
		{in: `"a`, wantErr: "matching double-quote"},
		{in: `ä$V日`, want: "ä"},
		{in: `ä${V}日`, want: "äval日"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			text := "FROM alpine\nENV V=val E= P=a/b/c.tar.gz\nLABEL l=" + tt.in + "\n"
			stages, _, err := convert(t, "Dockerfile", text, settings{})
			if tt.wantErr != "" {
				if err == nil || !strings.HasPrefix(err.Error(), "Dockerfile:3: LABEL l=") || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("got error %v, want one of line 3 with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := stages[0].Steps[1].Config.Labels["l"]; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Each byte of a script is on the line that it is said to be on.
func TestScriptLines(t *testing.T) {
	tests := []struct{ name, text string }{
		{"one line", "RUN L3\n"},
		{"continued", "RUN L3 && \\\n  L4 \\\n\tL5\n"},
		{"between comments", "RUN L3 \\\n# L0\n  # L0\nL6 \\\nL7\n"},
		{"over an empty line", "RUN L3 \\\n\n\n L6\n"},
		{"flags before", "RUN --mount=type=tmpfs,target=/t \\\n  --network=none \\\n  L5 \\\n  L6\n"},
		{"nothing on the first line", "RUN \\\n  L4 \\\n  L5\n"},
		{"blanks", "   RUN \t L3 \\\t \n   L4  \n"},
		{"carriage returns", "RUN L3 \\\r\n  L4 \\\r\n  L5\r\n"},
		{"document", "RUN <<EOF\nL4\n  L5\n\nL7\nEOF\n"},
		{"document without tabs", "RUN <<-EOF\n\tL4\n\t\tL5\n\tEOF\n"},
		{"document behind flags", "RUN --network=none \\\n <<EOF\nL5\nL6\nEOF\n"},
		{"document of a command", "RUN L3 <<EOF\nL4\nL5\nEOF\n"},
		{"documents of a continued command", "RUN L3 <<A \\\n L4 <<B\nL5\nA\nL7\nL8\nB\n"},
		{"empty document", "RUN L3 <<A <<B\nA\nL5\nB\n"},
		{"escapes", "RUN L3 \\\\ \\\n L4 \\\\\\\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stages, _, err := convert(t, "Dockerfile", "FROM alpine\n\n"+tt.text, settings{})
			if err != nil {
				t.Fatal(err)
			}
			checkLines(t, stages[0].Steps[0].Run)
		})
	}
}

func checkLines(t *testing.T, run *plan.Run) {
	t.Helper()
	found := 0
	for offset, c := range run.Script {
		if c != 'L' {
			continue
		}
		found++
		if want := int(run.Script[offset+1] - '0'); run.LineAt(offset) != want || run.LineAt(offset+1) != want {
			t.Errorf("%q: byte %d is in line %d, want %d", run.Script, offset, run.LineAt(offset), want)
		}
	}
	if found == 0 {
		t.Errorf("nothing to look for in %q", run.Script)
	}
}
