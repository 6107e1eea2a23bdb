package plan_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagectl/stagectl/builder/plan"
)

func TestParseCopy(t *testing.T) {
	testParsing(t, plan.ParseCopy, []parsing[*plan.Copy]{
		{name: "file", in: "a:/b", want: &plan.Copy{Source: "a", Dest: "/b"}},
		{name: "into a directory", in: "a:/b/", want: &plan.Copy{Source: "a", Dest: "/b/"}},
		{name: "into the root", in: "a:/", want: &plan.Copy{Source: "a", Dest: "/"}},
		{name: "destination is cleaned", in: "a://b/./c", want: &plan.Copy{Source: "a", Dest: "/b/c"}},
		{name: "source is left alone", in: "./a/../b/:/c", want: &plan.Copy{Source: "./a/../b/", Dest: "/c"}},
		{name: "absolute source", in: "/etc/a:/b", want: &plan.Copy{Source: "/etc/a", Dest: "/b"}},
		{name: "colons in the source", in: "a:b:/c", want: &plan.Copy{Source: "a:b", Dest: "/c"}},
		{name: "colon and slash in the source", in: "a:/b:/c", want: &plan.Copy{Source: "a:/b", Dest: "/c"}},
		{name: "colon in the destination", in: "a:/b:c", want: &plan.Copy{Source: "a", Dest: "/b:c"}},
		{name: "drive letter", in: `C:\a:/b`, want: &plan.Copy{Source: `C:\a`, Dest: "/b"}},
		{name: "commas in the paths", in: "a,b:/c,d", want: &plan.Copy{Source: "a,b", Dest: "/c,d"}},
		{name: "form of an option in the source", in: "a,v=1:/b", want: &plan.Copy{Source: "a,v=1", Dest: "/b"}},
		{name: "chmod", in: "a:/b,chmod=0640", want: &plan.Copy{Source: "a", Dest: "/b", Mode: ptr(fs.FileMode(0o640))}},
		{name: "chmod without zero", in: "a:/b,chmod=755", want: &plan.Copy{Source: "a", Dest: "/b", Mode: ptr(fs.FileMode(0o755))}},
		{name: "chmod to nothing", in: "a:/b,chmod=0", want: &plan.Copy{Source: "a", Dest: "/b", Mode: ptr(fs.FileMode(0))}},
		{name: "special bits", in: "a:/b,chmod=7711", want: &plan.Copy{
			Source: "a", Dest: "/b", Mode: ptr(0o711 | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)}},
		{name: "chown", in: "a:/b,chown=1:2", want: &plan.Copy{Source: "a", Dest: "/b", UID: 1, GID: 2}},
		{name: "chown of one number", in: "a:/b,chown=1000", want: &plan.Copy{Source: "a", Dest: "/b", UID: 1000, GID: 1000}},
		{name: "highest owner", in: "a:/b,chown=2147483647:0", want: &plan.Copy{Source: "a", Dest: "/b", UID: 1<<31 - 1}},
		{name: "both options", in: "a:/b/,chown=1:2,chmod=4755", want: &plan.Copy{
			Source: "a", Dest: "/b/", UID: 1, GID: 2, Mode: ptr(0o755 | fs.ModeSetuid)}},
		{name: "empty", in: "", wantErr: `malformed copy "": it is SRC:DST`},
		{name: "no destination", in: "a", wantErr: "it is SRC:DST"},
		{name: "empty destination", in: "a:", wantErr: "it is SRC:DST"},
		{name: "relative destination", in: "a:b", wantErr: "it is SRC:DST"},
		{name: "no source", in: ":/b", wantErr: "it is SRC:DST"},
		{name: "options without a destination", in: "a,chmod=0644:/b", wantErr: "it is SRC:DST"},
		{name: "destination with ..", in: "a:/b/../c", wantErr: `malformed copy destination "/b/../c": it has .. in it`},
		{name: "destination with NUL", in: "a:/b\x00", wantErr: "it has a NUL in it"},
		{name: "chmod by letters", in: "a:/b,chmod=u+x", wantErr: `malformed copy "a:/b,chmod=u+x": chmod "u+x" is not an octal mode`},
		{name: "chmod not octal", in: "a:/b,chmod=0888", wantErr: "is not an octal mode"},
		{name: "chmod too high", in: "a:/b,chmod=10000", wantErr: "is not an octal mode of at most 7777"},
		{name: "chmod empty", in: "a:/b,chmod=", wantErr: "is not an octal mode"},
		{name: "chmod twice", in: "a:/b,chmod=0644,chmod=0600", wantErr: "chmod is given twice"},
		{name: "chown by name", in: "a:/b,chown=root", wantErr: `chown "root" is not UID:GID in numbers`},
		{name: "chown without group", in: "a:/b,chown=1:", wantErr: "is not UID:GID in numbers"},
		{name: "chown negative", in: "a:/b,chown=-1", wantErr: "is not UID:GID in numbers"},
		{name: "chown too high", in: "a:/b,chown=2147483648", wantErr: "is not UID:GID in numbers"},
		{name: "chown of three", in: "a:/b,chown=1:2:3", wantErr: "is not UID:GID in numbers"},
		{name: "chown twice", in: "a:/b,chown=1,chown=1", wantErr: "chown is given twice"},
		{name: "misspelled option", in: "a:/b,chmd=0644", wantErr: `unknown option "chmd": there are chmod and chown`},
		{name: "unknown option behind a known one", in: "a:/b,chmod=0644,ro", wantErr: `unknown option "ro"`},
		{name: "comma at the end", in: "a:/b,chmod=0644,", wantErr: `unknown option ""`},
	})
}

