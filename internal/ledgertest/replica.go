package ledgertest

import (
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/journal"
)

// CutOff is ledger.Pools for a replica that has lost the others: it may not serve.
type CutOff struct{}

// Now implements ledger.Pools.
func (CutOff) Now() time.Time { return time.Now() }

// Elapsed implements ledger.Pools.
func (CutOff) Elapsed() time.Time { return time.Now() }

// Alive implements ledger.Pools: it never is.
func (CutOff) Alive() error {
	return fmt.Errorf("%w: the database has not answered for 5s", ledger.ErrOffline)
}

// Serve implements ledger.Pools.
func (CutOff) Serve(*caps.Book, string, journal.Position, func() journal.Position) {}

// Others implements ledger.Pools.
func (CutOff) Others() (map[caps.Key]caps.Use, error) { return nil, errors.New("nobody is there") }

// Leave implements ledger.Pools.
func (CutOff) Leave() {}
