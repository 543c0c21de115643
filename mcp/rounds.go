package mcp

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// The bounds of the rounds in which a modern server's questions are put to a legacy caller.
const (
	roundsMax   = 10                     // more is a server in a loop
	askParallel = 8                      // questions of one round that are out at a time
	busyFirst   = 100 * time.Millisecond // after the second answer without a question; doubled after each further one
	busyMost    = 5 * time.Second
	pageFirst   = time.Second // between two looks whether a page that was opened has been dealt with; doubled
	pageMost    = 15 * time.Second
	pagesWithin = 10 * time.Minute // in all: nobody says when a page is done, and people give up
)

// rounds is one call of a legacy caller to a modern server that requires input.
type rounds struct {
	c     *front.Call
	clock *clock
	pages map[string]string // URLs that the caller has agreed to open -> elicitationId
	spent time.Duration     // waiting for pages
	looks int               // at pages
	busy  int               // rounds without a question
}

// rounds asks the caller what the server requires and sends the call again with the answers, under the same permit, until
// there is a result or an error, or the policy does not allow the call any more.
func (s *served) rounds(ctx context.Context, c *front.Call, x *upstream.Exchange, result *era.Result, clock *clock) (whole, error) {
	r := &rounds{c: c, clock: clock, pages: map[string]string{}}
	params := x.Params
	for n := 0; n < roundsMax; {
		in, err := result.Input()
		if err != nil {
			return whole{}, &upstream.Fault{Kind: upstream.Garbage, Text: "the server requires input that cannot be read", Err: err}
		}
		responses, looked, err := r.answer(ctx, in)
		if err != nil {
			var refused *rpc.Error
			if errors.As(err, &refused) {
				x.Permit.Done(ledger.Failed, 0, "input")
			}
			return whole{}, err
		}
		if !looked {
			n++
		}
		// People take their time, and what was allowed before may not be now.
		if err := s.g.cfg.Gate.Again(ctx, callOf(c)); err != nil {
			x.Permit.Done(ledger.Failed, 0, "denied")
			return whole{}, err
		}
		x.Params = in.Retry(params, responses)
		a, err := s.carry(ctx, c, x)
		if err != nil || a.err != nil || a.result.Type != era.InputRequired {
			r.over()
			return a, err
		}
		result = a.result
	}
	x.Permit.Done(ledger.Failed, 0, "input")
	if r.busy > 0 {
		return whole{}, inputError("the server is busy and put the call off again and again, so it was ended")
	}
	return whole{}, inputError("the server required input again and again, so the call was ended")
}

// rising passes progress on only as far as it rises: to the caller all rounds are one request, and a server may begin
// each anew.
func rising(notify func(string, []byte)) func(string, []byte) {
	if notify == nil {
		return nil
	}
	highest := math.Inf(-1) // Notify is called from one goroutine at a time
	return func(method string, params []byte) {
		if method == "notifications/progress" {
			v := strictjson.Lookup(params, strictjson.Whole(params), "progress")
			n, err := strconv.ParseFloat(string(v.In(params)), 64)
			if err == nil && n <= highest {
				return
			}
			if err == nil {
				highest = n
			}
		}
		notify(method, params)
	}
}

func inputError(text string) *rpc.Error {
	return &rpc.Error{Code: rpc.CodeInternal, Message: text, Data: because("input")}
}

// answer gets the answers to one round, a raw object; nil: nothing is asked. looked says that the round was nothing but
// another look whether pages have been dealt with. The error is an *rpc.Error when the caller could not be asked.
func (r *rounds) answer(ctx context.Context, in *era.Input) (responses []byte, looked bool, err error) {
	if len(in.Requests) == 0 {
		r.busy++
		if r.busy == 1 {
			return nil, false, nil
		}
		return nil, false, sleep(ctx, min(busyFirst<<(r.busy-2), busyMost))
	}
	if r.agreed(in) {
		if err := r.awaitPages(ctx); err != nil {
			return nil, true, err
		}
		looked = true
	}
	answers, err := r.askAll(ctx, in.Requests)
	if err != nil {
		return nil, false, err
	}
	for i, q := range in.Requests {
		if i > 0 {
			responses = append(responses, ',')
		}
		responses = append(append(strictjson.Quote(responses, q.Key), ':'), answers[i]...)
	}
	return append(append([]byte{'{'}, responses...), '}'), looked, nil
}

// agreed reports whether nothing is asked but to open pages that the caller has agreed to open.
func (r *rounds) agreed(in *era.Input) bool {
	for _, q := range in.Requests {
		if q.Method != era.Elicit || r.pages[era.Page(q.Params)] == "" {
			return false
		}
	}
	return true
}

// awaitPages gives a person time to deal with what was opened. Nobody says when that is, so the call is made again and
// again; its clock stands still.
func (r *rounds) awaitPages(ctx context.Context) error {
	d := min(pageFirst<<min(r.looks, 8), pageMost)
	if r.looks++; r.spent+d > pagesWithin {
		return inputError("the page that the server needs to be dealt with was not, for " + pagesWithin.String())
	}
	r.spent += d
	r.clock.pause()
	defer r.clock.resume()
	return sleep(ctx, d)
}

// askAll asks a few questions at a time. The first failure ends the others.
func (r *rounds) askAll(ctx context.Context, requests []era.InputRequest) ([][]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make([][]byte, len(requests))
	opened := make([]string, len(requests)) // elicitationIds of new pages
	slots := make(chan struct{}, askParallel)
	var wg sync.WaitGroup
	for i, q := range requests {
		if q.Method == era.Elicit && r.pages[era.Page(q.Params)] != "" {
			answers[i] = []byte(`{"action":"accept"}`)
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			var err error
			if answers[i], opened[i], err = r.ask(ctx, q); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i, id := range opened {
		if id != "" && era.Accepts(answers[i]) {
			r.pages[era.Page(requests[i].Params)] = id
		}
	}
	return answers, nil
}

// ask asks one question; id is the elicitationId of one that is about a page, which legacy clients want and modern servers
// do not give.
func (r *rounds) ask(ctx context.Context, q era.InputRequest) (answer []byte, id string, err error) {
	params := q.Params
	if q.Method == era.Elicit && era.Page(params) != "" {
		if !era.CanVisit(r.c.Context) {
			return nil, "", inputError(era.Visit(params))
		}
		id = rand.Text()
		params = rpc.With(params, strictjson.Change{Name: "elicitationId", Value: rpc.String(id)})
	}
	a := r.c.Ask(ctx, q.Method, params)
	switch {
	case ctx.Err() != nil:
		return nil, "", context.Cause(ctx)
	case a.Error != nil:
		return nil, "", inputError("the server asked for " + q.Method + ", which the client did not answer: " + era.MessageOf(a.Error.Raw))
	}
	return a.Result, id, nil
}

// over tells the caller that the pages it opened have been dealt with: the server has gone on.
func (r *rounds) over() {
	if r.c.Client == nil || r.c.Client.Notify == nil {
		return
	}
	for _, id := range r.pages {
		r.c.Client.Notify("notifications/elicitation/complete", append(strictjson.Quote([]byte(`{"elicitationId":`), id), '}'))
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
