package script

import (
	"errors"
	"fmt"
	"io/fs"
)

// runAdduser is adduser, busybox's or Debian's, which take the same long flags
// and do not mean the same by them.
func runAdduser(c *call) int {
	args := c.flags.args()
	switch {
	case len(args) == 2 && len(c.values) == 0:
		return c.addMember(args[0], args[1])
	case len(args) != 1:
		return c.errorf(1, "it takes the name of one user")
	}
	a := account{system: c.has('S'), password: "!", skel: "/etc/skel"}
	a.Name, a.Comment, a.Home, a.Shell = args[0], c.value('g'), c.value('h'), c.value('s')
	if c.has('k') {
		a.skel = c.value('k')
	}
	fill := c.debianAccount
	if c.busybox() {
		fill = c.busyboxAccount
	}
	err := errors.Join(checkUserName(a.Name), checkFields(a.Comment, a.Home, a.Shell))
	if err == nil {
		err = c.freeName(a.Name)
	}
	var groups []string
	if err == nil {
		groups, err = fill(&a)
	}
	if err == nil {
		err = c.addUser(a)
	}
	for _, g := range groups {
		if err == nil {
			err = c.join(a.Name, g)
		}
	}
	if err != nil {
		return c.fail(err)
	}
	if !c.has('D') && !a.system {
		return c.errorf(1, "it asks for a password, and there is no one to answer: use -D")
	}
	return 0
}

func (c *call) freeName(name string) error {
	taken, err := c.hasUser(name)
	if taken {
		return fmt.Errorf("user '%s' in use", name)
	}
	return err
}

// busyboxAccount fills in what busybox's adduser takes for what is not given.
func (c *call) busyboxAccount(a *account) (groups []string, err error) {
	if a.Home == "" {
		a.Home = "/home/" + a.Name
	}
	if !c.has('g') {
		a.Comment = "Linux User,,,"
	}
	if !c.has('s') {
		a.Shell = "/bin/sh"
		if a.system {
			a.Shell = "/sbin/nologin" // Alpine's busybox; others have /bin/false
		}
	}
	if !c.has('H') {
		a.homeMode = fs.ModeSetgid | 0o755
	}
	group := c.value('G')
	if group == "" && a.system {
		group = "nogroup"
	}
	if group != "" {
		g, ok, err := c.groupByName(group)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("unknown group %s", group)
		}
		a.GID, groups = g.GID, []string{g.Name}
	}
	a.ownGroup = group == ""
	if a.UID, err = c.freeUID(a.system, a.ownGroup, c.value('u')); err != nil {
		return nil, err
	}
	if a.ownGroup {
		if _, taken, err := c.groupByName(a.Name); taken || err != nil {
			return nil, errors.Join(err, fmt.Errorf("group '%s' in use", a.Name))
		}
		a.GID = a.UID
	}
	return groups, nil
}

// freeUID is the wanted ID, or the first free one; with group, free for a group
// as well.
func (c *call) freeUID(system, group bool, wanted string) (int, error) {
	users, groups, err := c.taken()
	if err != nil {
		return 0, err
	}
	isFree := func(id int) bool { return !users[id] && (!group || !groups[id]) }
	if wanted != "" {
		id, err := parseID(wanted)
		if err == nil && !isFree(id) {
			err = fmt.Errorf("uid '%d' in use", id)
		}
		return id, err
	}
	return firstFree(system, isFree)
}

func firstFree(system bool, isFree func(int) bool) (int, error) {
	from, to := firstID, lastID
	if system {
		from, to = firstSystemID, lastSystemID
	}
	for id := from; id <= to; id++ {
		if isFree(id) {
			return id, nil
		}
	}
	return 0, errors.New("no IDs left")
}

