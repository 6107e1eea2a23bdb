package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
)

// mount puts the mounts of a RUN into the stage, and its here-documents. What
// they cover comes back with unmount, and what was written to them is gone.
func (m *machine) mount(ctx context.Context, run *plan.Run) (unmount func() error, err error) {
	var covers []func() error
	unmount = func() error {
		var err error
		for _, uncover := range slices.Backward(covers) {
			err = errors.Join(err, uncover())
		}
		return err
	}
	cover := func(p string) (string, error) {
		at, uncover, err := m.stage.Cover(p)
		if err == nil {
			covers = append(covers, uncover)
		}
		return at, err
	}
	for _, mnt := range run.Mounts {
		if err := m.mountOne(ctx, mnt, cover); err != nil {
			return nil, errors.Join(fmt.Errorf("mounting %s: %w", mnt.Target, err), unmount())
		}
	}
	for _, f := range run.Files {
		p := path.Join(plan.PipesDir, f.Name)
		at, err := cover(p)
		if err == nil {
			err = m.stage.WriteFile(at, []byte(f.Data), 0o755, rootfs.Root)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("writing %s: %w", p, err), unmount())
		}
	}
	return unmount, nil
}

func (m *machine) mountOne(ctx context.Context, mnt plan.Mount, cover func(string) (string, error)) error {
	switch mnt.Type {
	case plan.MountSSH:
		if m.host.AgentSocket != "" { // which programs of the host use, and the shell has not
			m.env = append(m.env, agentVar+"="+mnt.Target)
		}
		return nil
	case plan.MountSecret:
		return m.mountSecret(ctx, mnt, cover)
	case plan.MountCache:
		if slices.ContainsFunc(m.host.Dirs, func(d Dir) bool { return d.Stage == path.Clean(mnt.Target) }) {
			return nil // the host has a cache for it
		}
	}
	target, err := cover(mnt.Target)
	if err != nil {
		return err
	}
	if mnt.Type == plan.MountBind || mnt.From != "" {
		return m.mountTree(ctx, mnt, target)
	}
	mode, err := octal(mnt.Mode, 0o755)
	if mnt.Type == plan.MountTmpfs {
		mode, err = octal(mnt.Mode, fs.ModeSticky|0o777)
	}
	if err != nil {
		return err
	}
	return m.stage.Mkdir(target, mode, rootfs.Owner{UID: mnt.UID, GID: mnt.GID})
}

// agentVar says where an ssh agent is.
const agentVar = "SSH_AUTH_SOCK"

func octal(s string, otherwise fs.FileMode) (fs.FileMode, error) {
	if s == "" {
		return otherwise, nil
	}
	if _, err := strconv.ParseUint(s, 8, 12); err != nil {
		return 0, fmt.Errorf("malformed mode %q", s)
	}
	mode, err := rootfs.ParseMode(s)
	bits, _ := mode.Octal()
	return bits, err
}

func (m *machine) mountSecret(ctx context.Context, mnt plan.Mount, cover func(string) (string, error)) error {
	var content []byte
	err := fs.ErrNotExist
	if m.host.Secret != nil {
		content, err = m.host.Secret(ctx, mnt)
	}
	if errors.Is(err, fs.ErrNotExist) && !mnt.Required {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding secret %s: %w", mnt.ID, err)
	}
	if mnt.Env != "" {
		m.env = append(m.env, mnt.Env+"="+string(content))
	}
	if mnt.Target == "" {
		return nil
	}
	mode, err := octal(mnt.Mode, 0o400)
	if err != nil {
		return err
	}
	target, err := cover(mnt.Target)
	if err != nil {
		return err
	}
	return m.stage.WriteFile(target, content, mode, rootfs.Owner{UID: mnt.UID, GID: mnt.GID})
}

// mountTree copies what a mount shows, so that programs of the host find it.
func (m *machine) mountTree(ctx context.Context, mnt plan.Mount, target string) error {
	if m.host.Source == nil {
		return errors.New("there is nothing to mount from")
	}
	tree, err := m.host.Source(ctx, mnt)
	if err != nil {
		return err
	}
	source := path.Join("/", mnt.Source)
	at, info, err := rootfs.Resolve(tree, source)
	if err != nil {
		return err
	}
	if info == nil {
		return &fs.PathError{Op: "finding", Path: source, Err: fs.ErrNotExist}
	}
	defer m.stage.Hold()()
	return m.copyTree(ctx, tree, *info, at, target)
}

func (m *machine) copyTree(ctx context.Context, tree rootfs.Tree, info rootfs.Info, from, to string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case info.IsSymlink():
		return m.stage.Symlink(info.Link, to, info.Owner())
	case info.Mode.IsRegular():
		return m.copyFile(tree, info, from, to)
	case !info.IsDir():
		return m.stage.Mknod(to, info)
	}
	if err := m.stage.Mkdir(to, info.Mode, info.Owner()); err != nil {
		return err
	}
	list, err := tree.ReadDir(from)
	if err != nil {
		return err
	}
	for _, child := range list {
		if err := m.copyTree(ctx, tree, child, child.Path, strings.TrimSuffix(to, "/")+"/"+path.Base(child.Path)); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) copyFile(tree rootfs.Tree, info rootfs.Info, from, to string) (err error) {
	r, err := tree.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w, err := m.stage.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode, info.Owner())
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}
