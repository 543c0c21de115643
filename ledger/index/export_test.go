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

// InBatchesOf makes batches small.
func (ix *Index) InBatchesOf(entries int) { ix.most = entries }

// Drain stores what the ledger has and no more, in this goroutine. After an error the next Drain goes on.
func (ix *Index) Drain(ctx context.Context, l *ledger.Ledger) error {
	if err := ix.reload(ctx); err != nil {
		return err
	}
	r := l.Reader(ix.Position())
	defer r.Close()
	for {
		if more, err := ix.step(ctx, r); err != nil || !more {
			return err
		}
	}
}
