// Package e2e tests the stagectl command with the parts that its images meet
// in real life: Docker Engine, a registry with TLS and passwords, skopeo,
// podman with crun, umoci. It only knows the command line, never the code.
// BuildKit builds the Dockerfiles of testdata/build beside it, and both images
// are compared (corpus_test.go).
//
// Being below testdata, it is not part of ./... and runs by itself, as root on
// Linux:
//
//	go test -count=1 -timeout 30m ./testdata/e2e/...
//
// TestMain runs three times, each time inside the one before it:
//
//   - The outer process has the host's network. It checks that every tool is
//     there and fails with the list of what is missing, builds cmd/stagectl and
//     BuildKit, fetches the public module of public_test.go and the release of Go
//     of tutorial_test.go, and removes everything in the end.
//   - The init process is the first one in new mount, PID, network, IPC and UTS
//     namespaces. It mounts private copies of /proc, /run and /dev/shm and reaps.
//   - The tests process starts the registries and dockerd and runs the tests.
//
// So nothing in here can reach the Internet or touch the host's containers,
// firewall or state in /run, host names and ports are the tests' own to choose,
// and every process and mount is gone when the run ends, however it ends.
//
// STAGECTL=FILE tests that binary instead of building one. The tests share the
// engines and empty them of images, so none of them is parallel.
package e2e
