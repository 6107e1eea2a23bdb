//go:build amd64 || arm64

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// moment is one at which a process is about to make a system call.
type moment struct {
	call uint64
	// path of the file that it changes, or what stands for a connection.
	path string
}

// tracer runs a command, and at one of the moments at which it is about to
// change a file, or to send something, has it get a signal. Moments are counted,
// so that each can be had, and there are no others: what a process has done is
// what its system calls have.
type tracer struct {
	t    *testing.T
	args []string
	dir  string
	env  []string
	at   point
	sig  syscall.Signal

	pid int
	// moments are all that there were.
	moments []moment
	// stderr is what the command wrote there.
	stderr string
	status syscall.WaitStatus
}

// run returns when the command has ended. Its children are not traced.
func (tr *tracer) run() {
	tr.t.Helper()
	// A tracee has to do with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	exe, err := exec.LookPath(tr.args[0])
	if err != nil {
		tr.t.Fatal(err)
	}
	stderr, err := os.Create(filepath.Join(tr.t.TempDir(), "stderr"))
	if err != nil {
		tr.t.Fatal(err)
	}
	defer stderr.Close()
	p, err := os.StartProcess(exe, tr.args, &os.ProcAttr{
		Dir: tr.dir, Env: tr.env, Files: []*os.File{nil, nil, stderr}, Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if errors.Is(err, syscall.EPERM) {
		tr.t.Skip("nothing may be traced here: ", err)
	}
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.pid = p.Pid
	defer func() { _ = p.Release() }()
	if err := tr.follow(); err != nil {
		_ = p.Kill()
		tr.t.Fatal("tracing: ", err)
	}
	raw, err := os.ReadFile(stderr.Name())
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.stderr = string(raw)
}

// follow has every thread go from one system call to the next.
func (tr *tracer) follow() error {
	if _, err := tr.wait(tr.pid); err != nil {
		return err
	}
	const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE
	if err := syscall.PtraceSetOptions(tr.pid, options); err != nil {
		return err
	}
	known := map[int]bool{tr.pid: true}
	for tid := tr.pid; ; {
		// One that has been killed meanwhile is waited for as well.
		if err := syscall.PtraceSyscall(tid, tr.stopped(tid, known)); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		for ended := true; ended; {
			var err error
			if tid, err = tr.wait(-1); err != nil {
				return err
			}
			ended = tr.status.Exited() || tr.status.Signaled()
			if ended && tid == tr.pid {
				return nil
			}
		}
	}
}

// wait waits for a thread to stop or to end. Children of other threads of this
// process are not its business.
func (tr *tracer) wait(pid int) (int, error) {
	for {
		tid, err := syscall.Wait4(pid, &tr.status, unix.WALL|unix.WNOTHREAD, nil)
		if !errors.Is(err, syscall.EINTR) {
			return tid, err
		}
	}
}

// stopped looks at why a thread has stopped, and returns the signal that it goes
// on with.
func (tr *tracer) stopped(tid int, known map[int]bool) int {
	sig := tr.status.StopSignal()
	switch {
	case sig == syscall.SIGTRAP|0x80:
		if m := tr.moment(tid); m.path != "" {
			if tr.moments = append(tr.moments, m); tr.at.reached(tr.moments) {
				_ = syscall.Kill(tr.pid, tr.sig)
			}
		}
		return 0
	case sig == syscall.SIGTRAP: // it runs another program, or has a new thread
		return 0
	case sig == syscall.SIGSTOP && !known[tid]:
		known[tid] = true
		return 0
	}
	return int(sig)
}

// callInfo is struct ptrace_syscall_info, on entry.
type callInfo struct {
	op      uint8
	_       [3]uint8
	arch    uint32
	ip, sp  uint64
	nr      uint64
	args    [6]uint64
	padding [4]uint64
}

// moment returns the system call that a thread is about to make, without a path
// where it is of no interest.
func (tr *tracer) moment(tid int) moment {
	const entry = 1
	var info callInfo
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid),
		unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0) //nolint:gosec // how ptrace takes it
	if errno != 0 || info.op != entry {
		return moment{}
	}
	path := ""
	switch info.nr {
	case unix.SYS_OPENAT:
		if info.args[2]&unix.O_CREAT == 0 {
			return moment{}
		}
		path = tr.text(info.args[1])
	case unix.SYS_UNLINKAT, unix.SYS_MKDIRAT, unix.SYS_FCHMODAT, unix.SYS_UTIMENSAT:
		path = tr.text(info.args[1])
	case unix.SYS_SYMLINKAT:
		path = tr.text(info.args[2])
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT:
		path = tr.text(info.args[3])
	case unix.SYS_COPY_FILE_RANGE:
		path = tr.file(info.args[2])
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FCHMOD:
		path = tr.file(info.args[0])
	}
	return moment{info.nr, random.ReplaceAllString(path, "$1*")}
}

// random is what is random in the names of temporary files.
var random = regexp.MustCompile(`(/\.stagectl-|/[a-z]+-)[0-9A-Z]{6,}`)

// file returns what a descriptor stands for, where it is a file or a connection:
// there is also what a process writes to itself.
func (tr *tracer) file(fd uint64) string {
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tr.pid, fd))
	if err != nil || !strings.HasPrefix(name, "socket:") && !strings.HasPrefix(name, "/") || filepath.Base(name) == "stderr" {
		return ""
	}
	return name
}

// text reads a string of the process.
func (tr *tracer) text(at uint64) string {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", tr.pid))
	if err != nil {
		return ""
	}
	defer mem.Close()
	raw := make([]byte, unix.PathMax)
	n, _ := mem.ReadAt(raw, int64(at)) // less at the end of what is mapped
	text, _, _ := strings.Cut(string(raw[:n]), "\x00")
	return text
}

// point is a moment to stop at: one that is counted from the start or, since
// threads do not always come at the same order, from all that are alike. The zero
// value is none.
type point struct {
	n     int
	alike moment
}

// reached tells whether the last one of the moments is the point.
func (p point) reached(all []moment) bool {
	if p.alike.path == "" {
		return len(all) == p.n
	}
	n := 0
	for _, m := range all {
		if m == p.alike {
			n++
		}
	}
	return n == p.n && all[len(all)-1] == p.alike
}

// points are those of the moments to stop at: all where that is asked for, or
// else some of them, the first and the last, all at which a file is changed that
// does not have the name of a temporary one, and one in the middle of each file.
func points(t *testing.T, all []moment) []point {
	t.Helper()
	n, some := len(all), 8
	if os.Getenv("STAGECTL_TEST_POINTS") == "all" {
		some = n
	}
	var chosen []point
	for i := range min(some, n) {
		chosen = append(chosen, point{n: 1 + i*(n-1)/max(min(some, n)-1, 1)})
	}
	writes, seen := map[moment]int{}, map[moment]int{}
	for _, m := range all {
		writes[m]++
	}
	for _, m := range all {
		if seen[m]++; m.exposed() || m.call == unix.SYS_WRITE && seen[m] == 1+writes[m]/2 {
			chosen = append(chosen, point{seen[m], m})
		}
	}
	return chosen
}

// exposed tells whether others may find a file half-written after the call.
func (m moment) exposed() bool {
	switch m.call {
	case unix.SYS_OPENAT, unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_COPY_FILE_RANGE:
	default:
		return false
	}
	for _, mark := range []string{"/cache/tmp/", "/.stagectl-*", ".new", "/cache/lock", ".lock"} {
		if strings.Contains(m.path, mark) {
			return false
		}
	}
	return strings.Contains(m.path, "/out/") || strings.Contains(m.path, "/cache/")
}
