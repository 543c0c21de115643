package oauth

import (
	"context"
	"fmt"

	"github.com/tollgate/tollgate/ledger/tables"
)

// Unname takes a user's name off the revoked keys that acted for him, so that it stands nowhere any more. Keys in force are
// not touched: they could not act for him without it.
func (k *Keys) Unname(ctx context.Context, user string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, err := k.store.change(ctx, func(ctx context.Context, tx *tables.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE keys_minted SET "user" = '' WHERE "user" = ? AND revoked > 0`, user)
		return err
	})
	if err == nil {
		err = k.store.tables().Scrub(ctx)
	}
	if err != nil {
		k.stale = true
		return fmt.Errorf("take a user's name off revoked keys: %w", err)
	}
	t := k.table.Load()
	return k.reload(ctx, t.declared, t.teams)
}
