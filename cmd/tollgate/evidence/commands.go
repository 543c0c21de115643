package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/proof"
	"github.com/tollgate/tollgate/ledger/proof/sequencer"
)

// SettlePath is the path of the admin API that brings in and signs what is written.
const SettlePath = "/api/v1/checkpoints"

// Opener opens the log that the command line means. With settle the gateway is first asked to bring in and sign what it
// has; unsettled says why that could not be done.
type Opener func(ctx context.Context, settle bool) (p *Part, unsettled, err error)

// Instant reads a time or a span back from now.
type Instant func(text string, now time.Time) (time.Time, error)

// Commands are the subcommands of audit that are about proof. listing adds --format.
func Commands(open Opener, format *string, instant Instant, listing func(*cobra.Command) *cobra.Command) []*cobra.Command {
	return []*cobra.Command{
		listing(verifyCommand(open, format, instant)), proveCommand(open), exportCommand(open, instant), listing(keysCommand(open, format)), rotateCommand(open),
	}
}

func proveCommand(open Opener) *cobra.Command {
	var out string
	var consistency bool
	c := &cobra.Command{
		Use: "prove ID | --consistency OLD NEW", Short: "prove that the entries of a call stand in the log, or that one checkpoint goes on from another",
		Long: "Print a proof that tollgate audit verify --proof checks offline: of the entries of a call, or of the one with an id; with\n" +
			"--consistency that the log was only appended to between two checkpoints, each a file or the number of its entries.",
		Args: func(_ *cobra.Command, args []string) error {
			if want := 1 + count(consistency); len(args) != want {
				return errors.New("give the ID of a call or an entry, or --consistency and two checkpoints")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			part, unsettled, err := open(c.Context(), true)
			if err != nil {
				return err
			}
			defer part.Close(c.Context())
			warn(c.ErrOrStderr(), unsettled)
			var p *proof.Proof
			if consistency {
				p, err = part.growth(c.Context(), args[0], args[1])
			} else {
				p, err = part.inclusion(c.Context(), args[0])
			}
			if err != nil {
				return err
			}
			document, err := p.Encode()
			if err != nil {
				return err
			}
			return write(c.OutOrStdout(), out, document)
		},
	}
	c.Flags().StringVar(&out, "out", "", "write the proof to `FILE` instead of printing it")
	c.Flags().BoolVar(&consistency, "consistency", false, "prove that the newer of two checkpoints goes on from the older")
	return c
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (p *Part) inclusion(ctx context.Context, text string) (*proof.Proof, error) {
	id, err := ledger.ParseID(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not the id of a call: tollgate audit query lists them", text)
	}
	return p.store.Prove(ctx, id)
}

func (p *Part) growth(ctx context.Context, older, newer string) (*proof.Proof, error) {
	a, err := p.checkpoint(ctx, older)
	if err != nil {
		return nil, err
	}
	b, err := p.checkpoint(ctx, newer)
	if err != nil {
		return nil, err
	}
	return p.store.ProveGrowth(ctx, a, b)
}

// checkpoint is the one in a file, or the log's own over so many entries.
func (p *Part) checkpoint(ctx context.Context, text string) ([]byte, error) {
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		notes, err := proof.ReadNotes(text)
		if err == nil && len(notes) != 1 {
			err = fmt.Errorf("%s has %d checkpoints: give a file of one", text, len(notes))
		}
		if err != nil {
			return nil, err
		}
		return notes[0], nil
	}
	found, err := p.store.Checkpoints(ctx, size, 0, 1)
	if err == nil && (len(found) == 0 || found[0].Size != size) {
		err = fmt.Errorf("no checkpoint was signed over %d entries", size)
	}
	if err != nil {
		return nil, err
	}
	return found[0].Note, nil
}

// write prints a document, or keeps it in a file of its own.
func write(w io.Writer, path string, document []byte) error {
	if path == "" {
		_, err := w.Write(document)
		return err
	}
	return os.WriteFile(path, document, 0o600)
}

func exportCommand(open Opener, instant Instant) *cobra.Command {
	var out, since, until string
	var r sequencer.Range
	c := &cobra.Command{
		Use: "export --out PATH", Short: "write entries with all that is needed to verify them elsewhere", Args: cobra.NoArgs,
		Long: "Write entries, the checkpoints over them and the hashes that stand for the rest of the log, for tollgate audit verify.\n" +
			"PATH ending in .jsonl is one file, else a directory of files of 64 MiB. Entries that no checkpoint covers are left out.",
		Example: "  tollgate audit export --out ./export --since 720h\n  tollgate audit export --out entries.jsonl --from 10000 --to 20000",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			for _, t := range []struct {
				name, text string
				into       *time.Time
			}{{"since", since, &r.Since}, {"until", until, &r.Until}} {
				if t.text == "" {
					continue
				}
				if *t.into, err = instant(t.text, time.Now()); err != nil {
					return fmt.Errorf("--%s: %w", t.name, err)
				}
			}
			part, unsettled, err := open(c.Context(), true)
			if err != nil {
				return err
			}
			defer part.Close(c.Context())
			warn(c.ErrOrStderr(), unsettled)
			h, err := part.export(c.Context(), out, r)
			if err == nil {
				_, err = fmt.Fprintf(c.OutOrStdout(), "%d entries, %d to %d of %d, in %s\n", h.To-h.From, h.From, max(h.To-1, h.From), h.Size, out)
			}
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "where to: a directory, or a file that ends in .jsonl; it must not be there yet")
	c.Flags().StringVar(&since, "since", "", "entries since a `TIME` or a span back from now, such as 24h; to some seconds")
	c.Flags().StringVar(&until, "until", "", "entries until a `TIME`")
	c.Flags().Int64Var(&r.From, "from", 0, "entries from this `INDEX` on")
	c.Flags().Int64Var(&r.To, "to", 0, "entries before this `INDEX`; 0: to the end")
	_ = c.MarkFlagRequired("out") // it is there
	return c
}

func (p *Part) export(ctx context.Context, path string, r sequencer.Range) (h proof.Header, err error) {
	var w io.WriteCloser
	if strings.HasSuffix(path, ".jsonl") {
		w, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	} else {
		w, err = proof.NewSplit(path)
	}
	if err != nil {
		return h, err
	}
	h, err = p.store.Export(ctx, w, r)
	return h, errors.Join(err, w.Close())
}

func keysCommand(open Opener, format *string) *cobra.Command {
	return &cobra.Command{
		Use: "keys", Short: "print the verifiers of the keys that sign checkpoints", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			part, _, err := open(c.Context(), false)
			if err != nil {
				return err
			}
			defer part.Close(c.Context())
			signers, err := part.store.Signers(c.Context())
			if err != nil {
				return err
			}
			if len(signers) == 0 {
				return errors.New("nothing is signed yet: the gateway signs its first checkpoint a second after its first entry")
			}
			for _, s := range signers {
				line := []byte(fmt.Sprintf("%s  since %s, from entry %d on", s.Verifier, s.Since.Format(time.RFC3339), s.Size))
				if *format == "json" || *format == "jsonl" {
					if line, err = json.Marshal(s); err != nil {
						return err
					}
				}
				if _, err := fmt.Fprintf(c.OutOrStdout(), "%s\n", line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func rotateCommand(open Opener) *cobra.Command {
	var old string
	c := &cobra.Command{
		Use: "rotate-key", Short: "sign checkpoints with a new key from now on", Args: cobra.NoArgs,
		Long: "Introduce a new key by a checkpoint that the old key and the new one sign, so that whoever trusts the old one trusts the\n" +
			"new. A key of the data directory is made and kept by this command. Where the key comes from checkpoints.key or\n" +
			"secret_key, put the new secret there first and give the one before with --old.",
		RunE: func(c *cobra.Command, _ []string) error {
			part, _, err := open(c.Context(), false)
			if err != nil {
				return err
			}
			defer part.Close(c.Context())
			verifier, err := part.rotate(c.Context(), old)
			if err == nil {
				_, err = fmt.Fprintf(c.OutOrStdout(), "%s\n", verifier)
			}
			return err
		},
	}
	c.Flags().StringVar(&old, "old", "", "where the secret before is: env:NAME or file:`PATH`")
	return c
}
