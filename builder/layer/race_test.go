//go:build race

package layer_test

// raceEnabled makes the tests that compress a lot do less of the same: the
// race detector slows them tenfold, and keeps pools from being reused.
const raceEnabled = true