// The mode is octal in JSON, and comes back as it was.
func TestCopyJSON(t *testing.T) {
	tests := []struct {
		name string
		copy plan.Copy
		want string
	}{
		{"no mode", plan.Copy{Source: "a", Dest: "/b"}, `{"source":"a","dest":"/b"}`},
		{"zero mode", plan.Copy{Source: "a", Dest: "/b", Mode: ptr(fs.FileMode(0))}, `{"source":"a","dest":"/b","mode":"0000"}`},
		{
			"everything",
			plan.Copy{From: "s", Source: "a", Dest: "/b", Mode: ptr(0o750 | fs.ModeSetgid), UID: 1, GID: 2},
			`{"from":"s","source":"a","dest":"/b","uid":1,"gid":2,"mode":"2750"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := json.Marshal(&tt.copy)
			if err != nil {
				t.Fatal(err)
			}
			if string(raw) != tt.want {
				t.Errorf("got  %s\nwant %s", raw, tt.want)
			}
			var got plan.Copy
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.copy, got); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCopyJSONErrors(t *testing.T) {
	for name, raw := range map[string]string{
		"mode by letters": `{"source":"a","dest":"/b","mode":"u+x"}`,
		"mode in decimal": `{"source":"a","dest":"/b","mode":420}`,
		"no object":       `"a:/b"`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := json.Unmarshal([]byte(raw), new(plan.Copy)); err == nil {
				t.Errorf("%s is taken", raw)
			}
		})
	}
}

func FuzzParseCopy(f *testing.F) {
	for _, s := range []string{
		"a:/b", "a:b:/c/", "a,b:/c,d,chmod=4755,chown=1:2", "a:/b,chown=7", "a:/../b", ":/", "a:/b,chmod=", "a,chmod=1:/b", "a:/b,x=y", "a:/x:/./",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := plan.ParseCopy(s)
		if err != nil {
			if c != nil {
				t.Errorf("%q: %+v beside error %v", s, c, err)
			}
			return
		}
		if c.Source == "" || !strings.HasPrefix(s, c.Source+":/") {
			t.Errorf("%q: source %q", s, c.Source)
		}
		if bare := strings.TrimSuffix(c.Dest, "/"); !path.IsAbs(c.Dest) || (bare != "" && path.Clean(bare) != bare) {
			t.Errorf("%q: destination %q", s, c.Dest)
		}
		if c.UID < 0 || c.GID < 0 || c.From != "" {
			t.Errorf("%q: %+v", s, c)
		}
		written := fmt.Sprintf("%s:%s,chown=%d:%d", c.Source, c.Dest, c.UID, c.GID)
		if c.Mode != nil {
			raw, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			var fields struct{ Mode string }
			if err := json.Unmarshal(raw, &fields); err != nil {
				t.Fatal(err)
			}
			written += ",chmod=" + fields.Mode
		}
		again, err := plan.ParseCopy(written)
		if err != nil {
			t.Fatalf("%q written as %q: %v", s, written, err)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("%q written as %q (-want +got):\n%s", s, written, diff)
		}
	})
}
