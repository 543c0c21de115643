package policy

import (
	"strings"
	"time"

	"github.com/tollgate/tollgate/policy/condition"
)

const nanoPerUSD = 1e9

// setPrincipal fills what is known of who calls.
func setPrincipal(v *condition.Vars, p *Principal) {
	v.Key = condition.Key{Name: p.Key, ID: p.KeyID, Team: p.Team, Customer: p.Customer, Tags: p.Tags}
	v.Team.Name, v.Customer.Name, v.Client.Name = p.Team, p.Customer, p.Client
	v.User = condition.User{Name: p.User, Groups: p.Groups}
}

// setTarget fills what is known of what is called; the side that the call is not on stays empty, and no rule that
// matches can read it.
func setTarget(v *condition.Vars, t *Tool, m *Model) {
	if t != nil {
		v.Tool = condition.Tool{
			Server: t.Server, Name: t.Name, Kind: t.Kind, ReadOnly: t.ReadOnly, Destructive: t.Destructive,
			Idempotent: t.Idempotent, OpenWorld: t.OpenWorld, Trusted: t.Trusted,
		}
		if t.Kind == "" {
			v.Tool.Kind = "tool"
		}
		v.Server = condition.Server{Name: t.Server, Trusted: t.Trusted}
	}
	if m != nil {
		v.Model = condition.Model{Provider: m.Provider, Name: m.Name}
	}
}

// setNow fills the time of the call in zone.
func setNow(v *condition.Vars, at time.Time, zone *time.Location) {
	now := at.In(zone)
	v.Now = condition.Now{
		Hour: now.Hour(), Minute: now.Minute(), Weekday: strings.ToLower(now.Weekday().String()[:3]),
		Day: now.Day(), Month: int(now.Month()), Date: now.Format(time.DateOnly), Unix: int(now.Unix()), TZ: zone.String(),
	}
}

// setCall fills what else is known once the call is made, but for its arguments.
func setCall(v *condition.Vars, c *Call) {
	v.Call = condition.Call{Action: string(c.Action), EstCost: float64(c.EstCost) / nanoPerUSD, Stream: c.Stream, Attempt: max(c.Attempt, 1)}
	if s := c.Spend; s != nil {
		v.Spend = condition.Spend{
			KeyToday: s.KeyToday, KeyMonth: s.KeyMonth, TeamToday: s.TeamToday, TeamMonth: s.TeamMonth,
			CustomerToday: s.CustomerToday, CustomerMonth: s.CustomerMonth,
		}
	}
	if r := c.Run; r != nil {
		v.Run = condition.Run{ID: r.ID, Calls: int(r.Calls), SawUntrusted: r.SawUntrusted}
	}
}
