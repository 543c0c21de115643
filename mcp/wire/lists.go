package wire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/upstream"
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

// Asker sends one request of the gateway's own and returns the answer.
type Asker func(ctx context.Context, method string, params []byte) (*upstream.Answer, error)

// Offer fetches all lists of a server. A list that fails is a fault of that list; an error means that the server does
// not answer at all.
func (p *Peer) Offer(ctx context.Context, do Asker) (*upstream.Offer, error) {
	o := &upstream.Offer{
		Era: p.Era, Version: p.Version, Versions: p.Versions, Info: p.Info, Capabilities: p.Capabilities,
		Instructions: p.Instructions, Faults: map[string]string{}, Public: p.Era == upstream.Modern,
	}
	for _, l := range []struct {
		wanted               bool
		method, member, name string
		into                 *[][]byte
	}{
		{p.Tools, "tools/list", "tools", "tools", &o.Tools},
		{p.Resources, "resources/list", "resources", "resources", &o.Resources},
		{p.Resources, "resources/templates/list", "resourceTemplates", "templates", &o.Templates},
		{p.Prompts, "prompts/list", "prompts", "prompts", &o.Prompts},
	} {
		if !l.wanted {
			continue
		}
		items, err := List(ctx, o, do, l.method, l.member)
		*l.into = items
		if err == nil {
			continue
		}
		var f *upstream.Fault
		if ctx.Err() != nil || errors.As(err, &f) && (f.Kind == upstream.Unreachable || f.Kind == upstream.Gone) {
			return nil, err
		}
		o.Faults[l.name] = err.Error()
	}
	return o, nil
}

// List fetches all pages of one list. What came before a fault is returned with it.
func List(ctx context.Context, o *upstream.Offer, do Asker, method, member string) ([][]byte, error) {
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
			if a.Error.Code == CodeMethod && params == nil {
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
		cacheable(o, a.Result, at[2], at[3])
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
func cacheable(o *upstream.Offer, raw []byte, ttl, scope strictjson.Value) {
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
