//go:build unix

package compile_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stagectl/stagectl/builder/compile"
	"github.com/stagectl/stagectl/builder/plan"
)

// static builds some program.
func static(t *testing.T) string {
	t.Helper()
	dir := tree(t, hello)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", "program", ".")
	cmd.Dir, cmd.Env = dir, environ("GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "program")
}

// A binary is given out when it is linked, though another one is not.
func TestStart(t *testing.T) {
	program := static(t)
	raw, err := os.ReadFile(program)
	check(err)
	l := listen(t)
	c := fake("onebyone", l.addr+"|a|b|"+program)
	c.Outputs = t.TempDir()
	dir := t.TempDir()
	out := c.Start(t.Context(), amd64, []plan.Compile{
		{Dir: dir, Package: "example.com/b", Binary: "b"},
		{Dir: dir, Package: "example.com/a", Binary: "a"},
	})
	defer out.Close()
	conn, err := l.Accept()
	check(err)
	defer conn.Close()
	wait := func(step int, suffix byte) {
		t.Helper()
		b, err := out.Wait(t.Context(), step)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(append(raw, suffix))
		if want := hex.EncodeToString(sum[:]); b.Digest != want || b.Size != int64(len(raw)+1) {
			t.Errorf("step %d: digest %s and %d bytes, want %s and %d", step, b.Digest, b.Size, want, len(raw)+1)
		}
	}
	wait(1, 0)
	select {
	case <-out.Ended():
		t.Fatalf("the go command has ended: %v", out.Err())
	default:
	}
	if _, err := conn.Write([]byte(".")); err != nil {
		t.Fatal(err)
	}
	wait(0, 1)
	<-out.Ended()
	if err := out.Err(); err != nil {
		t.Error(err)
	}
}

// A binary that has been given out may become another file, since somebody else
// can compile it, too, but no other binary.
func TestStartTwice(t *testing.T) {
	program := static(t)
	for behind, want := range map[string]string{"": "", "x": "reading the binary: the go command changed a after it had linked it"} {
		l := listen(t)
		c := fake("twice", l.addr+"|a|"+program+"|"+behind)
		c.Outputs = t.TempDir()
		out := c.Start(t.Context(), amd64, []plan.Compile{{Dir: t.TempDir(), Package: "example.com/a", Binary: "a"}})
		conn, err := l.Accept()
		check(err)
		if _, err := out.Wait(t.Context(), 0); err != nil {
			t.Error(err)
		}
		if _, err := conn.Write([]byte(".")); err != nil {
			t.Error(err)
		}
		<-out.Ended()
		got := ""
		if err := out.Err(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("linked again with %q behind: got %q, want %q", behind, got, want)
		}
		_ = conn.Close()
		out.Close()
	}
}

// Close ends the go command, and whoever waits gets an error.
func TestStartClose(t *testing.T) {
	l := listen(t)
	c := fake("hang", l.addr)
	c.Outputs = t.TempDir()
	out := c.Start(t.Context(), amd64, []plan.Compile{{Dir: t.TempDir(), Package: ".", Binary: "a"}})
	l.wait(t, 2)
	out.Close()
	l.gone(t)
	if _, err := out.Wait(t.Context(), 0); err == nil {
		t.Error("there is a binary")
	}
}

// Binaries that are there already, as a Compiler of somebody else gives them.
func TestFinished(t *testing.T) {
	out := compile.Finished(2, []compile.Binary{{Digest: "1"}}, os.ErrClosed)
	defer out.Close()
	if b, err := out.Wait(t.Context(), 0); err != nil || b.Digest != "1" {
		t.Errorf("got %+v, %v", b, err)
	}
	if _, err := out.Wait(t.Context(), 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
