package wire

import (
	"strings"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// The methods by which a legacy server asks its client something.
const (
	Elicit = "elicitation/create"
	Sample = "sampling/createMessage"
	Roots  = "roots/list"
)

// RootsChanged is what a client tells its servers when its roots have changed.
const RootsChanged = "notifications/roots/list_changed"

// extensionsMax bounds the extensions that are declared in a legacy session, in bytes: they are part of what sessions are
// kept by, and a longer declaration is left out.
const extensionsMax = 4096

// Abilities are what a legacy server is told that it may ask of its client in one session: what the caller declared and
// can be asked through the gateway. They are comparable, because sessions are kept by them. The zero value is nothing.
type Abilities struct {
	Form, URL                      bool // elicitation, by mode
	Sample, SampleTools, SampleAll bool // sampling, with tools, with the context of servers
	Roots, RootsChanged            bool

	Extensions string // raw object without those the gateway does not carry; empty: none
}

// AbilitiesOf is what the caller of x offers to a server that speaks version. A caller that cannot be asked offers its
// extensions only.
func AbilitiesOf(x *upstream.Exchange, version string) Abilities {
	var a Abilities
	if len(x.Capabilities) <= len("{}") {
		return a
	}
	for name, v := range strictjson.Members(x.Capabilities, strictjson.Whole(x.Capabilities)) {
		has := func(member string) bool {
			return v.Kind == '{' && strictjson.Lookup(x.Capabilities, v, member).Kind == '{'
		}
		switch string(name) {
		case "elicitation":
			a.URL = has("url")
			a.Form = has("form") || v.Kind == '{' && !a.URL
		case "sampling":
			a.Sample, a.SampleTools, a.SampleAll = v.Kind == '{', has("tools"), has("context")
		case "roots":
			a.Roots = v.Kind == '{'
			a.RootsChanged = x.Client != nil && a.Roots && strictjson.Lookup(x.Capabilities, v, "listChanged").Kind == 't'
		case "extensions":
			if v.Kind == '{' && v.End-v.Start <= extensionsMax {
				a.Extensions = string(extensions(x.Capabilities, v, nil, false))
			}
		}
	}
	if x.Ask == nil {
		return Abilities{Extensions: a.Extensions}
	}
	return a.In(version)
}

// OwnAbilities are those of sessions in which the gateway lists: it can be asked nothing, and declares what shapes lists.
func OwnAbilities() Abilities { return Abilities{Extensions: apps} }

// In is the part of a that a server which speaks version knows of.
func (a Abilities) In(version string) Abilities {
	if version < newestLegacy { // url mode, tools and context came with it
		a.URL, a.SampleTools, a.SampleAll = false, false, false
	}
	if version < "2025-06-18" {
		a.Form = false
	}
	return a
}

// Asks reports whether the server may ask anything at all.
func (a Abilities) Asks() bool { return a.Form || a.URL || a.Sample || a.Roots }

// declared is a as the capabilities object of initialize, in the words of version.
func (a Abilities) declared(version string) []byte {
	b := []byte{'{'}
	object := func(in []byte, name string, members ...string) []byte {
		if in[len(in)-1] != '{' {
			in = append(in, ',')
		}
		in = append(append(append(in, '"'), name...), `":{`...)
		in = append(in, strings.Join(members, ",")...)
		return append(in, '}')
	}
	only := func(wanted bool, text string) []string {
		if wanted {
			return []string{text}
		}
		return nil
	}
	if a.Form || a.URL {
		var modes []string
		if version >= newestLegacy { // before, an empty object is all there is
			modes = append(only(a.Form, `"form":{}`), only(a.URL, `"url":{}`)...)
		}
		b = object(b, "elicitation", modes...)
	}
	if a.Sample {
		b = object(b, "sampling", append(only(a.SampleTools, `"tools":{}`), only(a.SampleAll, `"context":{}`)...)...)
	}
	if a.Roots {
		b = object(b, "roots", only(a.RootsChanged, `"listChanged":true`)...)
	}
	if a.Extensions != "" {
		b = append(b, ',')
		if len(b) == len("{,") {
			b = b[:1]
		}
		b = append(append(b, `"extensions":`...), a.Extensions...)
	}
	return append(b, '}')
}

// Refuses is the answer to a request of the server's own that a session with these abilities does not carry, ping with
// its sign of life included; nil: it may be asked.
func (a Abilities) Refuses(m *Message) []byte {
	switch m.Method {
	case "ping":
		return Response(m, &upstream.Answer{Result: []byte("{}")})
	case Elicit:
		return a.refusesMode(m)
	case Sample:
		switch {
		case !a.Sample:
		case !a.SampleTools && (m.Param("tools") != nil || m.Param("toolChoice") != nil):
			return Refusal(m, codeParams, "the client did not declare sampling.tools")
		default:
			return nil
		}
	case Roots:
		if a.Roots {
			return nil
		}
	}
	return Refusal(m, CodeMethod, "the client declared no such capability")
}

func (a Abilities) refusesMode(m *Message) []byte {
	mode := string(m.Param("mode"))
	switch {
	case !a.Form && !a.URL:
		return Refusal(m, CodeMethod, "the client declared no such capability")
	case (mode == "" || mode == `"form"`) && a.Form, mode == `"url"` && a.URL:
		return nil
	}
	return Refusal(m, codeParams, "the client did not declare this mode of elicitation")
}
