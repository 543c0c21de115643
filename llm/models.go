package llm

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/tollgate/tollgate/llm/dialect"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/policy"
)

// The bounds of a page of Anthropic's list.
const (
	pageDefault = 20
	pageMost    = 1000
)

// listing is one model that a principal may know of.
type listing struct {
	id    string // what the list calls it
	bare  string // its name alone, when no other provider has one of that name
	owner string
}

// models answers the list of models and the question for one of them, in the shape that the client asks for: Codex says
// client_version, Anthropic's clients name their version, all others know OpenAI's.
func (p *Proxy) models(w http.ResponseWriter, r *http.Request, e *endpoint) {
	principal, source, err := p.caller(r, policy.ModelList)
	if err != nil {
		e.family.Write(w, err)
		return
	}
	t := p.table.Load()
	p.discover(r.Context(), t, principal)
	codex := r.URL.Query().Has("client_version")
	all := p.listings(t, principal, spoken(e.family, codex))
	if e.model != "" {
		i := slices.IndexFunc(all, func(l listing) bool { return l.id == e.model || l.bare == e.model })
		if i >= 0 {
			all[i].id = e.model
		} else {
			err := unknownModel(e.family, e.model[:min(len(e.model), dialect.ModelBytesMax)])
			p.gate.Refuse(r.Context(), policy.Call{Principal: principal, Action: policy.ModelList, Source: source, Target: e.model[:min(len(e.model), dialect.ModelBytesMax)]}, err.Message)
			e.family.Write(w, err)
			return
		}
		reply(w, shape(e.family, all[i]))
		return
	}
	switch {
	case codex:
		reply(w, codexList(all))
	case e.family == dialect.Anthropic:
		page, err := anthropicPage(all, r)
		if err != nil {
			e.family.Write(w, err)
			return
		}
		reply(w, page)
	default:
		list := openAIList{Object: "list", Data: []any{}}
		for _, l := range all {
			list.Data = append(list.Data, shape(dialect.OpenAI, l))
		}
		reply(w, list)
	}
}

// spoken is the dialect that a model must speak to be of use to whoever asks; empty: any.
func spoken(family dialect.Family, codex bool) vendor.Dialect {
	switch {
	case codex:
		return vendor.Responses
	case family == dialect.Anthropic:
		return vendor.Messages
	}
	return ""
}

// listings are the models that principal may know of and that speak d: aliases first, then each provider's. A name that
// only one provider has can stand for itself.
func (p *Proxy) listings(t *table, principal *policy.Principal, d vendor.Dialect) []listing {
	call := policy.Call{Principal: principal, Action: policy.ModelList}
	if d != "" {
		call.Action = p.formats[d].Action
	}
	seen := func(tg *target) bool {
		if d != "" && !tg.provider.Speaks(d) {
			return false
		}
		c := call
		tg.name(&c)
		return p.gate.Visible(&c)
	}
	var out []listing
	taken := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(t.aliases)) {
		taken[name] = true
		if slices.ContainsFunc(t.aliases[name], seen) {
			out = append(out, listing{id: name, owner: "tollgate"})
		}
	}
	var found []*target
	owners := map[string]int{}
	for _, to := range t.order {
		for _, name := range t.modelsOf(to) {
			if tg := to.target(name); seen(tg) {
				found = append(found, tg)
				owners[name]++
			}
		}
	}
	for _, tg := range found {
		l := listing{id: tg.path, owner: tg.model.Provider}
		if name := tg.model.Name; owners[name] == 1 && !taken[name] {
			l.bare = name
		}
		if d != "" && l.bare != "" { // these clients look for names they know
			l.id = l.bare
		}
		out = append(out, l)
	}
	return out
}

type openAIList struct {
	Object string `json:"object"`
	Data   []any  `json:"data"`
}

type openAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"` // not known; the field is required
	OwnedBy string `json:"owned_by"`
}

type anthropicModel struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"` // not known; the field is required
}

