package script

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stagectl/stagectl/builder/rootfs"
)

const (
	passwdFile  = "/etc/passwd"
	groupFile   = "/etc/group"
	shadowFile  = "/etc/shadow"
	gshadowFile = "/etc/gshadow"
	subuidFile  = "/etc/subuid"
	subgidFile  = "/etc/subgid"
)

// The ranges of IDs, as busybox and Debian have them.
const (
	firstSystemID = 100
	lastSystemID  = 999
	firstID       = 1000
	lastID        = 60000
)

var adduserFlags = flagSpec{
	short: "h:g:s:G:DSHu:k:qX:N",
	long: map[string]string{
		"home": "h", "gecos": "g", "comment": "g", "shell": "s", "ingroup": "G", "disabled-password": "D", "empty-password": "D", "disabled-login": "D",
		"system": "S", "no-create-home": "H", "uid": "u", "skel": "k", "quiet": "q", "gid": "X", "group": "N",
		"force-badname": "q", "allow-bad-names": "q", "allow-badname": "q",
	},
}

var addgroupFlags = flagSpec{
	short: "g:Sq",
	long:  map[string]string{"gid": "g", "system": "S", "quiet": "q", "force-badname": "q", "allow-bad-names": "q"},
}

var useraddFlags = flagSpec{
	short: "b:c:d:g:G:k:lmMNou:Us:rp:e:f:K:R:",
	long: map[string]string{
		"base-dir": "b", "comment": "c", "home-dir": "d", "home": "d", "gid": "g", "groups": "G", "skel": "k", "no-log-init": "l", "create-home": "m",
		"no-create-home": "M", "no-user-group": "N", "non-unique": "o", "uid": "u", "user-group": "U", "shell": "s", "system": "r", "password": "p",
		"expiredate": "e", "inactive": "f",
	},
}

var groupaddFlags = flagSpec{
	short: "fg:orp:K:",
	long:  map[string]string{"force": "f", "gid": "g", "non-unique": "o", "system": "r", "password": "p"},
}

var usermodFlags = flagSpec{
	short: "aG:g:d:s:c:mu:l:",
	long: map[string]string{
		"append": "a", "groups": "G", "gid": "g", "home": "d", "shell": "s", "comment": "c", "move-home": "m", "uid": "u", "login": "l",
	},
}

var userCommands = map[string]command{
	"adduser":  {run: runAdduser, flags: adduserFlags},
	"addgroup": {run: runAddgroup, flags: addgroupFlags},
	"useradd":  {run: runUseradd, flags: useraddFlags},
	"groupadd": {run: runGroupadd, flags: groupaddFlags},
	"usermod":  {run: runUsermod, check: checkUsermod},
	"getent":   {run: runGetent},
}

// account is what is to be written of a user.
type account struct {
	rootfs.User
	system bool
	// password is the second field of /etc/shadow.
	password string
	// group is made with the user, where it has none.
	ownGroup bool
	// home is made with this mode, unless that is 0.
	homeMode fs.FileMode
	skel     string
}

// appendLine adds a line to one of the databases, and keeps the one before under
// its name with a dash, as the programs do that this stands for. A database that
// is missing is left alone unless it is to be made.
func (c *call) appendLine(file, line string, make bool) error {
	return c.rewrite(file, make, func(text string) string {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text + line + "\n"
	})
}

func (c *call) rewrite(file string, make bool, fn func(string) string) error {
	raw, err := c.stage.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if !make {
			return nil
		}
		if _, err := c.stage.MkdirAll(path.Dir(file), 0o755, rootfs.Root); err != nil {
			return err
		}
		return c.stage.WriteFile(file, []byte(fn("")), 0o644, rootfs.Root)
	}
	if err != nil {
		return err
	}
	next := fn(string(raw))
	if next == string(raw) {
		return nil
	}
	info, err := c.stage.Stat(file)
	if err != nil {
		return err
	}
	if err := c.stage.WriteFile(file+"-", raw, info.Mode, info.Owner()); err != nil {
		return err
	}
	if err := errors.Join(c.stage.Chown(file+"-", info.Owner()), c.stage.Chmod(file+"-", info.Mode)); err != nil {
		return err
	}
	return c.stage.WriteFile(file, []byte(next), info.Mode, info.Owner())
}

func (c *call) hasUser(name string) (bool, error) {
	users, err := c.stage.Users()
	return slices.ContainsFunc(users, func(u rootfs.User) bool { return u.Name == name }), err
}

func (c *call) groupByName(name string) (rootfs.Group, bool, error) {
	groups, err := c.stage.Groups()
	for _, g := range groups {
		if g.Name == name || strconv.Itoa(g.GID) == name && c.name != "addgroup" {
			return g, true, err
		}
	}
	return rootfs.Group{}, false, err
}

// taken are the IDs that users, or groups, have.
func (c *call) taken() (users, groups map[int]bool, err error) {
	users, groups = map[int]bool{}, map[int]bool{}
	all, err := c.stage.Users()
	for _, u := range all {
		users[u.UID] = true
	}
	if err != nil {
		return nil, nil, err
	}
	allGroups, err := c.stage.Groups()
	for _, g := range allGroups {
		groups[g.GID] = true
	}
	return users, groups, err
}

