package privacy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/ledger/payload"
	"github.com/tollgate/tollgate/ledger/subject"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// The acts of operators that are recorded here, as entries name them.
const (
	PayloadRead    policy.Action = "payload.read"
	SubjectHold    policy.Action = "subject.hold"
	SubjectRelease policy.Action = "subject.release"
	SubjectErase   policy.Action = "subject.erase"
	SubjectRekey   policy.Action = "subject.rekey"
)

// reasonCharsMin and reasonBytesMax bound a reason: something is said, and it fits an entry.
const (
	reasonCharsMin = 3
	reasonBytesMax = 500
)

// API answers for subjects and payloads. Its fields are set before it is used.
type API struct {
	*Part
	Ledger *ledger.Ledger
	Keys   *oauth.Keys
	Index  *index.Index
	Setup  func() *settings.Setup // in force
	Log    *slog.Logger
}

// Register adds the routes.
func (a *API) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/payloads/{id}", serve(a, a.read))
	mux.HandleFunc("GET /api/v1/subjects", a.list)
	mux.HandleFunc("POST /api/v1/subjects/hold", serve(a, a.hold))
	mux.HandleFunc("POST /api/v1/subjects/erase", serve(a, a.erase))
	mux.HandleFunc("POST /api/v1/subjects/rekey", serve(a, a.rekey))
}

