package privacy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/ledger/payload"
	"github.com/tollgate/tollgate/ledger/subject"
)

// Asker asks the admin API of the gateway that is meant and decodes its answer.
type Asker func(ctx context.Context, method, path string, body, answer any) error

// Commands are those of `tollgate audit` about subjects and payloads. list prints subjects in the format that is asked for,
// listing adds the flag to ask for one.
func Commands(ask Asker, list func(*cobra.Command, []subject.Subject) error, listing func(*cobra.Command) *cobra.Command) []*cobra.Command {
	return []*cobra.Command{payloadCommand(ask), listing(subjectsCommand(ask, list)), holdCommand(ask), eraseCommand(ask), rekeyCommand(ask)}
}

func payloadCommand(ask Asker) *cobra.Command {
	var a Ask
	c := &cobra.Command{
		Use: "payload ID --reason TEXT", Short: "show what a call carried, where it was captured; that it is shown is recorded", Args: cobra.ExactArgs(1),
		Example: `  tollgate audit payload 019a8250-0000-7000-8000-000000000001 --reason "ticket 4711: wrong refund"`,
		RunE: func(c *cobra.Command, args []string) error {
			var p payload.Payload
			if err := ask(c.Context(), http.MethodPost, "/api/v1/payloads/"+url.PathEscape(args[0]), a, &p); err != nil {
				return err
			}
			out := json.NewEncoder(c.OutOrStdout())
			out.SetEscapeHTML(false)
			out.SetIndent("", "  ")
			return out.Encode(p)
		},
	}
	c.Flags().StringVar(&a.Reason, "reason", "", "`WHY` it is read, which is recorded")
	_ = c.MarkFlagRequired("reason") // the flag is there
	return c
}

func subjectsCommand(ask Asker, list func(*cobra.Command, []subject.Subject) error) *cobra.Command {
	return &cobra.Command{
		Use: "subjects", Short: "list who is behind the pseudonyms of the entries", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var page struct{ Items []subject.Subject }
			if err := ask(c.Context(), http.MethodGet, "/api/v1/subjects", nil, &page); err != nil {
				return err
			}
			return list(c, page.Items)
		},
	}
}

// who adds the flags that say of whom.
func who(c *cobra.Command, a *Ask) {
	c.Flags().StringVar(&a.Subject, "subject", "", "the `NAME` of a user, or a pseudonym")
	c.Flags().StringVar(&a.Key, "key", "", "the `NAME` or id of a key, for the payloads of its calls for no user")
	c.MarkFlagsOneRequired("subject", "key")
	c.MarkFlagsMutuallyExclusive("subject", "key")
}

func holdCommand(ask Asker) *cobra.Command {
	var a Ask
	var release bool
	c := &cobra.Command{
		Use: "hold --subject NAME --reason TEXT", Short: "keep a subject from being erased, or let go of it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a.Held = !release
			var s subject.Subject
			if err := ask(c.Context(), http.MethodPost, "/api/v1/subjects/hold", a, &s); err != nil {
				return err
			}
			state := "on hold: it cannot be erased"
			if release {
				state = "not on hold any more"
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), s.ID, "is", state)
			return err
		},
	}
	who(c, &a)
	c.Flags().BoolVar(&release, "release", false, "let go of it")
	c.Flags().StringVar(&a.Reason, "reason", "", "`WHY`, which is recorded")
	_ = c.MarkFlagRequired("reason") // the flag is there
	return c
}

func eraseCommand(ask Asker) *cobra.Command {
	var a Ask
	c := &cobra.Command{
		Use: "erase --subject NAME", Short: "forget for good who a subject is and what its calls carried; entries stay as they are", Args: cobra.NoArgs,
		Example: `  tollgate audit erase --subject ann@example.org --reason "request 17 of 2 November"`,
		RunE: func(c *cobra.Command, _ []string) error {
			var e Erased
			if err := ask(c.Context(), http.MethodPost, "/api/v1/subjects/erase", a, &e); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is nobody now; payloads of %d calls were deleted\n", e.Subject, e.Payloads)
			for _, note := range e.Notes {
				fmt.Fprintln(c.ErrOrStderr(), "note:", note)
			}
			return nil
		},
	}
	who(c, &a)
	c.Flags().StringVar(&a.Reason, "reason", "", "`WHY`, which is recorded; without the name")
	return c
}

func rekeyCommand(ask Asker) *cobra.Command {
	var a Ask
	c := &cobra.Command{
		Use: "rekey", Short: "seal names and keys of payloads anew, with payloads.kek; after it, payloads.kek_before can go", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var k Rekeyed
			if err := ask(c.Context(), http.MethodPost, "/api/v1/subjects/rekey", a, &k); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%d subjects are sealed anew; payloads.kek_before is not needed any more\n", k.Subjects)
			return err
		},
	}
	c.Flags().StringVar(&a.Reason, "reason", "", "`WHY`, which is recorded")
	return c
}
