//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
)

// cgroupParent is the cgroup below which all containers of the tests live.
const cgroupParent = "stagectl-e2e"

// hosts is /etc/hosts in the sandbox. The registries have real names, because
// tools treat localhost and literal addresses in special ways.
const hosts = "127.0.0.1 localhost " + mirrorName + " " + registryName + "\n"

// enterSandbox prepares everything that needs the host's network, then runs
// the init process in new namespaces and waits for it.
func enterSandbox() (int, error) {
	// The init process is killed when the thread that started it ends.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := checkHost(); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "stagectl-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	defer removeCgroups()
	s, err := prepare(ctx, dir)
	if err != nil {
		return 0, err
	}
	file, err := writeSetup(s)
	if err != nil {
		return 0, err
	}
	cmd, err := reexec("init", setupVar+"="+file, "TMPDIR="+filepath.Join(dir, "tmp"))
	if err != nil {
		return 0, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("creating namespaces: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	code, err := exitCode(cmd.Wait())
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	return code, err
}

// exitCode turns what exec.Cmd.Wait returned into a process's exit code.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode(), nil
	}
	return 0, err
}

// reexec is the command that runs this test binary again as the given stage.
func reexec(stage string, vars ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), append(vars, stageVar+"="+stage)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd, nil
}

// runInit makes the namespaces habitable and runs the tests process, reaping
// whatever containers and daemons leave to it, as the first process must.
func runInit() (int, error) {
	s, err := readSetup()
	if err != nil {
		return 0, err
	}
	if err := mountSandbox(s.Dir); err != nil {
		return 0, err
	}
	if err := syscall.Sethostname([]byte("stagectl-e2e")); err != nil {
		return 0, fmt.Errorf("setting the host name: %w", err)
	}
	if out, err := exec.Command("busybox", "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("setting lo up: %w: %s", err, out)
	}
	cmd, err := reexec("tests")
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("waiting: %w", err)
		case pid == cmd.Process.Pid && status.Signaled():
			return 0, fmt.Errorf("the tests were ended by signal: %s", status.Signal())
		case pid == cmd.Process.Pid:
			return status.ExitStatus(), nil
		}
	}
}

// mountSandbox replaces the directories in which the host's programs meet.
func mountSandbox(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, m := range []struct{ path, mode string }{
		{"/run", "0755"}, {"/dev/shm", "1777"}, {"/var/lib/cni", "0755"}, {"/var/lib/containers", "0755"},
	} {
		err := syscall.Mount("tmpfs", m.path, "tmpfs", 0, "mode="+m.mode)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("mounting %s: %w", m.path, err)
		}
	}
	file := filepath.Join(dir, "hosts")
	if err := os.WriteFile(file, []byte(hosts), 0o644); err != nil {
		return err
	}
	if err := syscall.Mount(file, "/etc/hosts", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting /etc/hosts: %w", err)
	}
	// crun refuses a version 2 cgroup tree with controllers beside the version
	// 1 trees; without it, it sees the version 1 trees alone.
	unified := "/sys/fs/cgroup/unified"
	if data, _ := os.ReadFile(filepath.Join(unified, "cgroup.controllers")); len(data) > 1 {
		if err := syscall.Unmount(unified, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %s: %w", unified, err)
		}
	}
	return nil
}

// removeCgroups removes the empty cgroups that containers leave behind; they
// are the only thing that the namespaces do not take with them.
func removeCgroups() {
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		roots, _ := filepath.Glob(pattern + cgroupParent)
		for _, root := range roots {
			var dirs []string
			_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for _, dir := range slices.Backward(dirs) {
				_ = syscall.Rmdir(dir)
			}
		}
	}
}
