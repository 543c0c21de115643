//go:build !linux

package lease

import "time"

// bootTime is 0: there is no clock that counts a sleep. The one on the wall does.
func bootTime() time.Duration { return 0 }
