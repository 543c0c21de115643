package lease

import "github.com/tollgate/tollgate/internal/durable"

// Identity names the replica whose data directory is dir: the same after every restart, made at the first.
func Identity(dir durable.Dir) (string, error) { return identity(dir) }