// days since 1970, as /etc/shadow has the time of a change.
func (c *call) days() int64 { return c.host.Now.Unix() / (24 * 60 * 60) }

// addUser writes the lines of a user, and its home.
func (c *call) addUser(a account) error {
	line := fmt.Sprintf("%s:x:%d:%d:%s:%s:%s", a.Name, a.UID, a.GID, a.Comment, a.Home, a.Shell)
	shadow := fmt.Sprintf("%s:%s:%d:0:99999:7:::", a.Name, a.password, c.days())
	if a.system && a.password == "!" && !c.busybox() {
		shadow = fmt.Sprintf("%s:!:%d::::::", a.Name, c.days())
	}
	if err := errors.Join(c.appendLine(passwdFile, line, true), c.appendLine(shadowFile, shadow, false)); err != nil {
		return err
	}
	if a.ownGroup {
		if err := c.addGroup(a.Name, a.GID); err != nil {
			return err
		}
	}
	if a.homeMode == 0 {
		return nil
	}
	return c.makeHome(a)
}

func (c *call) addGroup(name string, gid int) error {
	return errors.Join(
		c.appendLine(groupFile, fmt.Sprintf("%s:x:%d:", name, gid), true),
		c.appendLine(gshadowFile, name+":!::", false),
	)
}

func (c *call) makeHome(a account) error {
	home := a.Home
	if _, err := c.stage.Stat(home); err == nil {
		return c.homeOwner(a)
	}
	if _, err := c.stage.MkdirAll(path.Dir(home), 0o755, rootfs.Root); err != nil {
		return err
	}
	if err := c.stage.Mkdir(home, 0o755, a.owner()); err != nil {
		return err
	}
	if info, err := c.stage.Stat(a.skel); err == nil && info.IsDir() {
		if err := c.copySkel(info.Path, home, a.owner()); err != nil {
			return err
		}
	}
	return c.homeOwner(a)
}

func (a account) owner() rootfs.Owner { return rootfs.Owner{UID: a.UID, GID: a.GID} }

func (c *call) homeOwner(a account) error {
	if !c.busybox() {
		if _, err := c.stage.Stat(a.Home); err != nil {
			return err
		}
	}
	return errors.Join(c.stage.Chown(a.Home, a.owner()), c.stage.Chmod(a.Home, a.homeMode))
}

func (c *call) copySkel(from, to string, o rootfs.Owner) error {
	list, err := c.stage.ReadDir(from)
	if err != nil {
		return err
	}
	for _, info := range list {
		dest := path.Join(to, path.Base(info.Path))
		switch {
		case info.IsDir():
			if err = c.stage.Mkdir(dest, info.Mode, o); err == nil {
				err = c.copySkel(info.Path, dest, o)
			}
		case info.IsSymlink():
			err = c.stage.Symlink(info.Link, dest, o)
		case info.Mode.IsRegular():
			err = c.copyContent(info.Path, dest, info.Mode, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// join adds a user to a group.
func (c *call) join(user, group string) error {
	add := func(text string) string {
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			name, rest, _ := strings.Cut(line, ":")
			if name != group {
				continue
			}
			members := rest[strings.LastIndex(rest, ":")+1:]
			for m := range strings.SplitSeq(members, ",") {
				if m == user {
					return text
				}
			}
			if members != "" {
				line += ","
			}
			lines[i] = line + user
		}
		return strings.Join(lines, "\n")
	}
	return errors.Join(c.rewrite(groupFile, false, add), c.rewrite(gshadowFile, false, add))
}

// checkUserName keeps what would break the lines of the databases out.
func checkUserName(name string) error {
	if name == "" || strings.ContainsAny(name, ":, \t\n/") || name[0] == '-' {
		return fmt.Errorf("invalid name %q", name)
	}
	return nil
}

// checkFields keeps what would make more fields or lines out.
func checkFields(values ...string) error {
	for _, v := range values {
		if strings.ContainsAny(v, ":\n") {
			return fmt.Errorf("invalid field %q", v)
		}
	}
	return nil
}

func parseID(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<31-1 {
		return 0, fmt.Errorf("invalid ID %q", s)
	}
	return n, nil
}

func runGetent(c *call) int {
	args := c.flags.args()
	if len(args) == 0 {
		return c.errorf(1, "missing database")
	}
	file := map[string]string{"passwd": passwdFile, "group": groupFile, "shadow": shadowFile}[args[0]]
	if file == "" {
		return c.errorf(1, "unknown database %s", args[0])
	}
	raw, err := c.stage.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c.fail(err)
	}
	if len(args) == 1 {
		c.printf("%s", raw)
		return 0
	}
	status := 0
	for _, key := range args[1:] {
		found := false
		for line := range strings.SplitSeq(string(raw), "\n") {
			fields := strings.Split(line, ":")
			if fields[0] == key || len(fields) > 2 && fields[2] == key {
				c.printf("%s\n", line)
				found = true
				break
			}
		}
		if !found {
			status = 2
		}
	}
	return status
}