// Ask is what an operator asks for.
type Ask struct {
	Subject string `json:"subject,omitempty"` // the name of a user, or a pseudonym
	Key     string `json:"key,omitempty"`     // else the name or id of a key
	Held    bool   `json:"held,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// wrong is an error of whoever asks.
type wrong struct{ error }

// serve answers one kind of request.
func serve[T any](a *API, do func(r *http.Request, ask Ask) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, problem := edge.Body(w, r, edge.Limits{})
		if problem != nil {
			a.refuse(w, problem.Status, problem.Text)
			return
		}
		var ask Ask
		if err := json.Unmarshal(body, &ask); err != nil {
			a.refuse(w, http.StatusBadRequest, "the body is not the JSON that is wanted here: "+err.Error())
			return
		}
		ask.Reason = strings.TrimSpace(ask.Reason)
		answer, err := do(r, ask)
		_, mistaken := errors.AsType[wrong](err)
		switch {
		case err == nil:
			write(w, http.StatusOK, answer)
		case mistaken, errors.Is(err, subject.ErrUnknown), errors.Is(err, subject.ErrErased), errors.Is(err, payload.ErrNone):
			a.refuse(w, http.StatusUnprocessableEntity, err.Error())
		case errors.Is(err, subject.ErrHeld):
			a.refuse(w, http.StatusConflict, err.Error())
		default:
			a.Log.Error("what an operator asked was not done", "path", r.URL.Path, "err", err)
			a.refuse(w, http.StatusServiceUnavailable, "it was not done, or not to its end: see the log, and ask again")
		}
	}
}

func (a *API) refuse(w http.ResponseWriter, status int, text string) {
	write(w, status, map[string]any{"title": http.StatusText(status), "status": status, "detail": text})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if it fails
}

// Record writes an act that an operator asked for by r. Who he is the admin API does not know: all have one token, or come
// by the socket. An act without a status is OK.
func Record(r *http.Request, l *ledger.Ledger, act ledger.Act) error {
	act.By = "operator"
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil { // else he is on this machine
		act.Source = host
	}
	if act.Status == "" {
		act.Status = ledger.OK
	}
	if _, err := l.Record(r.Context(), act); err != nil {
		return fmt.Errorf("record what an operator does: %w", err)
	}
	return nil
}

// record writes an act before it is done.
func (a *API) record(r *http.Request, act ledger.Act) error { return Record(r, a.Ledger, act) }

// said checks a reason; names are those that must not stand in it.
func said(reason string, needed bool, names ...string) error {
	switch {
	case reason == "" && !needed:
		return nil
	case len(reason) < reasonCharsMin:
		return wrong{errors.New("say why, in a few words: the reason is recorded")}
	case len(reason) > reasonBytesMax:
		return wrong{fmt.Errorf("the reason has more than %d bytes", reasonBytesMax)}
	}
	for _, name := range names {
		if name != "" && strings.Contains(strings.ToLower(reason), strings.ToLower(name)) {
			return wrong{errors.New("the reason names the subject, and would stay when he is forgotten: leave the name out, or write the pseudonym")}
		}
	}
	return nil
}

// read shows a payload, after it was recorded that it is.
func (a *API) read(r *http.Request, ask Ask) (p payload.Payload, err error) {
	id, err := ledger.ParseID(r.PathValue("id"))
	if err != nil {
		return p, wrong{fmt.Errorf("%q is not the id of a call: write a UUID", r.PathValue("id"))}
	}
	if p, err = a.Payloads.Of(r.Context(), id); err != nil {
		return p, err
	}
	names, err := a.Subjects.Names(r.Context(), []string{p.Subject})
	if err != nil {
		return p, err
	}
	if err := said(ask.Reason, true, userName(p.Subject, names)); err != nil {
		return p, err
	}
	if err := a.record(r, ledger.Act{Action: PayloadRead, About: id, User: p.Subject, Detail: ask.Reason}); err != nil {
		return p, err
	}
	return a.Payloads.Read(r.Context(), id)
}

// userName is the name behind a pseudonym; that of a key is no person's.
func userName(id string, names map[string]string) string {
	if strings.HasPrefix(id, "k_") {
		return ""
	}
	return names[id]
}

// list shows who is behind the pseudonyms.
func (a *API) list(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	sep := `{"items":[`
	err := a.Subjects.List(r.Context(), func(s subject.Subject) {
		_, _ = w.Write([]byte(sep))
		_ = out.Encode(s) // the client is gone if it fails
		sep = ","
	})
	if err != nil {
		a.Log.Error("subjects cannot be listed", "err", err)
		panic(http.ErrAbortHandler) // so that the client does not take it for the whole
	}
	if sep != "," {
		_, _ = w.Write([]byte(sep))
	}
	_, _ = w.Write([]byte("]}\n"))
}

// find is who is asked about.
func (a *API) find(ctx context.Context, ask Ask) (subject.Subject, error) {
	switch {
	case (ask.Subject == "") == (ask.Key == ""):
		return subject.Subject{}, wrong{errors.New("say who: a subject, by name or pseudonym, or a key")}
	case ask.Key != "":
		s, err := a.Subjects.Find(ctx, subject.Key, a.keyID(ask.Key))
		if errors.Is(err, subject.ErrUnknown) {
			err = wrong{fmt.Errorf("there are no payloads of a key %q: none was captured, or they were erased", ask.Key)}
		}
		return s, err
	}
	s, err := a.Subjects.Find(ctx, subject.User, ask.Subject)
	if errors.Is(err, subject.ErrUnknown) {
		err = wrong{errors.New("no subject has this name or pseudonym: it never called, or was erased before, which a name cannot tell")}
	}
	return s, err
}

// hold keeps a subject from being erased, or lets go.
func (a *API) hold(r *http.Request, ask Ask) (subject.Subject, error) {
	s, err := a.find(r.Context(), ask)
	if err == nil {
		err = said(ask.Reason, true, userName(s.ID, map[string]string{s.ID: s.Name}))
	}
	if err != nil {
		return s, err
	}
	act := ledger.Act{Action: SubjectHold, User: s.ID, Detail: ask.Reason}
	if !ask.Held {
		act.Action = SubjectRelease
	}
	if err := a.record(r, act); err != nil {
		return s, err
	}
	s.Held = ask.Held
	return s, a.Subjects.Hold(r.Context(), s.ID, ask.Held)
}

// Erased is what an erasure did.
type Erased struct {
	Subject  string   `json:"subject"`  // the pseudonym that is left
	Payloads int      `json:"payloads"` // of how many calls they were deleted
	Notes    []string `json:"notes,omitempty"`
}

// erase forgets a subject.
func (a *API) erase(r *http.Request, ask Ask) (e Erased, err error) {
	ctx := r.Context()
	s, err := a.find(ctx, ask)
	if errors.Is(err, subject.ErrErased) {
		return a.finish(ctx, cmp.Or(ask.Subject, ask.Key), err)
	}
	if err == nil {
		err = said(ask.Reason, false, userName(s.ID, map[string]string{s.ID: s.Name}))
	}
	if err != nil {
		return e, err
	}
	act := ledger.Act{Action: SubjectErase, User: s.ID, Detail: ask.Reason}
	if s.Held {
		act.Status, act.Detail = ledger.Failed, "the subject is on hold"
		return e, errors.Join(a.record(r, act), fmt.Errorf("%w: %s: let go of it first, with tollgate audit hold --release", subject.ErrHeld, s.ID))
	}
	person := s.Kind == subject.User.String()
	if person {
		if keys := a.acting(s.Name); len(keys) > 0 {
			return e, wrong{fmt.Errorf("the minted keys %s act for this user and name him: revoke them first, with tollgate key revoke", strings.Join(keys, ", "))}
		}
	}
	if err := a.record(r, act); err != nil {
		return e, err
	}
	e.Subject = s.ID
	if person {
		if err := a.Keys.Unname(ctx, s.Name); err != nil {
			return e, err
		}
	}
	if err := a.Subjects.Erase(ctx, s.ID); err != nil {
		return e, err
	}
	if e.Payloads, err = a.Payloads.Forget(ctx, s.ID); err != nil {
		return e, err
	}
	if person {
		e.Notes = a.remains(ctx, s.Name)
	}
	return e, nil
}

// finish ends an erasure that failed, or was cut off, after the subject itself was erased. Without anything left to do the
// answer is that it was erased before.
func (a *API) finish(ctx context.Context, id string, before error) (Erased, error) {
	e := Erased{Subject: id}
	if err := a.Subjects.Erase(ctx, id); !errors.Is(err, subject.ErrErased) {
		return e, err
	}
	var err error
	if e.Payloads, err = a.Payloads.Forget(ctx, id); err == nil && e.Payloads == 0 {
		err = before
	}
	return e, err
}

// remains says where a user's name may still stand.
func (a *API) remains(ctx context.Context, name string) (notes []string) {
	if a.Setup().Users[name] {
		notes = append(notes, "the config still names this user: calls for him begin anew, under another pseudonym, with nothing used of his limits")
	}
	switch plain, err := a.plain(ctx, name); {
	case err != nil:
		notes = append(notes, "it could not be looked up whether entries of before there were pseudonyms bear the name")
	case plain:
		notes = append(notes, "entries of before there were pseudonyms bear the name, and go when their retention is over")
	}
	return append(notes, "copies that were made before are not reached from here: backups, and what payloads an operator has read")
}

// keyID is the id of a key by its name or id.
func (a *API) keyID(text string) string {
	for _, k := range a.Keys.List() {
		if k.Name == text || k.ID == text {
			return k.ID
		}
	}
	return text
}

// acting are the names of the minted keys that act for a user and are not revoked.
func (a *API) acting(user string) (names []string) {
	for _, k := range a.Keys.List() {
		if k.User == user && !k.Declared && k.Revoked.IsZero() {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	return names
}

// plain reports whether entries of before there were pseudonyms bear a user's name.
func (a *API) plain(ctx context.Context, user string) (bool, error) {
	found, err := a.Index.Calls(ctx, index.Filter{User: user, Limit: 1})
	return len(found.Items) > 0, err
}

// Rekeyed is what a rotation did.
type Rekeyed struct {
	Subjects int `json:"subjects"`
}

// rekey seals everything anew.
func (a *API) rekey(r *http.Request, ask Ask) (k Rekeyed, err error) {
	if err := said(ask.Reason, false); err != nil {
		return k, err
	}
	if err := a.record(r, ledger.Act{Action: SubjectRekey, Detail: ask.Reason}); err != nil {
		return k, err
	}
	k.Subjects, err = a.Subjects.Rekey(r.Context())
	return k, err
}
