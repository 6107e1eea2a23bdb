//go:build unix

package process

import (
	"os/exec"
	"syscall"
)

// KillTree makes the end of cmd's context end the program's children as well:
// first by the signal on which the go command, for one, removes its work
// directory, and after cmd.WaitDelay for good. reap, called when cmd has ended,
// ends those that are left.
//
// The group of their own also keeps them from the signals of a terminal, which
// are for stagectl to handle.
func KillTree(cmd *exec.Cmd) (reap func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	interrupted := false
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
			return err // it has ended by itself
		}
		interrupted = true
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	}
	return func() {
		if interrupted {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // if there is anyone
		}
	}
}
