//go:build linux

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// stageVar is the environment variable that tells the three processes apart;
// setupVar names the file through which the outer one talks to the others.
const (
	stageVar = "STAGECTL_E2E_STAGE"
	setupVar = "STAGECTL_E2E_SETUP"
)

// setup is what the outer process prepared.
type setup struct {
	// Dir is where everything of this run is kept. Any user may pass through it.
	Dir string
	// Stagectl is the command under test.
	Stagectl string
	// Source is a copy of the repository's Go code that any user may read.
	Source string
	// Go holds the host's Go environment, without the settings of a platform.
	Go map[string]string
	// Public is a writable copy of the public module, its dependencies
	// downloaded, and PublicErr is why there is none.
	Public    string
	PublicErr string
	// Releases is a module proxy that lists the releases of Go, and TutorialErr
	// is why the one of the tutorial is not in the module cache.
	Releases    string
	TutorialErr string
	// BuildKit is a directory with its daemon and client, and BuildKitErr is why
	// they are not there.
	BuildKit    string
	BuildKitErr string
}

// env is the setup in the tests process, and services what runs there.
var (
	env      setup
	services *stack
)

// TestMain is described in the package documentation.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run())
	}
	run := map[string]func() (int, error){
		"":      enterSandbox,
		"init":  runInit,
		"tests": func() (int, error) { return runTests(m) },
	}[os.Getenv(stageVar)]
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// runTests starts what the tests need, runs them and stops it again.
func runTests(m *testing.M) (int, error) {
	// The modes of files that the tests make are part of what they check.
	syscall.Umask(0o022)
	var err error
	if env, err = readSetup(); err != nil {
		return 0, err
	}
	if services, err = startServices(env.Dir); err != nil {
		return 0, err
	}
	code := m.Run()
	return code, services.stop()
}

// writeSetup stores s for the inner processes and returns the file's path.
func writeSetup(s setup) (string, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.Dir, "setup.json")
	return file, os.WriteFile(file, data, 0o644)
}

// readSetup reads what the outer process stored.
func readSetup() (setup, error) {
	var s setup
	data, err := os.ReadFile(os.Getenv(setupVar))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}
