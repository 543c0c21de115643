package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/ledger/proof"
	"github.com/tollgate/tollgate/ledger/proof/sequencer"
)

// ErrBad is returned when something was wrong and has been printed.
var ErrBad = errors.New("it does not verify")

// verifying are the flags of verify.
type verifying struct {
	open        Opener
	format      *string
	keys        []string
	checkpoints []string
	proof       string
	newer       string
	framesOnly  bool
	acceptLost  bool
}

func verifyCommand(open Opener, format *string, instant Instant) *cobra.Command {
	v := &verifying{open: open, format: format}
	c := &cobra.Command{
		Use: "verify [PATH]", Short: "check that entries are those that were signed, and name the first that is not", Args: cobra.MaximumNArgs(1),
		Long: "Check an export (a file or directory), a proof (--proof), or without PATH the log of this gateway itself.\n\n" +
			"Exports and proofs are verified offline, with nothing but the verifiers of trusted keys: take them, and the newest\n" +
			"checkpoint (--checkpoint), from a place that the operator of the log cannot write to. A cut tail shows only against a\n" +
			"newer checkpoint. The exit code is 1 when anything is wrong.",
		Example: "  tollgate audit verify ./export --key tollgate/0f8f…+2b1a3c4d+AZ… --checkpoint ./from-the-bucket\n  tollgate audit verify --proof proof.json --key tollgate/0f8f…+2b1a3c4d+AZ…",
		RunE: func(c *cobra.Command, args []string) error {
			newer := time.Time{}
			if v.newer != "" {
				var err error
				if newer, err = instant(v.newer, time.Now()); err != nil {
					return fmt.Errorf("--newer-than: %w", err)
				}
			}
			report, err := v.run(c.Context(), c.ErrOrStderr(), args, newer)
			if err != nil {
				return err
			}
			return v.tell(c.OutOrStdout(), report)
		},
	}
	c.Flags().StringArrayVar(&v.keys, "key", nil, "trust the key with this `VERIFIER`; may be given again, for keys that were replaced")
	c.Flags().StringArrayVar(&v.checkpoints, "checkpoint", nil, "hold it against the checkpoints in `FILE` or directory, kept elsewhere; may be given again")
	c.Flags().StringVar(&v.proof, "proof", "", "verify the proof in `FILE`, as tollgate audit prove makes it")
	c.Flags().StringVar(&v.newer, "newer-than", "", "the newest checkpoint must not be older than this `TIME` or span back from now, such as 1h")
	c.Flags().BoolVar(&v.framesOnly, "frames-only", false, "accept entries that are spelled out in the form of another version, and do not compare them with their frames")
	c.Flags().BoolVar(&v.acceptLost, "accept-lost", false, "accept that of some entries only the hash is there, because a damaged disk has lost the rest; how many is told")
	return c
}

func (v *verifying) run(ctx context.Context, told io.Writer, args []string, newer time.Time) (proof.Report, error) {
	if len(args) == 0 && v.proof == "" {
		return v.own(ctx, told, newer)
	}
	trust, err := v.trust()
	if err != nil {
		return proof.Report{}, err
	}
	if v.proof != "" {
		if len(args) > 0 {
			return proof.Report{}, errors.New("give an export or --proof, not both")
		}
		document, err := os.ReadFile(v.proof)
		if err != nil {
			return proof.Report{}, fmt.Errorf("read the proof: %w", err)
		}
		return proof.VerifyProof(document, trust, v.framesOnly)
	}
	lines, err := proof.OpenLines(args[0])
	if err != nil {
		return proof.Report{}, err
	}
	defer lines.Close()
	return v.hold(ctx, lines, trust, newer)
}

func (v *verifying) trust() (*proof.Trust, error) {
	if len(v.keys) == 0 {
		return nil, errors.New("no key is trusted, so nothing can be proved: give --key VERIFIER, which tollgate audit keys prints at the gateway")
	}
	return proof.NewTrust(v.keys...)
}

func (v *verifying) hold(ctx context.Context, lines *proof.Lines, trust *proof.Trust, newer time.Time) (proof.Report, error) {
	o := proof.Options{Trust: trust, NewerThan: newer, FramesOnly: v.framesOnly, AcceptLost: v.acceptLost}
	for _, path := range v.checkpoints {
		notes, err := proof.ReadNotes(path)
		if err != nil {
			return proof.Report{}, err
		}
		o.Outside = append(o.Outside, notes...)
	}
	return proof.Verify(ctx, lines, o)
}

// own verifies the log of this gateway: what it would export, as it would be exported.
func (v *verifying) own(ctx context.Context, told io.Writer, newer time.Time) (proof.Report, error) {
	part, unsettled, err := v.open(ctx, true)
	if err != nil {
		return proof.Report{}, err
	}
	defer part.Close(ctx)
	warn(told, unsettled)
	keys := v.keys
	if len(keys) == 0 {
		signers, err := part.store.Signers(ctx)
		if err != nil {
			return proof.Report{}, err
		}
		for _, s := range signers {
			keys = append(keys, s.Verifier)
		}
	}
	trust, err := proof.NewTrust(keys...)
	if err != nil {
		return proof.Report{}, fmt.Errorf("nothing is signed yet: %w", err)
	}
	r, w := io.Pipe()
	exporting := make(chan error, 1)
	go func() {
		_, err := part.store.Export(ctx, w, sequencer.Range{})
		exporting <- err
		_ = w.CloseWithError(err)
	}()
	report, err := v.hold(ctx, proof.NewLines(r), trust, newer)
	_ = r.Close()
	if exportErr := <-exporting; err == nil && report.Bad == nil {
		err = exportErr
	}
	return report, err
}

// tell prints one line, or JSON.
func (v *verifying) tell(w io.Writer, r proof.Report) error {
	if *v.format == "json" || *v.format == "jsonl" {
		b, err := json.Marshal(r)
		if err == nil {
			_, err = fmt.Fprintf(w, "%s\n", b)
		}
		if err == nil && r.Bad != nil {
			err = ErrBad
		}
		return err
	}
	if r.Bad != nil {
		_, err := fmt.Fprintf(w, "bad: %v\n", r.Bad)
		return errors.Join(err, ErrBad)
	}
	text := fmt.Sprintf("ok: %d entries", r.Entries)
	if v.proof == "" && r.Entries > 0 {
		text += fmt.Sprintf(" (%d to %d)", r.From, r.To-1)
	}
	text += fmt.Sprintf(" of log %s are as signed; %d checkpoints hold, the newest of %s over %d entries", r.Origin, r.Checkpoints, r.Time.UTC().Format(time.RFC3339), r.Size)
	if !r.Spelled {
		text += "; what is spelled out beside the frames is of another version and was not compared"
	}
	if r.Lost > 0 {
		text += fmt.Sprintf("; of %d more only the hash is there", r.Lost)
	}
	if r.Salvages > 0 {
		text += fmt.Sprintf("; %d times a journal was salvaged: the entries that it gave up were held against the checkpoints, too", r.Salvages)
	}
	if r.Unchecked > 0 {
		text += fmt.Sprintf("; %d given checkpoints are over a part that is not here", r.Unchecked)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// warn tells why the newest entries may be missing.
func warn(w io.Writer, unsettled error) {
	if unsettled != nil {
		fmt.Fprintf(w, "the newest entries may not be covered yet: %v\n", unsettled)
	}
}
