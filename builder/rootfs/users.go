package rootfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxUsers is how large /etc/passwd and /etc/group may be, as for BuildKit.
const maxUsers = 10 << 20

// maxID is the largest ID: beyond it, engines do not agree.
const maxID = 1<<31 - 1

// User is a line of /etc/passwd.
type User struct {
	Name     string
	UID, GID int
	Comment  string
	Home     string
	Shell    string
}

// Group is a line of /etc/group.
type Group struct {
	Name    string
	GID     int
	Members []string
}

// Users are those of the stage's /etc/passwd, in order; none where it is missing.
func (f *FS) Users() ([]User, error) {
	var users []User
	err := f.eachLine("/etc/passwd", func(field func(int) string) {
		users = append(users, User{
			Name: field(0), UID: number(field(2)), GID: number(field(3)),
			Comment: field(4), Home: field(5), Shell: field(6),
		})
	})
	return users, err
}

// Groups are those of the stage's /etc/group, in order; none where it is missing.
func (f *FS) Groups() ([]Group, error) {
	var groups []Group
	err := f.eachLine("/etc/group", func(field func(int) string) {
		g := Group{Name: field(0), GID: number(field(2))}
		for name := range strings.SplitSeq(field(3), ",") {
			if name != "" {
				g.Members = append(g.Members, name)
			}
		}
		groups = append(groups, g)
	})
	return groups, err
}

// number reads an ID as engines do: what is none is 0.
func number(s string) int {
	n, _ := strconv.ParseInt(s, 10, 32)
	return int(n)
}

func (f *FS) eachLine(name string, fn func(field func(int) string)) (err error) {
	r, err := f.Open(name)
	if notThere(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	lines := bufio.NewScanner(io.LimitReader(r, maxUsers))
	lines.Buffer(nil, maxUsers)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, ":")
		fn(func(i int) string {
			if i < len(fields) {
				return fields[i]
			}
			return ""
		})
	}
	return lines.Err()
}

// UnknownError is returned for a name that the stage does not know.
type UnknownError struct {
	// Kind is "user" or "group".
	Kind string
	Name string
}

func (e *UnknownError) Error() string {
	file := "/etc/passwd"
	if e.Kind == "group" {
		file = "/etc/group"
	}
	return fmt.Sprintf("unknown %s %s: %s does not have it", e.Kind, e.Name, file)
}

// Owner returns whom a --chown=USER[:GROUP] means. A number is taken as it is,
// and stands for the group as well where there is none; the group of a name is
// the user's own.
//
// BuildKit takes a name that the stage does not know for root, without a word.
// Here it is an *UnknownError.
func (f *FS) Owner(spec string) (Owner, error) {
	o, err := f.owner(spec)
	if err != nil {
		return Owner{}, fmt.Errorf("finding owner %q: %w", spec, err)
	}
	return o, nil
}

func (f *FS) owner(spec string) (Owner, error) {
	name, group, _ := strings.Cut(spec, ":")
	id, isID, err := numeric(name)
	o := Owner{id, id}
	switch {
	case err != nil:
		return Owner{}, err
	case name == "" && group == "":
		return Owner{}, errors.New("there is neither a user nor a group")
	case !isID && name != "":
		u, err := f.user(name)
		if err != nil {
			return Owner{}, err
		}
		o = Owner{u.UID, u.GID}
	}
	if group == "" {
		return o, nil
	}
	if id, ok, err := numeric(group); ok || err != nil {
		o.GID = id
		return o, err
	}
	g, err := f.group(group)
	o.GID = g.GID
	return o, err
}

// numeric reads an ID; "root" is one in every stage.
func numeric(s string) (int, bool, error) {
	if s == "root" {
		return 0, true, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if errors.Is(err, strconv.ErrSyntax) {
		return 0, false, nil // it is a name
	}
	if err != nil || n < 0 || n > maxID {
		return 0, false, fmt.Errorf("%s is not between 0 and %d", s, maxID)
	}
	return int(n), true, nil
}

func (f *FS) user(name string) (User, error) {
	users, err := f.Users()
	if err != nil {
		return User{}, err
	}
	for _, u := range users {
		if u.Name == name {
			return u, nil
		}
	}
	return User{}, &UnknownError{"user", name}
}

func (f *FS) group(name string) (Group, error) {
	groups, err := f.Groups()
	if err != nil {
		return Group{}, err
	}
	for _, g := range groups {
		if g.Name == name {
			return g, nil
		}
	}
	return Group{}, &UnknownError{"group", name}
}

// Login returns the user that a USER instruction names, as an engine that starts
// a process finds it: a number is looked up as well, and may be missing. The
// user's GID is the one of the process.
func (f *FS) Login(spec string) (User, error) {
	u, err := f.login(spec)
	if err != nil {
		return User{}, fmt.Errorf("finding user %q: %w", spec, err)
	}
	return u, nil
}

func (f *FS) login(spec string) (User, error) {
	name, group, _ := strings.Cut(spec, ":")
	if name == "" {
		name = "0"
	}
	users, err := f.Users()
	if err != nil {
		return User{}, err
	}
	id, isID, err := numeric(name)
	if err != nil {
		return User{}, err
	}
	u, known := User{UID: id}, isID
	for _, candidate := range users {
		if isID && candidate.UID == id || !isID && candidate.Name == name {
			u, known = candidate, true
			break
		}
	}
	if !known {
		return User{}, &UnknownError{"user", name}
	}
	if u.Home == "" {
		u.Home = "/"
	}
	if group == "" {
		return u, nil
	}
	o, err := f.owner(":" + group)
	u.GID = o.GID
	return u, err
}

// GroupsOf returns the IDs of the groups that list the user, beside its own.
func (f *FS) GroupsOf(name string) ([]int, error) {
	groups, err := f.Groups()
	var ids []int
	for _, g := range groups {
		for _, member := range g.Members {
			if member == name {
				ids = append(ids, g.GID)
				break
			}
		}
	}
	return ids, err
}
