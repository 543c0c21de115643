package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/cmd/tollgate/privacy"
	"github.com/tollgate/tollgate/cmd/tollgate/queries"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
)

// sinksDir is where the cursors of sinks are, in the data directory.
const sinksDir = "sinks"

// rewindAction is what an entry calls setting a sink back.
const rewindAction = "sink.rewind"

// openSinks begins to copy the ledger; for a command without a gateway it only shows how the sinks stand. They end after
// everything that makes entries and before the ledger.
func (p *process) openSinks(context.Context) error {
	dir, err := durable.Disk(p.file(sinksDir))
	if err != nil {
		return fmt.Errorf("making the directory of sinks: %w", err)
	}
	var meter metric.Meter
	if p.telemetry != nil {
		meter = p.telemetry.Meter
	}
	p.sinks, err = sink.NewSet(sink.Config{Dir: dir, Ledger: p.ledger, Log: p.log, Meter: meter, Idle: !p.serving})
	if err != nil {
		return err
	}
	p.undoBy(p.sinks.Close)
	p.sinks.Apply(p.inForce().Sinks)
	return nil
}

// rewind is the body of a request to set a sink back.
type rewind struct {
	To string `json:"to"`
}

func (p *process) sinkRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/sinks", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, append([]sink.Status{}, p.sinks.List()...))
	})
	mux.HandleFunc("POST /api/v1/sinks/{name}/rewind", func(w http.ResponseWriter, r *http.Request) {
		var asked rewind
		if !readJSON(w, r, &asked) {
			return
		}
		to, err := queries.Instant(asked.To, time.Now())
		if err != nil {
			writeProblem(w, http.StatusUnprocessableEntity, err.Error())
			return
		}
		name := r.PathValue("name")
		if !slices.ContainsFunc(p.sinks.List(), func(s sink.Status) bool { return s.Name == name }) {
			writeProblem(w, http.StatusUnprocessableEntity, fmt.Sprintf("there is no sink %q under sinks: in the config", name))
			return
		}
		act := ledger.Act{Action: rewindAction, Target: name, Detail: "to " + to.UTC().Format(time.RFC3339)}
		if err = privacy.Record(r, p.ledger, act); err == nil {
			err = p.sinks.Rewind(name, to)
		}
		if err != nil {
			p.log.Error("a sink was not sent back", "sink", name, "err", err)
			writeProblem(w, http.StatusServiceUnavailable, "the sink was not sent back: see the log, and ask again")
			return
		}
		writeJSON(w, http.StatusOK, map[string]string{"sink": name, "to": to.UTC().Format(time.RFC3339)})
	})
}

func sinksCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "sinks", Short: "copies of the ledger: how they stand, and sending again"}
	c.AddCommand(listing(&cobra.Command{
		Use: "list", Short: "list every sink: its state, how far it is behind, its last error", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			op, err := o.operate(c.Context())
			if err != nil {
				return err
			}
			var rows []sink.Status
			if err := errors.Join(op.get(c.Context(), "/api/v1/sinks", &rows), op.close()); err != nil {
				return err
			}
			return printRows(c.OutOrStdout(), o.format, rows, []column[sink.Status]{
				{"name", func(s sink.Status) string { return s.Name }},
				{"type", func(s sink.Status) string { return s.Type }},
				{"state", func(s sink.Status) string { return string(s.State) }},
				{"behind", func(s sink.Status) string { return fmt.Sprint(s.LagEntries) }},
				{"for", func(s sink.Status) string {
					return (time.Duration(s.LagSeconds * float64(time.Second))).Round(time.Second).String()
				}},
				{"sent", func(s sink.Status) string { return fmt.Sprint(s.Sent) }},
				{"refused", func(s sink.Status) string { return fmt.Sprint(s.Refused) }},
				{"error", func(s sink.Status) string { return s.Error }},
			})
		},
	}, o))
	var to string
	back := &cobra.Command{
		Use: "rewind NAME --to DATE", Short: "send everything again from a date on", Args: cobra.ExactArgs(1),
		Long: "Send everything again from a date on. What the receiver has already, it gets twice: the id of an entry tells.\n" +
			"The date may lie after what was sent: then what is between is never sent.",
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := queries.Instant(to, time.Now()); err != nil {
				return fmt.Errorf("--to: %w", err)
			}
			op, err := o.operate(c.Context())
			if err != nil {
				return err
			}
			var done map[string]string
			err = errors.Join(op.post(c.Context(), "/api/v1/sinks/"+url.PathEscape(args[0])+"/rewind", rewind{to}, &done), op.close())
			if err == nil {
				_, err = fmt.Fprintf(c.OutOrStdout(), "%s sends again from %s on\n", done["sink"], done["to"])
			}
			return err
		},
	}
	back.Flags().StringVar(&to, "to", "", "a `DATE`, a time, or how long ago: 2026-11-24, 2026-11-24T12:00:00Z, 48h")
	_ = back.MarkFlagRequired("to") // it is there
	c.AddCommand(back)
	return c
}
