package plan

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

var (
	portPattern   = pattern(`^([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/([A-Za-z]+))?$`)
	userPattern   = pattern(`^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?(:[A-Za-z0-9_][A-Za-z0-9_.-]*\$?)?$`)
	numberPattern = pattern(`^[0-9]+$`)
	realtime      = pattern(`^(RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?)$`)
)

// pattern compiles when it is first used: most runs of the program use none.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// signals are the names that Linux has, beside the real-time ones.
var signals = strings.Fields(`ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT
	SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ`)

// checkText says why s would not come out of the image's configuration as it
// went in: JSON has no bytes that are not text, and the kernel takes no NUL.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("it is not UTF-8")
	}
	if strings.Contains(s, "\x00") {
		return errors.New("it has a NUL in it")
	}
	return nil
}

// ParsePort reads PORT[-PORT][/tcp|udp|sctp] and returns each port of the
// range as the config has it, "8080/tcp".
func ParsePort(s string) ([]string, error) {
	if strings.Contains(s, ":") {
		return nil, fmt.Errorf("malformed port %q: an image declares only the container's port; the host's is given to `docker run -p`", s)
	}
	m := portPattern().FindStringSubmatch(s)
	if m == nil {
		return nil, fmt.Errorf("malformed port %q: it is PORT or PORT/udp, as 8080 or 53/udp", s)
	}
	proto := strings.ToLower(m[3])
	switch proto {
	case "":
		proto = "tcp"
	case "tcp", "udp", "sctp":
	default:
		return nil, fmt.Errorf("malformed port %q: the protocol is tcp, udp or sctp", s)
	}
	first, _ := strconv.Atoi(m[1]) // digits, by the pattern
	last := first
	if m[2] != "" {
		last, _ = strconv.Atoi(m[2])
	}
	if first < 1 || last > 65535 || last < first {
		return nil, fmt.Errorf("malformed port %q: ports go from 1 to 65535, the lower one first", s)
	}
	ports := make([]string, 0, last-first+1)
	for p := first; p <= last; p++ {
		ports = append(ports, strconv.Itoa(p)+"/"+proto)
	}
	return ports, nil
}

// ParseKeyValue reads KEY=VALUE; what names it in the error.
func ParseKeyValue(what, s string) (key, value string, err error) {
	if err := checkText(s); err != nil {
		return "", "", fmt.Errorf("malformed %s %q: %w", what, s, err)
	}
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" || strings.ContainsAny(key, " \t\r\n") {
		return "", "", fmt.Errorf("malformed %s %q: it is KEY=VALUE", what, s)
	}
	return key, value, nil
}

// ParseUser reads USER[:GROUP], names or numbers, and returns it as it is.
func ParseUser(s string) (string, error) {
	if !userPattern().MatchString(s) {
		return "", fmt.Errorf("malformed user %q: it is USER or USER:GROUP, by name or number", s)
	}
	for id := range strings.SplitSeq(s, ":") {
		if _, err := strconv.ParseUint(id, 10, 31); err != nil && numberPattern().MatchString(id) {
			return "", fmt.Errorf("malformed user %q: numbers go up to 2147483647", s)
		}
	}
	return s, nil
}

// ParseSignal reads the name or number of a signal, and returns it in upper
// case, as some engines want it.
func ParseSignal(s string) (string, error) {
	if n, err := strconv.Atoi(s); err == nil && numberPattern().MatchString(s) && n > 0 && n < 65 {
		return s, nil
	}
	upper := strings.ToUpper(s)
	if name := strings.TrimPrefix(upper, "SIG"); slices.Contains(signals, name) || realtime().MatchString(name) {
		return upper, nil
	}
	return "", fmt.Errorf("malformed signal %q: it is a name as SIGTERM or a number from 1 to 64", s)
}

// ParseAbs reads an absolute path in the image and returns it clean; what
// names it in the error.
func ParseAbs(what, s string) (string, error) {
	if err := checkText(s); err != nil {
		return "", fmt.Errorf("malformed %s %q: %w", what, s, err)
	}
	if !path.IsAbs(s) || strings.Contains(s, "\n") {
		return "", fmt.Errorf("malformed %s %q: it is an absolute path in the image", what, s)
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == ".." {
			return "", fmt.Errorf("malformed %s %q: it has .. in it", what, s)
		}
	}
	return path.Clean(s), nil
}

// ParseCompression reads gzip, zstd or none, with :LEVEL behind it or not.
// Whether the algorithm and its level exist is for the layer package to say.
func ParseCompression(s string) (Compression, error) {
	name, level, leveled := strings.Cut(s, ":")
	c := Compression{Algorithm: name}
	var err error
	if leveled {
		c.Level, err = strconv.Atoi(level)
	}
	if name == "" || err != nil || (leveled && (c.Level < 1 || !numberPattern().MatchString(level))) {
		return Compression{}, fmt.Errorf("malformed compression %q: it is NAME or NAME:LEVEL, as gzip:9", s)
	}
	return c, nil
}
