package shape

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// OCSFVersion is the version of the schema that the shape ocsf follows. Later ones renamed and deprecated fields, so what
// a receiver has is pinned.
const OCSFVersion = "1.6.0"

// The classes of OCSF that entries become.
const (
	accountChange    = 3001 // acts on keys
	authentication   = 3002 // callers that were turned away
	entityManagement = 3004 // all else that an operator does
	apiActivity      = 6003 // calls
)

// The values of enumerations.
const (
	other = 99

	success = 1
	failure = 2

	informational = 1
	low           = 2
	medium        = 3
)

// event is an OCSF event of one of the four classes. Members are in the order of the base event, then of the classes.
type event struct {
	Metadata     metadata  `json:"metadata"`
	Time         int64     `json:"time"` // milliseconds
	StartTime    int64     `json:"start_time,omitempty"`
	Duration     int64     `json:"duration,omitempty"`
	CategoryUID  int       `json:"category_uid"`
	ClassUID     int       `json:"class_uid"`
	ActivityID   int       `json:"activity_id"`
	ActivityName string    `json:"activity_name"`
	TypeUID      int       `json:"type_uid"`
	SeverityID   int       `json:"severity_id"`
	StatusID     int       `json:"status_id"`
	Status       string    `json:"status,omitempty"`
	StatusCode   string    `json:"status_code,omitempty"`
	StatusDetail string    `json:"status_detail,omitempty"`
	Message      string    `json:"message"`
	Count        int64     `json:"count,omitempty"`
	Actor        *actor    `json:"actor,omitempty"`
	API          *api      `json:"api,omitempty"`
	Source       *endpoint `json:"src_endpoint,omitempty"`
	Destination  *endpoint `json:"dst_endpoint,omitempty"`
	Resources    []named   `json:"resources,omitempty"`
	User         *user     `json:"user,omitempty"`
	Service      *named    `json:"service,omitempty"`
	AuthProtocol string    `json:"auth_protocol,omitempty"`
	AuthID       int       `json:"auth_protocol_id,omitempty"`
	IsRemote     bool      `json:"is_remote,omitempty"`
	Entity       *named    `json:"entity,omitempty"`
	Unmapped     unmapped  `json:"unmapped"`
}

type metadata struct {
	Version        string  `json:"version"`
	UID            string  `json:"uid"`
	CorrelationUID string  `json:"correlation_uid,omitempty"`
	Product        product `json:"product"`
	LogName        string  `json:"log_name"`
	LogProvider    string  `json:"log_provider,omitempty"` // the journal's writer…
	Sequence       uint64  `json:"sequence,omitempty"`     // …and the place in it
}

type product struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
}

type actor struct {
	User           *user           `json:"user,omitempty"`
	AppName        string          `json:"app_name,omitempty"`
	Authorizations []authorization `json:"authorizations,omitempty"`
}

type authorization struct {
	Decision string `json:"decision"`
	Policy   *named `json:"policy,omitempty"`
}

type user struct {
	Name    string  `json:"name,omitempty"`
	UID     string  `json:"uid,omitempty"`
	UIDAlt  string  `json:"uid_alt,omitempty"`
	Groups  []named `json:"groups,omitempty"`
	Account *named  `json:"account,omitempty"`
}

type api struct {
	Operation string    `json:"operation"`
	Service   *named    `json:"service,omitempty"`
	Request   request   `json:"request"`
	Response  *response `json:"response,omitempty"`
}

type request struct {
	UID string `json:"uid"`
}

type response struct {
	Code  int    `json:"code,omitempty"`
	Error string `json:"error,omitempty"`
}

type endpoint struct {
	IP      string `json:"ip,omitempty"`
	Name    string `json:"name,omitempty"`
	SvcName string `json:"svc_name,omitempty"`
}

type named struct {
	Name    string `json:"name,omitempty"`
	UID     string `json:"uid,omitempty"`
	Type    string `json:"type,omitempty"`
	Version string `json:"version,omitempty"`
}

