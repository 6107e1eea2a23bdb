package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Copy puts files into the stage.
type Copy struct {
	// From is the name of an earlier stage, or empty for Plan.Dir.
	From string `json:"from,omitempty"`
	// Source is a path: in a stage absolute, in the context relative to
	// Plan.Dir or absolute.
	Source string `json:"source"`
	// Dest is the absolute path in the stage. With a trailing slash it is a
	// directory to copy into. A directory's contents are copied, not itself.
	Dest string `json:"dest"`
	// Mode, when set, replaces the permission bits of files; directories get
	// it with x added where there is r. In JSON it is octal, as in chmod.
	Mode *fs.FileMode `json:"mode,omitempty"`
	// UID and GID own what is copied.
	UID int `json:"uid,omitempty"`
	GID int `json:"gid,omitempty"`
}

var (
	// knownOption is looked for in all of a copy, since one that has the form
	// of an option may be part of the source's path.
	knownOption = pattern(`,(chmod|chown)=`)
	anyOption   = pattern(`,[A-Za-z]+=`)
)

// ParseCopy reads SRC:DST[,chmod=MODE][,chown=UID:GID]. The last colon before
// a slash divides, so that a source may have colons. Commas belong to the
// paths, unless what follows has the form of an option.
func ParseCopy(s string) (*Copy, error) {
	paths := s
	if at := knownOption().FindStringIndex(s); at != nil {
		paths = s[:at[0]]
	}
	colon := strings.LastIndex(paths, ":/")
	if colon < 1 {
		return nil, fmt.Errorf("malformed copy %q: it is SRC:DST, the destination an absolute path, as assets:/app/assets", s)
	}
	source, dest, options := s[:colon], s[colon+1:], ""
	if at := anyOption().FindStringIndex(dest); at != nil {
		dest, options = dest[:at[0]], dest[at[0]+1:]
	}
	clean, err := ParseAbs("copy destination", dest)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(dest, "/") && clean != "/" {
		clean += "/"
	}
	c := &Copy{Source: source, Dest: clean}
	if options == "" {
		return c, nil
	}
	if err := c.setOptions(options); err != nil {
		return nil, fmt.Errorf("malformed copy %q: %w", s, err)
	}
	return c, nil
}

func (c *Copy) setOptions(options string) error {
	seen := map[string]bool{}
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		if seen[key] {
			return fmt.Errorf("%s is given twice", key)
		}
		seen[key] = true
		var err error
		switch key {
		case "chmod":
			err = c.chmod(value)
		case "chown":
			err = c.chown(value)
		default:
			err = fmt.Errorf("unknown option %q: there are chmod and chown", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Copy) chmod(s string) error {
	mode, err := parseMode(s)
	if err != nil {
		return fmt.Errorf("chmod %q is not an octal mode of at most 7777", s)
	}
	c.Mode = &mode
	return nil
}

// chown takes numbers only: names would need the base's /etc/passwd. As with
// docker, a UID alone is the GID too.
func (c *Copy) chown(s string) error {
	uid, gid, ok := strings.Cut(s, ":")
	if !ok {
		gid = uid
	}
	u, errU := strconv.ParseUint(uid, 10, 31)
	g, errG := strconv.ParseUint(gid, 10, 31)
	if errU != nil || errG != nil {
		return fmt.Errorf("chown %q is not UID:GID in numbers", s)
	}
	c.UID, c.GID = int(u), int(g)
	return nil
}

// specialBits are the mode bits that package fs has elsewhere than Unix.
var specialBits = []struct {
	unix uint64
	mode fs.FileMode
}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}

// copyBits are those that a Copy can set.
const copyBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

func parseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 12)
	if err != nil {
		return 0, err
	}
	mode := fs.FileMode(n) & fs.ModePerm
	for _, b := range specialBits {
		if n&b.unix != 0 {
			mode |= b.mode
		}
	}
	return mode, nil
}

// FormatMode writes permission bits as chmod takes them, in octal.
func FormatMode(mode fs.FileMode) string {
	n := uint64(mode.Perm())
	for _, b := range specialBits {
		if mode&b.mode != 0 {
			n |= b.unix
		}
	}
	return fmt.Sprintf("%04o", n)
}

// copyFields has the fields of Copy without its methods.
type copyFields Copy

// copyJSON is Copy in JSON: its own mode goes before that of the fields.
type copyJSON struct {
	copyFields
	Mode string `json:"mode,omitempty"`
}

// MarshalJSON writes the mode as people write it.
func (c Copy) MarshalJSON() ([]byte, error) {
	out := copyJSON{copyFields: copyFields(c)}
	if c.Mode != nil {
		out.Mode = FormatMode(*c.Mode)
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Copy) UnmarshalJSON(raw []byte) error {
	var in copyJSON
	if err := json.Unmarshal(raw, &in); err != nil {
		return err
	}
	*c = Copy(in.copyFields)
	if in.Mode == "" {
		return nil
	}
	return c.chmod(in.Mode)
}

func (c *Copy) validate(outputs map[string]map[string]bool) error {
	if c.Source == "" {
		return errors.New("no source")
	}
	if _, err := ParseAbs("destination", c.Dest); err != nil {
		return err
	}
	if c.From != "" && !outputs[c.From][c.Source] {
		return fmt.Errorf("stage %s makes no %s", c.From, c.Source)
	}
	if c.Mode != nil && *c.Mode&^copyBits != 0 {
		return fmt.Errorf("mode %s has more than permission bits", *c.Mode)
	}
	if c.UID < 0 || c.GID < 0 {
		return fmt.Errorf("owner %d:%d is negative", c.UID, c.GID)
	}
	return nil
}
