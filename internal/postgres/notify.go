package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// listenGap is the pause before a lost connection of a listener is made again, doubled up to listenGapMax.
	listenGap    = 100 * time.Millisecond
	listenGapMax = 5 * time.Second
	// listenProbe is how often a quiet connection is asked whether it still stands.
	listenProbe = 5 * time.Second
)

// Notify tells listeners of channel when tx commits. Where the server has no NOTIFY it does nothing: listeners poll as well.
func (db *DB) Notify(ctx context.Context, tx pgx.Tx, channel, payload string) error {
	if !db.notices {
		return nil
	}
	_, err := tx.Exec(ctx, "SELECT pg_notify($1, $2)", channel, payload)
	return err
}

// Listen calls heard for what is notified on channel, until ctx ends, and once with an empty payload each time it has begun
// to listen (anew): what was told before may have been missed. It has a connection of its own. heard must not block. Where
// the server has no NOTIFY it returns at once.
func (db *DB) Listen(ctx context.Context, channel string, heard func(payload string)) {
	if !db.notices {
		return
	}
	gap := listenGap
	for ctx.Err() == nil {
		began, err := db.listen(ctx, channel, heard)
		if ctx.Err() != nil {
			return
		}
		if began {
			gap = listenGap
		}
		db.log.Debug("not listening to the database for a while", "channel", channel, "err", err)
		pause := time.NewTimer(gap/2 + rand.N(gap))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
		gap = min(2*gap, listenGapMax)
	}
}

// listen listens until the connection is lost. began says whether it ever stood.
func (db *DB) listen(ctx context.Context, channel string, heard func(payload string)) (began bool, err error) {
	cfg := db.Config().ConnConfig.Copy()
	connecting, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, cfg)
	if err != nil {
		return false, reason(err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTime)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(connecting, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return false, reason(err)
	}
	heard("")
	for {
		payload, err := db.next(ctx, conn)
		if err != nil {
			return true, fmt.Errorf("listen: %w", reason(err))
		}
		if payload != "" {
			heard(payload)
		}
	}
}

// next waits for a notification, or for the time of a probe: then it asks the server for a sign of life and returns nothing.
func (db *DB) next(ctx context.Context, conn *pgx.Conn) (string, error) {
	waiting, cancel := context.WithTimeout(ctx, listenProbe)
	defer cancel()
	n, err := conn.WaitForNotification(waiting)
	if err == nil {
		return n.Payload, nil
	}
	if ctx.Err() != nil || waiting.Err() == nil || conn.IsClosed() {
		return "", err
	}
	probing, cancelProbe := context.WithTimeout(ctx, connectTime)
	defer cancelProbe()
	return "", conn.Ping(probing)
}