// unmapped is what OCSF has no place for, by the names of the public JSON.
type unmapped struct {
	Kind        ledger.Kind            `json:"kind"`
	Parent      ledger.ID              `json:"parent,omitzero"`
	Trace       ledger.TraceID         `json:"trace,omitzero"`
	OnBehalf    string                 `json:"on_behalf,omitempty"`
	Limits      []string               `json:"limits,omitempty"`
	Revision    string                 `json:"revision,omitempty"`
	Attempt     int                    `json:"attempt,omitempty"`
	Counted     bool                   `json:"counted,omitempty"`
	Digest      ledger.Digest          `json:"digest,omitzero"`
	Hold        ledger.Nano            `json:"hold,omitempty"`
	Worst       ledger.Nano            `json:"worst,omitempty"`
	HoldTokens  int64                  `json:"hold_tokens,omitempty"`
	WorstTokens int64                  `json:"worst_tokens,omitempty"`
	PriceList   string                 `json:"price_list,omitempty"`
	Prices      map[string]ledger.Nano `json:"prices,omitempty"`
	Cost        ledger.Nano            `json:"cost"`
	Quantities  ledger.Quantities      `json:"quantities,omitzero"`
	Estimated   bool                   `json:"estimated,omitempty"`
	Outcome     ledger.Status          `json:"outcome,omitempty"`
}

func eventOf(e *ledger.Entry) *event {
	v := &event{
		Metadata: metadata{
			Version: OCSFVersion, UID: e.ID.String(), CorrelationUID: e.Call().String(), Product: product{"Tollgate", "Tollgate"},
			LogName: "ledger", LogProvider: e.Writer, Sequence: e.Seq,
		},
		Time: e.Time.UnixMilli(), ActivityName: string(e.Action), SeverityID: informational, StatusDetail: e.Detail, Message: title(e),
		Unmapped: unmapped{
			Kind: e.Kind, Parent: e.Parent, Trace: e.Trace, OnBehalf: e.OnBehalf, Limits: e.Limits, Revision: e.Revision,
			Attempt: e.Attempt, Counted: e.Counted, Digest: e.Digest, Hold: e.Hold, Worst: e.Worst, HoldTokens: e.HoldTokens,
			WorstTokens: e.WorstTokens, PriceList: e.PriceList, Prices: e.Prices, Cost: e.Cost, Quantities: e.Quantities,
			Estimated: e.Estimated, Outcome: e.Status,
		},
	}
	v.status(e)
	if e.Latency > 0 {
		v.Duration, v.StartTime = e.Latency.Milliseconds(), e.Time.Add(-e.Latency).UnixMilli()
	}
	switch {
	case e.Kind == ledger.Denied && e.Who == (ledger.Who{}) && e.OnBehalf == "":
		v.turnedAway(e)
	case e.Kind == ledger.Admin && strings.HasPrefix(string(e.Action), "key."):
		v.keyAct(e)
	case e.Kind == ledger.Admin || e.Kind == ledger.Link || e.Kind == ledger.Approval:
		v.act(e)
	default:
		v.call(e)
	}
	if v.ActivityName == "" {
		v.ActivityName = e.Kind.String()
	}
	v.TypeUID = v.ClassUID*100 + v.ActivityID
	v.CategoryUID = v.ClassUID / 1000
	return v
}

func (v *event) status(e *ledger.Entry) {
	switch text := outcome(e); text {
	case "Failure":
		v.StatusID, v.Status, v.SeverityID = failure, text, low
	case "Success":
		v.StatusID, v.Status = success, text
	default:
		v.StatusID, v.Status = other, text
	}
	if e.Kind == ledger.Denied {
		v.SeverityID = medium
	}
	if e.Code != 0 {
		v.StatusCode = strconv.Itoa(e.Code)
	}
}

// call is an API Activity: what an agent, or the gateway in its own name, asked of a tool server or a model.
func (v *event) call(e *ledger.Entry) {
	v.ClassUID, v.ActivityID = apiActivity, callActivity(e.Action)
	v.Actor = actorOf(e)
	decision := "allowed"
	if e.Kind == ledger.Denied {
		decision = "denied"
	}
	for _, rule := range e.Rules {
		v.Actor.Authorizations = append(v.Actor.Authorizations, authorization{decision, &named{UID: rule, Version: e.Revision}})
	}
	v.API = &api{Operation: v.ActivityName, Request: request{e.Call().String()}}
	if v.API.Operation == "" {
		v.API.Operation = e.Kind.String()
	}
	if e.Upstream != "" {
		v.API.Service = &named{Name: e.Upstream}
		v.Destination = &endpoint{SvcName: e.Upstream}
	}
	if e.Code != 0 || failed(e) {
		v.API.Response = &response{Code: e.Code}
		if failed(e) {
			v.API.Response.Error = string(e.Status)
		}
	}
	if e.Target != "" {
		group, _, _ := strings.Cut(string(e.Action), ".")
		v.Resources = []named{{Name: e.Target, Type: group}}
	}
	v.Source = sourceOf(e)
}