// debianAccount fills in what Debian's adduser takes for what is not given.
func (c *call) debianAccount(a *account) (groups []string, err error) {
	if !c.has('s') {
		a.Shell = "/bin/bash"
		if a.system {
			a.Shell = "/usr/sbin/nologin"
		}
	}
	if a.Home == "" {
		a.Home = "/home/" + a.Name
		if a.system {
			a.Home = "/nonexistent"
		}
	}
	if !c.has('H') && (!a.system || c.has('h')) {
		a.homeMode = 0o700
		if a.system {
			a.homeMode = 0o755
		}
	}
	if a.Comment == "" && !a.system && !c.has('g') {
		a.Comment = ",,,"
	}
	group := c.value('G')
	if group == "" {
		group = c.value('X')
	}
	switch {
	case group != "":
		g, ok, err := c.groupByName(group)
		if err == nil && !ok {
			err = fmt.Errorf("the group '%s' does not exist", group)
		}
		if err != nil {
			return nil, err
		}
		a.GID = g.GID
	case a.system && !c.has('N'):
		a.GID = 65534 // nogroup
	default:
		a.ownGroup = true
	}
	if a.UID, err = c.freeUID(a.system, a.ownGroup, c.value('u')); err != nil {
		return nil, err
	}
	if a.ownGroup {
		a.GID = a.UID
	}
	if _, ok, err := c.groupByName("users"); ok && !a.system && err == nil {
		groups = append(groups, "users") // since Debian 12
	}
	return groups, nil
}

func (c *call) addMember(user, group string) int {
	isUser, err := c.hasUser(user)
	if err != nil {
		return c.fail(err)
	}
	if !isUser {
		return c.errorf(1, "unknown user %s", user)
	}
	g, isGroup, err := c.groupByName(group)
	if err != nil {
		return c.fail(err)
	}
	if !isGroup {
		return c.errorf(1, "unknown group %s", group)
	}
	if err := c.join(user, g.Name); err != nil {
		return c.fail(err)
	}
	return 0
}

func runAddgroup(c *call) int {
	args := c.flags.args()
	switch {
	case len(args) == 2:
		return c.addMember(args[0], args[1])
	case len(args) != 1:
		return c.errorf(1, "it takes the name of one group")
	}
	return c.newGroup(args[0], c.has('S'), c.value('g'), false)
}

// newGroup adds a group with the wanted ID, or the first free one; downwards for
// the system's groups as of shadow's programs.
func (c *call) newGroup(name string, system bool, wanted string, down bool) int {
	if err := checkUserName(name); err != nil {
		return c.errorf(1, "%v", err)
	}
	_, taken, err := c.groupByName(name)
	if err == nil && taken {
		err = fmt.Errorf("group '%s' in use", name)
	}
	_, groups, takenErr := c.taken()
	if err = errors.Join(err, takenErr); err != nil {
		return c.fail(err)
	}
	isFree := func(id int) bool { return !groups[id] }
	var gid int
	switch {
	case wanted != "":
		if gid, err = parseID(wanted); err == nil && !isFree(gid) && !c.has('o') {
			err = fmt.Errorf("gid '%d' in use", gid)
		}
	case down:
		gid, err = nextID(system, groups)
	default:
		gid, err = firstFree(system, isFree)
	}
	if err == nil {
		err = c.addGroup(name, gid)
	}
	if err != nil {
		return c.fail(err)
	}
	return 0
}

// nextID is the ID that shadow's programs choose: for the system from above down,
// else the one after the highest.
func nextID(system bool, taken map[int]bool) (int, error) {
	if system {
		for id := lastSystemID; id >= firstSystemID; id-- {
			if !taken[id] {
				return id, nil
			}
		}
		return 0, errors.New("no IDs left")
	}
	next := firstID
	for id := range taken {
		if id >= next && id < lastID {
			next = id + 1
		}
	}
	return next, nil
}

func runGroupadd(c *call) int {
	args := c.flags.args()
	if len(args) != 1 {
		return c.errorf(2, "it takes the name of one group")
	}
	if _, taken, err := c.groupByName(args[0]); taken && err == nil {
		if c.has('f') {
			return 0
		}
		return c.errorf(9, "group '%s' already exists", args[0])
	}
	return c.newGroup(args[0], c.has('r'), c.value('g'), true)
}
