package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/cmd/tollgate/queries"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger/index"
)

// replicaFile names this replica for good, whatever its address.
const replicaFile = "replica.id"

// openIndex opens what queries read and lets it follow the journal: a file, or what the replicas share.
func (p *process) openIndex(ctx context.Context) (err error) {
	if p.database == nil {
		p.index, err = index.Open(index.Path(p.file(journalDir)), p.ledger)
	} else {
		var replica string
		if replica, err = replicaID(p.file(replicaFile)); err != nil {
			return err
		}
		err = p.reach(ctx, func() (err error) {
			p.index, err = index.OpenPostgres(ctx, p.database, replica, p.ledger)
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

// replicaID reads the replica's name, or makes one.
func replicaID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := uuid.NewString()
		return id, durable.WriteFile(path, []byte(id+"\n"), secretMode)
	}
	if err != nil {
		return "", fmt.Errorf("reading the replica's identity: %w", err)
	}
	id, err := uuid.Parse(strings.TrimSpace(string(b)))
	if err != nil {
		return "", fmt.Errorf("the file %s holds no identity: remove it, and the replica gets a new one", replicaFile)
	}
	return id.String(), nil
}