// callActivity is what an API Activity calls an action.
func callActivity(a policy.Action) int {
	const create, read, update, remove = 1, 2, 3, 4
	switch a {
	case policy.ToolList, policy.ResourceList, policy.ResourceRead, policy.PromptList, policy.PromptGet, policy.ModelList, policy.TaskGet,
		policy.ServerDiscover, policy.ServerPing, policy.ProviderProbe, policy.ResourceSubscribe:
		return read
	case policy.SessionOpen:
		return create
	case policy.TaskUpdate:
		return update
	case policy.TaskCancel:
		return remove
	}
	return other
}

// turnedAway is an Authentication that failed: a caller without a valid key.
func (v *event) turnedAway(e *ledger.Entry) {
	const logon = 1
	v.ClassUID, v.ActivityID, v.ActivityName = authentication, logon, "Logon"
	v.User = &user{Name: "unknown"}
	v.Service = &named{Name: "tollgate"}
	v.AuthProtocol, v.AuthID, v.IsRemote = "virtual key", other, true
	v.Source = sourceOf(e)
	v.Count = max(e.Quantities.Calls, 1)
	v.Unmapped.Quantities.Calls = 0
}

// keyAct is an Account Change: a key is the account that agents act as.
func (v *event) keyAct(e *ledger.Entry) {
	v.ClassUID, v.ActivityID = accountChange, other
	switch _, verb, _ := strings.Cut(string(e.Action), "."); verb {
	case "create", "mint":
		v.ActivityID = 1
	case "enable":
		v.ActivityID = 2
	case "rotate":
		v.ActivityID = 3 // its secret is what a password is
	case "disable", "suspend":
		v.ActivityID = 5
	case "delete", "revoke":
		v.ActivityID = 6
	}
	v.User = &user{Name: e.Target}
	if e.Target == "" {
		v.User.Name = "unknown"
	}
	v.Actor, v.Source = actorOf(e), sourceOf(e)
}

// act is Entity Management: anything else that an operator does.
func (v *event) act(e *ledger.Entry) {
	v.ClassUID, v.ActivityID = entityManagement, other
	kind, verb, _ := strings.Cut(string(e.Action), ".")
	switch verb {
	case "create", "add":
		v.ActivityID = 1
	case "read", "list", "export":
		v.ActivityID = 2
	case "update", "set", "reload":
		v.ActivityID = 3
	case "delete", "remove", "erase":
		v.ActivityID = 4
	}
	v.Entity = &named{Name: e.Target, UID: e.Call().String(), Type: kind}
	if kind == "" {
		v.Entity.Type = e.Kind.String()
	}
	v.Actor, v.Source = actorOf(e), sourceOf(e)
}

// actorOf is who acted; without a principal the gateway itself.
func actorOf(e *ledger.Entry) *actor {
	a := &actor{AppName: e.Who.Client}
	w := e.Who
	if w.Key != "" || w.KeyID != "" || w.User != "" {
		a.User = &user{Name: w.Key, UID: w.KeyID, UIDAlt: w.User}
		if a.User.Name == "" && a.User.UID == "" {
			a.User.UID, a.User.UIDAlt = w.User, ""
		}
		if w.Team != "" {
			a.User.Groups = []named{{Name: w.Team}}
		}
		if w.Customer != "" {
			a.User.Account = &named{Name: w.Customer}
		}
	}
	if a.User == nil && a.AppName == "" {
		a.AppName = "tollgate"
	}
	return a
}

// sourceOf is where a request came from, as far as it is known.
func sourceOf(e *ledger.Entry) *endpoint {
	host := e.Source
	if _, err := netip.ParseAddr(host); err == nil {
		return &endpoint{IP: host}
	}
	if host == "" {
		host = "unknown"
	}
	return &endpoint{Name: host}
}
