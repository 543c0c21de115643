package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/evidence"
	"github.com/tollgate/tollgate/cmd/tollgate/queries"
)

func auditCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "read the ledger: what was asked, allowed, spent"}
	c.AddCommand(listing(queries.QueryCommand(o.asker, &o.format), o), listing(queries.TailCommand(o.asker, &o.format), o))
	c.AddCommand(evidence.Commands(o.logOf, &o.format, queries.Instant, func(c *cobra.Command) *cobra.Command { return listing(c, o) })...)
	c.AddCommand(salvageCommand(o))
	c.AddCommand(privacyCommands(o)...)
	return c
}

// asker is the operator as the commands of package queries want it.
func (o *options) asker(ctx context.Context) (queries.Asker, error) {
	op, err := o.operate(ctx)
	if err != nil {
		return nil, err
	}
	return asker{op}, nil
}

type asker struct{ op *operator }

func (a asker) Get(ctx context.Context, path string, answer any) error {
	return a.op.get(ctx, path, answer)
}

func (a asker) Stream(ctx context.Context, path string) (io.ReadCloser, error) {
	return a.op.stream(ctx, "GET", path, nil)
}

func (a asker) Running() bool { return a.op.http != nil }

func (a asker) Close() error { return a.op.close() }
