package compile

import "time"

// CopyFile stands in for a link where the file system has none.
var CopyFile = copyFile

// SetGrace sets how long an interrupted go command may take.
func SetGrace(c *Compiler, d time.Duration) { c.grace = d }
