package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
)

const (
	// pagesMax and itemsMax bound one list: the largest public servers have some hundred tools, and none needs a thousand
	// pages.
	pagesMax = 200
	itemsMax = 10_000
	// listBytesMax bounds what one server's list may hold in memory.
	listBytesMax = 32 << 20
	// ttlMax is the longest time a server's word about its lists is believed.
	ttlMax = 24 * time.Hour
)

// peer is what is known of a server once its era is settled. It is not changed after that.
type peer struct {
	era          Era
	version      string
	versions     []string
	info         []byte
	capabilities []byte // raw object
	instructions string

	tools, resources, prompts, logging bool // capabilities
	listens                            bool // it says it tells of changed lists
}

var capabilityPaths = strictjson.Compile("tools", "tools.listChanged", "resources", "resources.listChanged", "prompts", "prompts.listChanged", "logging")

// declare reads the server's capabilities.
func (p *peer) declare(raw []byte) error {
	var at [7]strictjson.Value
	if err := capabilityPaths.Scan(raw, answerLimits, at[:]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	p.capabilities = raw
	p.tools, p.resources, p.prompts, p.logging = at[0].Present(), at[2].Present(), at[4].Present(), at[6].Present()
	p.listens = at[1].Kind == 't' || at[3].Kind == 't' || at[5].Kind == 't'
	return nil
}

var initializePaths = strictjson.Compile("protocolVersion", "capabilities", "serverInfo", "instructions")

// readInitialize reads the result of initialize.
func readInitialize(raw []byte) (*peer, error) {
	var at [4]strictjson.Value
	if err := initializePaths.Scan(raw, answerLimits, at[:]); err != nil {
		return nil, err
	}
	p := &peer{era: Legacy}
	var err error
	if p.version, err = text(at[0], raw); err != nil {
		return nil, fmt.Errorf("protocolVersion: %w", err)
	}
	if !slices.Contains(legacyVersions[:], p.version) {
		return nil, errNoVersion
	}
	p.about(at[2], at[3], raw)
	return p, p.declare(objectOr(at[1], raw))
}

var discoverPaths = strictjson.Compile("supportedVersions", "capabilities", "instructions", "_meta")

// readDiscover reads the result of server/discover. A server may answer it and yet speak no version that has it: then
// the peer's versions lack the modern one.
func readDiscover(raw []byte) (*peer, error) {
	var at [4]strictjson.Value
	if err := discoverPaths.Scan(raw, answerLimits, at[:]); err != nil {
		return nil, err
	}
	p := &peer{era: Modern, version: modernVersion, versions: texts(raw, at[0])}
	if p.versions == nil {
		return nil, errors.New("supportedVersions is missing")
	}
	p.about(strictjson.Lookup(raw, at[3], "io.modelcontextprotocol/serverInfo"), at[2], raw)
	return p, p.declare(objectOr(at[1], raw))
}

// errNoVersion means that server and gateway speak no common version.
var errNoVersion = errors.New("no common protocol version")

func (p *peer) about(info, instructions strictjson.Value, raw []byte) {
	if info.Kind == '{' {
		p.info = info.In(raw)
	}
	if s, err := text(instructions, raw); err == nil {
		p.instructions = s
	}
}

func objectOr(v strictjson.Value, raw []byte) []byte {
	if v.Kind == '{' {
		return v.In(raw)
	}
	return []byte("{}")
}

// texts are the strings of the array v of raw; what is no string is left out.
func texts(raw []byte, v strictjson.Value) []string {
	var out []string
	for _, e := range strictjson.Elements(raw, v) {
		if s, err := text(e, raw); err == nil {
			out = append(out, s)
		}
	}
	return out
}

var supportedPaths = strictjson.Compile("data.supported")

// supported are the versions that a -32022 error names.
func supported(e *RPCError) []string {
	var at [1]strictjson.Value
	if err := supportedPaths.Scan(e.Raw, answerLimits, at[:]); err != nil {
		return nil
	}
	return texts(e.Raw, at[0])
}

// ask sends one request of the gateway's own and returns the answer.
type ask func(ctx context.Context, method string, params []byte) (*Answer, error)

// offer fetches all lists of a server. A list that fails is a fault of that list; an error means that the server does
// not answer at all.
func (p *peer) offer(ctx context.Context, do ask) (*Offer, error) {
	o := &Offer{
		Era: p.era, Version: p.version, Versions: p.versions, Info: p.info, Capabilities: p.capabilities,
		Instructions: p.instructions, Faults: map[string]string{}, Public: p.era == Modern,
	}
	for _, l := range []struct {
		wanted               bool
		method, member, name string
		into                 *[][]byte
	}{
		{p.tools, "tools/list", "tools", "tools", &o.Tools},
		{p.resources, "resources/list", "resources", "resources", &o.Resources},
		{p.resources, "resources/templates/list", "resourceTemplates", "templates", &o.Templates},
		{p.prompts, "prompts/list", "prompts", "prompts", &o.Prompts},
	} {
		if !l.wanted {
			continue
		}
		items, err := o.list(ctx, do, l.method, l.member)
		*l.into = items
		if err == nil {
			continue
		}
		var f *Fault
		if ctx.Err() != nil || errors.Is(err, errSessionLost) || errors.As(err, &f) && (f.Kind == Unreachable || f.Kind == Gone) {
			return nil, err
		}
		o.Faults[l.name] = err.Error()
	}
	return o, nil
}

// list fetches all pages of one list. What came before a fault is returned with it.
func (o *Offer) list(ctx context.Context, do ask, method, member string) ([][]byte, error) {
	paths := strictjson.Compile(member, "nextCursor", "ttlMs", "cacheScope")
	var items [][]byte
	var params []byte
	seen := map[string]bool{}
	total := 0
	for range pagesMax {
		a, err := do(ctx, method, params)
		if err != nil {
			return items, err
		}
		if a.Error != nil {
			if a.Error.Code == codeMethod && params == nil {
				return nil, nil // it declared the capability and has no such list
			}
			return items, a.Error
		}
		var at [4]strictjson.Value
		if err := paths.Scan(a.Result, answerLimits, at[:]); err != nil {
			return items, fmt.Errorf("the list is not readable: %w", err)
		}
		if at[0].Kind != '[' {
			return items, fmt.Errorf("the list has no member %s", member)
		}
		total += len(a.Result)
		for _, v := range strictjson.Elements(a.Result, at[0]) {
			items = append(items, v.In(a.Result))
		}
		if len(items) > itemsMax || total > listBytesMax {
			return items[:min(len(items), itemsMax)], fmt.Errorf("the list goes beyond %d items or %d MiB", itemsMax, listBytesMax>>20)
		}
		o.cacheable(a.Result, at[2], at[3])
		cursor := at[1]
		if cursor.Kind != '"' {
			return items, nil
		}
		if seen[string(cursor.In(a.Result))] {
			return items, errors.New("the list repeats a page cursor")
		}
		seen[string(cursor.In(a.Result))] = true
		params = append(append([]byte(`{"cursor":`), cursor.In(a.Result)...), '}')
	}
	return items, fmt.Errorf("the list goes beyond %d pages", pagesMax)
}

// cacheable takes what a page says about how long and for whom it holds.
func (o *Offer) cacheable(raw []byte, ttl, scope strictjson.Value) {
	ms, err := strconv.ParseInt(string(raw[ttl.Start:ttl.End]), 10, 64)
	if err != nil || ms < 0 {
		ms = 0
	}
	d := time.Duration(min(ms, int64(ttlMax/time.Millisecond))) * time.Millisecond
	if d > 0 && (o.TTL == 0 || d < o.TTL) {
		o.TTL = d
	}
	if s, err := text(scope, raw); err != nil || s != "public" {
		o.Public = false
	}
}
