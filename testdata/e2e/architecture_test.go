//go:build linux

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// emulators are the programs of qemu-user-static, by architecture.
var emulators = map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}

// TestOtherArchitecture proves that the same sources come to the same bytes on a
// machine of another architecture: stagectl is run by an emulator, and the go
// command, which it starts, by the machine itself.
func TestOtherArchitecture(t *testing.T) {
	arch := "arm64"
	if runtime.GOARCH == arch {
		arch = "amd64"
	}
	foreign := filepath.Join(t.TempDir(), "stagectl")
	cross := exec.CommandContext(t.Context(), "go", "build", "-o", foreign, "./cmd/stagectl")
	cross.Dir = env.Source
	cross.Env = append(baseEnv(t), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	output(t, cross)
	native := func(args ...string) *exec.Cmd { return exec.CommandContext(t.Context(), env.Stagectl, args...) }
	emulated := func(args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), emulators[arch], append([]string{foreign}, args...)...)
	}
	dir := writeFiles(t, map[string]string{
		"go.mod":         "module example.com/m\n\ngo 1.21\n",
		"server/main.go": "package main\n\nfunc main() { println(`hello`) }\n",
		"conf/x":         "x\n",
		"Dockerfile": "FROM golang AS build\nWORKDIR /src\nCOPY . .\nRUN go build -trimpath -o /server ./server\n" +
			"FROM scratch\nCOPY --from=build /server /\nCOPY conf /etc/conf\nRUN [\"ln\", \"-s\", \"conf\", \"/etc/link\"]\n",
	})
	const both = "linux/amd64,linux/arm64"
	for name, args := range map[string][]string{
		// docker load reads of the host's image alone in manifest.json, which others do not have.
		"flags":           {"-o", "type=oci,dest=image.tar", "--platform", both, "--copy", "conf:/etc/conf", "./server"},
		"flags zstd":      {"-o", "type=oci,dest=image.tar", "--platform", both, "--compression", "zstd", "./server"},
		"one platform":    {"-o", "image.tar", "--platform", "linux/amd64", "--base", "scratch", "./server"},
		"dockerfile":      {"-o", "image.tar", "--platform", "linux/amd64", "-t", "e2e/image", "-f", "Dockerfile", "."},
		"dockerfile zstd": {"-o", "image.tar", "--platform", "linux/amd64", "-t", "e2e/image", "--compression", "zstd", "-f", "Dockerfile", "."},
	} {
		t.Run(name, func(t *testing.T) {
			built := func(command func(args ...string) *exec.Cmd) string {
				cmd := command(append([]string{"build", "--offline"}, args...)...)
				cmd.Dir, cmd.Env = dir, append(baseEnv(t), "GOTOOLCHAIN=local")
				output(t, cmd)
				file := filepath.Join(dir, "image.tar")
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				return fmt.Sprintf("sha256:%x", sha256.Sum256(raw))
			}
			equal(t, "the archive made on "+arch, built(emulated), built(native))
		})
	}
	version := emulated("version")
	version.Env = baseEnv(t)
	contains(t, "the version", output(t, version), "linux/"+arch)
}
