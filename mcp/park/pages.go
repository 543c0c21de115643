package park

import (
	"strconv"
	"time"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// Pages is the result that asks a modern caller to visit what a legacy server's -32042 error names. No call waits: the
// server has refused it, and the retry is a call of its own.
func (l *Lot) Pages(r *Request, failure []byte) (*era.Result, error) {
	var open []*question
	for i, params := range era.Pages(failure) {
		open = append(open, &question{key: pageKey(i), method: era.Elicit, params: withoutIDs(params)})
	}
	if open == nil {
		return nil, &rpc.Error{Code: rpc.CodeInternal, Message: era.Visit()}
	}
	s := &State{kind: again, turn: uint32(len(open)), expires: time.Now().Add(parkedFor).Unix(), sum: r.sum()}
	return inputRequired(open, s.seal(l.sealer))
}

func pageKey(i int) string { return keyOf(era.Elicit) + "-" + strconv.Itoa(i+1) }

// Declined reads inputResponses for the pages that were to be visited: whether one was not. Without a word of one the call
// is made, and its server knows.
func (t *Ticket) Declined(responses []byte) (bool, *rpc.Error) {
	open := make([]*question, t.state.turn)
	for i := range open {
		open[i] = &question{key: pageKey(i), method: era.Elicit}
	}
	answers, err := readResponses(responses, open)
	if err != nil {
		return false, err
	}
	for _, a := range answers {
		if a != nil {
			if did, _ := action(a); did != "accept" {
				return true, nil
			}
		}
	}
	return false, nil
}
