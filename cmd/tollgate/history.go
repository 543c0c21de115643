package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tollgate/tollgate/cmd/tollgate/queries"
	"github.com/tollgate/tollgate/ledger/index"
)

// openIndex opens what queries read and lets it follow the journal: a file, or what the replicas share.
func (p *process) openIndex(ctx context.Context) (err error) {
	if p.database == nil {
		p.index, err = index.Open(index.Path(p.file(journalDir)), p.ledger)
	} else {
		err = p.reach(ctx, func() (err error) {
			p.index, err = index.OpenPostgres(ctx, p.database, p.lease.ReplicaID(), p.ledger)
			return err
		})
	}
	if err != nil {
		return err
	}
	if p.telemetry != nil {
		if err := queries.Observe(p.telemetry.Meter, p.index); err != nil {
			return errors.Join(err, p.index.Close())
		}
	}
	p.index.Retain(time.Duration(p.inForce().IndexRetention))
	p.ledger.Keep("index", p.index.Position)
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		p.index.Run(following, func(err error) { p.log.Error("the index does not follow the journal", "err", err) })
	})
	p.undoBy(func(context.Context) error {
		stop()
		running.Wait()
		return p.index.Close()
	})
	return nil
}
