package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/privacy"
	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// graceDefault is how long the secret before a rotation still counts: long enough to roll it out by hand.
const graceDefault = time.Hour

// What entries call the acts on keys. They are recorded once they are done: a revocation waits for nothing.
const (
	keyMint   policy.Action = "key.mint"
	keyRotate policy.Action = "key.rotate"
	keyRevoke policy.Action = "key.revoke"
)

func keyCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "mint, list, revoke and rotate virtual keys"}
	c.AddCommand(mintCommand(o), listKeysCommand(o), revokeCommand(o), rotateCommand(o))
	return c
}

// minted is a key and its secret, which is shown once.
type minted struct {
	oauth.Key
	Secret string `json:"secret"`
}

func mintCommand(o *options) *cobra.Command {
	var spec oauth.KeySpec
	var expires string
	c := &cobra.Command{
		Use: "mint NAME", Short: "make a key and print its secret, which is kept nowhere", Args: cobra.ExactArgs(1),
		Example: `  tollgate key mint ci-bot --team platform --limit "5 USD / 1d" --limit "60 requests / 1m"`,
		RunE: func(c *cobra.Command, args []string) error {
			spec.Name = args[0]
			if expires != "" {
				t, err := expiry(expires, time.Now())
				if err != nil {
					return err
				}
				spec.Expires = t
			}
			return o.keyChange(c, "/api/v1/keys", spec)
		},
	}
	c.Flags().StringVar(&spec.Team, "team", "", "the `TEAM` it belongs to, as declared in the config")
	c.Flags().StringVar(&spec.User, "user", "", "the `USER` it acts for")
	c.Flags().StringSliceVar(&spec.Tags, "tag", nil, "a `TAG` that policies can ask for; may be repeated")
	c.Flags().StringArrayVar(&spec.Limits, "limit", nil, "a `LIMIT` such as \"5 USD / 1d\"; may be repeated")
	c.Flags().StringVar(&spec.Tools, "tools", "", "an `EXPRESSION` over tool that narrows what the rules allow")
	c.Flags().StringVar(&spec.Models, "models", "", "an `EXPRESSION` over model that narrows what the rules allow")
	c.Flags().StringVar(&expires, "expires", "", "a date, a time or a span such as 720h")
	return listing(c, o)
}

// expiry reads when a key ends.
func expiry(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--expires %q: write 2027-01-31, 2027-01-31T12:00:00Z or a span such as 720h", text)
}

// keyChange posts a change that shows a secret.
func (o *options) keyChange(c *cobra.Command, path string, body any) error {
	op, err := o.operate(c.Context())
	if err != nil {
		return err
	}
	var m minted
	err = op.post(c.Context(), path, body, &m)
	if err := errors.Join(err, op.close()); err != nil {
		return err
	}
	if o.format != "table" {
		return printRows(c.OutOrStdout(), o.format, []minted{m}, append([]column[minted]{{"secret", func(m minted) string { return m.Secret }}}, mintedColumns()...))
	}
	fmt.Fprintf(c.ErrOrStderr(), "key %s (id %s). This is its secret; it is shown only now:\n", m.Name, m.ID)
	_, err = fmt.Fprintln(c.OutOrStdout(), m.Secret)
	return err
}

func mintedColumns() []column[minted] {
	return []column[minted]{{"name", func(m minted) string { return m.Name }}, {"id", func(m minted) string { return m.ID }}}
}

func listKeysCommand(o *options) *cobra.Command {
	return listing(&cobra.Command{
		Use: "list", Short: "list all keys", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			op, err := o.operate(c.Context())
			if err != nil {
				return err
			}
			var keys []oauth.Key
			if err := errors.Join(op.get(c.Context(), "/api/v1/keys", &keys), op.close()); err != nil {
				return err
			}
			now := time.Now()
			return printRows(c.OutOrStdout(), o.format, keys, []column[oauth.Key]{
				{"name", func(k oauth.Key) string { return k.Name }},
				{"state", func(k oauth.Key) string { return keyState(&k, now) }},
				{"team", func(k oauth.Key) string { return k.Team }},
				{"user", func(k oauth.Key) string { return k.User }},
				{"limits", func(k oauth.Key) string { return strings.Join(k.Limits, ", ") }},
				{"begins", func(k oauth.Key) string { return k.Shown }},
				{"id", func(k oauth.Key) string { return k.ID }},
			})
		},
	}, o)
}

func keyState(k *oauth.Key, now time.Time) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked " + k.Revoked.Format(time.DateOnly)
	case k.Disabled != "":
		return "disabled: " + k.Disabled
	case !live(k, now):
		return "expired"
	case k.Declared:
		return "declared in the config"
	}
	return "live"
}

// live reports whether k can be used at now.
func live(k *oauth.Key, now time.Time) bool {
	return k.Revoked.IsZero() && k.Disabled == "" && (k.Expires.IsZero() || now.Before(k.Expires))
}

func revokeCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME|ID", Short: "end a minted key at once and for good", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			op, err := o.operate(c.Context())
			if err != nil {
				return err
			}
			err = op.post(c.Context(), "/api/v1/keys/"+url.PathEscape(args[0])+"/revoke", nil, nil)
			return errors.Join(err, op.close())
		},
	}
}

func rotateCommand(o *options) *cobra.Command {
	var grace time.Duration
	c := &cobra.Command{
		Use: "rotate NAME|ID", Short: "give a minted key a new secret; id, limits and balance stay", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.keyChange(c, "/api/v1/keys/"+url.PathEscape(args[0])+"/rotate", map[string]string{"grace": grace.String()})
		},
	}
	c.Flags().DurationVar(&grace, "grace", graceDefault, "how long the secret it has still counts")
	return listing(c, o)
}

// keyRoutes are the admin API's part for keys.
func (p *process) keyRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/keys", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, http.StatusOK, p.listedKeys()) })
	mux.HandleFunc("POST /api/v1/keys", func(w http.ResponseWriter, r *http.Request) {
		var spec oauth.KeySpec
		if !readJSON(w, r, &spec) {
			return
		}
		if err := p.mintable(&spec); err != nil {
			writeProblem(w, http.StatusUnprocessableEntity, err.Error())
			return
		}
		k, secret, err := p.keys.Mint(r.Context(), spec)
		if err != nil {
			writeProblem(w, http.StatusUnprocessableEntity, err.Error())
			return
		}
		p.showMinted(w, r, http.StatusCreated, keyMint, minted{k, secret.Reveal()})
	})
	mux.HandleFunc("POST /api/v1/keys/{key}/revoke", func(w http.ResponseWriter, r *http.Request) {
		if err := p.keys.Revoke(r.Context(), r.PathValue("key")); err != nil {
			writeProblem(w, http.StatusUnprocessableEntity, err.Error())
			return
		}
		if err := privacy.Record(r, p.ledger, ledger.Act{Action: keyRevoke, Target: r.PathValue("key")}); err != nil {
			p.log.Error("a key was revoked and no entry says so", "err", err)
			writeProblem(w, http.StatusServiceUnavailable, "the key is revoked, but no entry of the ledger says so: see the log")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /api/v1/keys/{key}/rotate", func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Grace string }
		if !readJSON(w, r, &ask) {
			return
		}
		grace, err := time.ParseDuration(orDefault(ask.Grace, graceDefault.String()))
		if err != nil || grace < 0 {
			writeProblem(w, http.StatusUnprocessableEntity, fmt.Sprintf("grace %q is not a span: write 1h or 0s", ask.Grace))
			return
		}
		k, secret, err := p.keys.Rotate(r.Context(), r.PathValue("key"), grace)
		if err != nil {
			writeProblem(w, http.StatusUnprocessableEntity, err.Error())
			return
		}
		p.showMinted(w, r, http.StatusOK, keyRotate, minted{k, secret.Reveal()})
	})
}

// showMinted records that a key has a new secret and then shows it: one that no entry tells of is known to nobody.
func (p *process) showMinted(w http.ResponseWriter, r *http.Request, status int, action policy.Action, m minted) {
	if err := privacy.Record(r, p.ledger, ledger.Act{Action: action, Target: m.Name, Detail: "id " + m.ID}); err != nil {
		p.log.Error("a secret is not shown because no entry tells of it", "key", m.Name, "err", err)
		writeProblem(w, http.StatusServiceUnavailable, "key "+m.Name+" has a new secret, which is not shown because the ledger cannot record it: see the log, then rotate the key")
		return
	}
	writeJSON(w, status, m)
}

// listedKeys are all keys with the limits as they were written, wherever they were.
func (p *process) listedKeys() []oauth.Key {
	keys := p.keys.List()
	for i := range keys {
		if keys[i].Declared {
			for _, l := range p.inForce().KeyLimits[keys[i].Name] {
				keys[i].Limits = append(keys[i].Limits, l.Text)
			}
		}
	}
	return keys
}

// mintable says what in spec does not fit the config in force.
func (p *process) mintable(spec *oauth.KeySpec) error {
	if _, ok := p.inForce().Teams[spec.Team]; spec.Team != "" && !ok {
		return errors.New(settings.Unknown("team", spec.Team, settings.Names(p.inForce().Teams), "teams"))
	}
	if spec.User != "" && !p.inForce().Users[spec.User] {
		return errors.New(settings.Unknown("user", spec.User, settings.Names(p.inForce().Users), "users"))
	}
	for _, text := range spec.Limits {
		if err := settings.CheckLimit(text); err != nil {
			return err
		}
	}
	return nil
}

// readJSON reads the body of a request to the admin API, or tells what is wrong with it.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	body, problem := edge.Body(w, r, edge.Limits{})
	if problem != nil {
		writeProblem(w, problem.Status, problem.Text)
		return false
	}
	if err := json.Unmarshal(body, v); err != nil {
		writeProblem(w, http.StatusBadRequest, "the body is not the JSON that is wanted here: "+err.Error())
		return false
	}
	return true
}
