package index

import (
	"context"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index/pgsql"
	"github.com/tollgate/tollgate/ledger/index/store"
)

// OpenPlain opens the index with or without partitions.
func OpenPlain(ctx context.Context, db *postgres.DB, replica string, l *ledger.Ledger, partitioned bool) (*Index, error) {
	e, err := pgsql.Open(ctx, db, replica, partitioned)
	if err != nil {
		return nil, err
	}
	return newIndex(ctx, e, l)
}

// OpenEngine opens the index on an engine.
func OpenEngine(e store.Engine, l *ledger.Ledger) (*Index, error) {
	return newIndex(context.Background(), e, l)
}
