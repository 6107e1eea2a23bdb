package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// peakRSS runs cmd and returns the most memory it ever had resident, in MiB.
//
// The rusage that wait4 returns would be simpler, but its maximum is also over
// the descendants that the process waited for, and those are the compiler and
// the linker. So the kernel's own high-water mark of the process is read from
// /proc while it runs. The mark only rises: what is missed is at most a new
// maximum in the last interval before the exit.
func peakRSS(cmd *exec.Cmd) (float64, error) {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	// When Start returns, the child has its own memory: the exec is done.
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	status := fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)
	var peak float64
	for {
		select {
		case <-ticker.C:
			peak = max(peak, highWater(status))
		case err := <-done:
			if err != nil {
				return 0, commandError(cmd, err, stderr.String())
			}
			if peak == 0 {
				return 0, errors.New("VmHWM could not be read while it ran")
			}
			return peak, nil
		}
	}
}

// highWater reads VmHWM, in MiB. It is 0 for a process that has ended.
func highWater(status string) float64 {
	raw, err := os.ReadFile(status)
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), "\nVmHWM:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib / 1024
}
