package rootfs

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Mode is a change of permission bits, as chmod takes it.
type Mode struct {
	octal   bool
	bits    fs.FileMode
	clauses []clause
}

// clause is one "who", operator and permissions: g+w of "a=r,g+w-x".
type clause struct {
	// who has the bits that may change: 0o700 for u. 0 stands for all that the
	// umask leaves.
	who  fs.FileMode
	op   byte
	perm string
}

// specialBits are the mode bits that package fs has elsewhere than Unix.
var specialBits = []struct {
	unix uint64
	mode fs.FileMode
}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}

// ParseMode reads an octal mode, at most 7777, or a symbolic one, as
// "u=rwx,go+X" (https://pubs.opengroup.org/onlinepubs/9699919799/utilities/chmod.html).
func ParseMode(s string) (Mode, error) {
	if s != "" && strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseUint(s, 8, 12)
		if err != nil {
			return Mode{}, fmt.Errorf("malformed mode %q: an octal mode is between 0 and 7777", s)
		}
		return Mode{octal: true, bits: fromUnix(n)}, nil
	}
	var m Mode
	for part := range strings.SplitSeq(s, ",") {
		clauses, ok := parseClauses(part)
		if !ok {
			return Mode{}, fmt.Errorf("malformed mode %q: it is octal, as 0755, or symbolic, as u=rwx,go+X", s)
		}
		m.clauses = append(m.clauses, clauses...)
	}
	return m, nil
}

func fromUnix(n uint64) fs.FileMode {
	mode := fs.FileMode(n) & fs.ModePerm
	for _, b := range specialBits {
		if n&b.unix != 0 {
			mode |= b.mode
		}
	}
	return mode
}

func parseClauses(s string) ([]clause, bool) {
	var who fs.FileMode
	i := 0
	for ; i < len(s); i++ {
		bits, ok := whoBits[s[i]]
		if !ok {
			break
		}
		who |= bits
	}
	if i == len(s) {
		return nil, false
	}
	var clauses []clause
	for i < len(s) {
		op := s[i]
		end := i + 1
		for end < len(s) && !strings.ContainsRune("+-=", rune(s[end])) {
			end++
		}
		perm := s[i+1 : end]
		copied := perm == "u" || perm == "g" || perm == "o"
		if !strings.ContainsRune("+-=", rune(op)) || !copied && strings.Trim(perm, "rwxXst") != "" {
			return nil, false
		}
		clauses = append(clauses, clause{who, op, perm})
		i = end
	}
	return clauses, true
}

var whoBits = map[byte]fs.FileMode{'u': 0o700, 'g': 0o070, 'o': 0o007, 'a': 0o777}

// Octal returns the bits of an octal mode; false for a symbolic one.
func (m Mode) Octal() (fs.FileMode, bool) { return m.bits, m.octal }

// Apply changes the permission bits of old, which keeps its type. The umask
// counts where a clause does not say whose bits it changes.
func (m Mode) Apply(old, umask fs.FileMode) fs.FileMode {
	if m.octal {
		return old&^modeBits | m.bits
	}
	for _, c := range m.clauses {
		old = c.apply(old, umask)
	}
	return old
}

func (c clause) apply(old, umask fs.FileMode) fs.FileMode {
	who := c.who
	if who == 0 {
		who = 0o777
	}
	bits := c.bits(old, who)
	clear := who | c.special()
	if c.who == 0 {
		bits &^= umask & fs.ModePerm
	}
	switch c.op {
	case '+':
		return old | bits
	case '-':
		return old &^ bits
	}
	if old.IsDir() {
		// As GNU and BSD do: a directory keeps them unless they are named.
		clear &= fs.ModePerm
	}
	return old&^clear | bits
}

// special are the bits beside the permissions that belong to who.
func (c clause) special() fs.FileMode {
	var bits fs.FileMode
	if c.who == 0 || c.who&0o700 != 0 {
		bits |= fs.ModeSetuid
	}
	if c.who == 0 || c.who&0o070 != 0 {
		bits |= fs.ModeSetgid
	}
	if c.who == 0 || c.who == 0o777 {
		bits |= fs.ModeSticky
	}
	return bits
}

// bits are those that the permissions stand for.
func (c clause) bits(old, who fs.FileMode) fs.FileMode {
	var bits fs.FileMode
	for _, p := range []byte(c.perm) {
		switch p {
		case 'r':
			bits |= 0o444
		case 'w':
			bits |= 0o222
		case 'x':
			bits |= 0o111
		case 'X':
			if old.IsDir() || old&0o111 != 0 {
				bits |= 0o111
			}
		case 's':
			bits |= c.special() & (fs.ModeSetuid | fs.ModeSetgid)
		case 't':
			bits |= c.special() & fs.ModeSticky
		default: // u, g or o: what those have, for all
			from := old >> map[byte]uint{'u': 6, 'g': 3, 'o': 0}[p] & 0o7
			bits |= from | from<<3 | from<<6
		}
	}
	return bits & (who | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}
