package script

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

func runUseradd(c *call) int {
	args := c.flags.args()
	if len(args) != 1 {
		return c.errorf(2, "it takes the name of one user")
	}
	a := account{system: c.has('r'), password: "!", skel: "/etc/skel"}
	a.Name, a.Comment, a.Home, a.Shell = args[0], c.value('c'), c.value('d'), c.value('s')
	if c.has('p') {
		a.password = c.value('p')
	}
	if taken, err := c.hasUser(a.Name); taken && err == nil {
		return c.errorf(9, "user '%s' already exists", a.Name)
	}
	err := errors.Join(checkUserName(a.Name), checkFields(a.Comment, a.Home, a.Shell, a.password))
	if err == nil {
		err = c.shadowAccount(&a)
	}
	if err == nil {
		err = c.addUser(a)
	}
	if err == nil && !a.system {
		err = c.subordinates(a.Name)
	}
	for g := range strings.SplitSeq(c.value('G'), ",") {
		if g == "" || err != nil {
			continue
		}
		var ok bool
		if _, ok, err = c.groupByName(g); err == nil && !ok {
			return c.errorf(6, "group '%s' does not exist", g)
		}
		if err == nil {
			err = c.join(a.Name, g)
		}
	}
	if err != nil {
		return c.fail(err)
	}
	return 0
}

// shadowAccount fills in what useradd takes for what is not given.
func (c *call) shadowAccount(a *account) error {
	if a.Home == "" {
		base := "/home"
		if c.has('b') {
			base = c.value('b')
		}
		a.Home = path.Join(base, a.Name)
	}
	if !c.has('s') {
		a.Shell = "/bin/sh"
	}
	if c.has('k') {
		a.skel = c.value('k')
	}
	if c.has('m') && !c.has('M') {
		a.homeMode = 0o755
		if !c.busybox() {
			a.homeMode = 0o700 // HOME_MODE of Debian's login.defs
		}
	}
	users, groups, err := c.taken()
	if err != nil {
		return err
	}
	if c.has('u') {
		if a.UID, err = parseID(c.value('u')); err == nil && users[a.UID] && !c.has('o') {
			err = fmt.Errorf("UID %d is not unique", a.UID)
		}
	} else {
		a.UID, err = nextID(a.system, users)
	}
	if err != nil {
		return err
	}
	switch {
	case c.has('g'):
		g, ok, err := c.groupByName(c.value('g'))
		if err == nil && !ok {
			err = fmt.Errorf("group '%s' does not exist", c.value('g'))
		}
		a.GID = g.GID
		return err
	case c.has('N'):
		a.GID = 100 // users
		return nil
	}
	a.ownGroup, a.GID = true, a.UID
	if groups[a.GID] {
		a.GID, err = nextID(a.system, groups)
	}
	if _, taken, _ := c.groupByName(a.Name); taken {
		err = fmt.Errorf("group %s exists - if you want to add this user to that group, use -g", a.Name)
	}
	return err
}

// subordinates gives a user its range in /etc/subuid and /etc/subgid.
func (c *call) subordinates(name string) error {
	for _, file := range []string{subuidFile, subgidFile} {
		err := c.rewrite(file, false, func(text string) string {
			next := 100000
			for line := range strings.SplitSeq(text, "\n") {
				fields := strings.Split(line, ":")
				if len(fields) < 3 {
					continue
				}
				from, err := parseID(fields[1])
				count, countErr := parseID(fields[2])
				if err == nil && countErr == nil {
					next = max(next, from+count)
				}
			}
			return fmt.Sprintf("%s%s:%d:65536\n", text, name, next)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func checkUsermod(_ *checker, args []word) *refusal {
	f, err := usermodFlags.parse(args)
	if err == nil && f.any("mul") {
		err = errors.New("-m, -u and -l")
	}
	if err == nil && f.has('G') && !f.has('a') {
		err = errors.New("-G without -a")
	}
	if err != nil {
		return &refusal{"usermod that knows more: " + err.Error(), ""}
	}
	return nil
}

func runUsermod(c *call) int {
	f, err := usermodFlags.parse(words(c.args))
	if err != nil {
		return c.errorf(2, "%v", err)
	}
	c.flags = f
	args := f.args()
	if len(args) != 1 {
		return c.errorf(2, "it takes the name of one user")
	}
	user := args[0]
	if ok, err := c.hasUser(user); !ok || err != nil {
		return c.errorf(6, "user '%s' does not exist", user)
	}
	for g := range strings.SplitSeq(c.value('G'), ",") {
		if g == "" {
			continue
		}
		if status := c.addMember(user, g); status != 0 {
			return 6
		}
	}
	if err := c.usermod(user); err != nil {
		return c.fail(err)
	}
	return 0
}

func (c *call) usermod(user string) error {
	changes := map[int]string{}
	for field, letter := range map[int]byte{4: 'c', 5: 'd', 6: 's'} {
		if c.has(letter) {
			changes[field] = c.value(letter)
		}
	}
	if c.has('g') {
		g, ok, err := c.groupByName(c.value('g'))
		if err == nil && !ok {
			err = fmt.Errorf("group '%s' does not exist", c.value('g'))
		}
		if err != nil {
			return err
		}
		changes[3] = fmt.Sprint(g.GID)
	}
	for _, value := range changes {
		if err := checkFields(value); err != nil {
			return err
		}
	}
	return c.rewrite(passwdFile, false, func(text string) string {
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			fields := strings.Split(line, ":")
			if fields[0] != user || len(fields) < 7 {
				continue
			}
			for field, value := range changes {
				fields[field] = value
			}
			lines[i] = strings.Join(slices.Clip(fields), ":")
		}
		return strings.Join(lines, "\n")
	})
}