func shape(family dialect.Family, l listing) any {
	if family == dialect.Anthropic {
		return anthropicModel{Type: "model", ID: l.id, DisplayName: l.id, CreatedAt: "1970-01-01T00:00:00Z"}
	}
	return openAIModel{ID: l.id, Object: "model", OwnedBy: l.owner}
}

// anthropicPage is one page of all, as limit, after_id and before_id ask for it.
func anthropicPage(all []listing, r *http.Request) (any, *dialect.Error) {
	q := r.URL.Query()
	limit := pageDefault
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > pageMost {
			return nil, &dialect.Error{Status: http.StatusBadRequest, Message: "limit must be a number from 1 to 1000"}
		}
		limit = n
	}
	at := func(id string) int { return slices.IndexFunc(all, func(l listing) bool { return l.id == id }) }
	from, to := 0, len(all)
	if id := q.Get("after_id"); id != "" {
		from = at(id) + 1
	}
	more := to-from > limit
	if id := q.Get("before_id"); id != "" {
		to = max(at(id), 0)
		from = max(to-limit, 0)
		more = from > 0
	}
	page := struct {
		Data    []any   `json:"data"`
		HasMore bool    `json:"has_more"`
		FirstID *string `json:"first_id"`
		LastID  *string `json:"last_id"`
	}{Data: []any{}, HasMore: more}
	for _, l := range all[from:min(to, from+limit)] {
		page.Data = append(page.Data, shape(dialect.Anthropic, l))
		if page.FirstID == nil {
			page.FirstID = &l.id
		}
		page.LastID = &l.id
	}
	return page, nil
}

// codexModel is an entry of the catalog that Codex reads; fields it needs and we do not know have the values that ask
// least of a model.
type codexModel struct {
	Slug                string   `json:"slug"`
	DisplayName         string   `json:"display_name"`
	Description         string   `json:"description"`
	DefaultEffort       string   `json:"default_reasoning_level"`
	Efforts             []effort `json:"supported_reasoning_levels"`
	Shell               string   `json:"shell_type"`
	Visibility          string   `json:"visibility"`
	InAPI               bool     `json:"supported_in_api"`
	Priority            int      `json:"priority"`
	Instructions        string   `json:"base_instructions"`
	Summaries           bool     `json:"supports_reasoning_summaries"`
	Verbosity           bool     `json:"support_verbosity"`
	ApplyPatch          string   `json:"apply_patch_tool_type"`
	Truncation          trunc    `json:"truncation_policy"`
	ParallelTools       bool     `json:"supports_parallel_tool_calls"`
	ContextWindow       int64    `json:"context_window,omitempty"`
	Experimental        []string `json:"experimental_supported_tools"`
	InputModalities     []string `json:"input_modalities"`
	ContextWindowUsable int      `json:"effective_context_window_percent"`
}

type effort struct {
	Effort      string `json:"effort"`
	Description string `json:"description"`
}

type trunc struct {
	Mode  string `json:"mode"`
	Limit int    `json:"limit"`
}

func codexList(all []listing) any {
	list := struct {
		Models []codexModel `json:"models"`
	}{[]codexModel{}}
	for i, l := range all {
		list.Models = append(list.Models, codexModel{
			Slug: l.id, DisplayName: l.id, DefaultEffort: "medium",
			Efforts: []effort{{"low", "less thinking"}, {"medium", "the model's usual"}, {"high", "more thinking"}},
			Shell:   "shell_command", Visibility: "list", InAPI: true, Priority: i, ApplyPatch: "freeform",
			Truncation: trunc{"bytes", 10_000}, InputModalities: []string{"text", "image"}, Experimental: []string{}, ContextWindowUsable: 95,
		})
	}
	return list
}

func reply(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		dialect.OpenAI.Write(w, &dialect.Error{Status: http.StatusInternalServerError, Message: "the list could not be written"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // whoever asked is gone: nobody is left to tell
}
