package compile

import "time"

// SetGrace sets how long an interrupted go command may take.
func SetGrace(c *Compiler, d time.Duration) { c.grace = d }
