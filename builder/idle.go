package builder

import (
	"strings"

	"github.com/stagectl/stagectl/builder/event"
	"github.com/stagectl/stagectl/builder/plan"
	"github.com/stagectl/stagectl/builder/rootfs"
	"github.com/stagectl/stagectl/builder/script"
)

// unlessIdle does a step, unless it is a RUN that only fills the caches of the go
// command, and is known to have changed nothing in the stage.
func (w *worker) unlessIdle(step plan.Step, do func() error) error {
	if w.b.key == "" || step.Run == nil || !fillsCaches(step.Run) {
		return do()
	}
	key := "idle " + w.recordKeyOf(w.b.keys[w.done])
	var idle bool
	if !w.all && w.Cache.Record(stageRecords, key, &idle) && idle {
		w.skipped = true
		w.Progress.Skip(event.Run, w.subject(step), "unchanged")
		return nil
	}
	before, err := w.fs.Snapshot()
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	idle, err = w.sameAs(before)
	if err == nil && idle {
		err = w.Cache.SetRecord(stageRecords, key, true)
	}
	return err
}

// sameAs tells whether nothing has changed but that directories of the tree below
// are now on the host as well.
func (w *worker) sameAs(before *rootfs.Snapshot) (bool, error) {
	for c, err := range w.fs.Changes(before) {
		if err != nil {
			return false, err
		}
		if c.Deleted || !c.IsDir() || w.lower == nil {
			return false, nil
		}
		was, err := w.lower.Lstat(c.Path)
		if err != nil || was.Mode != c.Mode || was.UID != c.UID || was.GID != c.GID {
			return false, nil // it was not there
		}
	}
	return true, nil
}

// fillsCaches tells whether all commands of a RUN download modules, which the host
// has in its own cache then.
func fillsCaches(run *plan.Run) bool {
	found := script.Check(run, script.Options{})
	for _, f := range found {
		if f.Command != "go mod download" && !strings.HasPrefix(f.Command, "go mod download ") && f.Command != "go mod verify" {
			return false
		}
	}
	return len(found) > 0
}
