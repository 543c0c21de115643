package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/entry"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/ledger/journal"
)

// salvageCommand is for a gateway that does not start because its journal is damaged, and that has no backup.
func salvageCommand(o *options) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "salvage", Short: "give up the damaged end of the ledger, so that the gateway starts again", Args: cobra.NoArgs,
		Long: "salvage ends a damaged journal where it still holds. What lies behind is kept in files beside it and counts no more\n" +
			"against limits; the proof keeps what it has of it already. The next start writes an entry that says so. A backup is better.\n\n" +
			"Without --yes it changes nothing and says what would be given up.",
		RunE: func(c *cobra.Command, _ []string) error {
			src, err := o.source()
			if err != nil {
				return err
			}
			dir := filepath.Join(src.Resolve(orDefault(src.Data, settings.DefaultData)), journalDir)
			if _, err := os.Stat(dir); err != nil {
				return fmt.Errorf("salvage: %w", err)
			}
			return salvage(c.OutOrStdout(), dir, yes)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return c
}

func salvage(w io.Writer, dir string, yes bool) error {
	storage, err := durable.Disk(dir)
	if err != nil {
		return err
	}
	do := journal.Examine
	if yes {
		do = ledger.Salvage
	}
	d, err := do(storage)
	switch {
	case errors.Is(err, durable.ErrLocked):
		return fmt.Errorf("salvage %s: a gateway runs on it: stop it first", dir)
	case errors.Is(err, journal.ErrWhole):
		_, err := fmt.Fprintln(w, "Nothing is damaged.")
		return err
	case err != nil:
		return fmt.Errorf("salvage %s: %w", dir, err)
	}
	fmt.Fprintf(w, "%v.\nIt holds up to sequence %d of writer %s, byte %d of segment %d.\n", d.Err, d.Last.Seq, entry.ID(d.Last.Writer), d.Last.Offset, d.Last.Segment)
	behind := "Nothing is left behind that."
	if len(d.Segments) > 0 {
		behind = "Behind that lie (parts of) " + strings.Join(d.Segments, ", ") + "."
	}
	if !yes {
		_, err := fmt.Fprintf(w, "%s\nNothing was changed. Restore a backup of %s, or give up what lies behind by --yes.\n", behind, dir)
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} { // it has what was given up, and is made again from what holds
		if err := os.Remove(index.Path(dir) + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	_, err = fmt.Fprintf(w, "%s It is kept in files named *.damaged, and the journal goes on without it.\n", behind)
	return err
}
