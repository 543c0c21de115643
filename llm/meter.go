package llm

import (
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/dialect"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/usage"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/policy"
)

// chargeBytes is how much text a stream may bring before its cost is charged anew: some 500 tokens, so that a stream is
// cut that soon after its limits are used up.
const chargeBytes = 2 << 10

// hold prices the call before it leaves. What is asked for is read from the body that is sent.
func (x *exchange) hold(call *policy.Call) ledger.Hold {
	size := usage.Measure(call.Args)
	var recent int64
	x.size = size
	x.expected, recent = x.p.history.Expect(call.Principal.KeyID, x.t.path, size)
	x.reader = usage.NewReader(x.req.format.Dialect)
	if x.req.format.Dialect == vendor.CountTokens {
		return ledger.Hold{} // counting is not using
	}
	f := &x.req.fields
	ask := price.Ask{
		Bytes: size.Bytes, Input: x.expected, Media: size.Media, Long: size.Long,
		Remote:    size.Remote || f.Has(dialect.Previous) || f.Has(dialect.Conversation),
		MaxOutput: f.OutputLimit(), RecentOutput: recent, Choices: f.Outputs(), NoOutput: x.req.format.Dialect == vendor.Embeddings, Service: f.Text(dialect.Tier),
	}
	if f.ProviderTools() {
		ask.Searches = ledger.Unbounded
	}
	h := x.price.Hold(ask)
	call.EstCost = int64(h.Cost)
	return h
}

// used is what the answer has used as far as it has come.
func (x *exchange) used(whole bool) ledger.Usage {
	r := x.reader.Result(x.expected, whole)
	return ledger.Usage{
		Cost: x.price.Cost(&r.Quantities, r.Service), Quantities: r.Quantities, Estimated: r.Estimated || !x.price.Exact(&r.Quantities),
	}
}

// charge charges a stream that goes on. Its error means that the limits are used up and the stream must be cut.
func (x *exchange) charge() error {
	if text := x.reader.TextBytes(); text-x.charged >= chargeBytes {
		x.charged = text
		return x.permit.Charge(x.used(false))
	}
	return nil
}

// settle ends the call with what its answer has used. That it may be more than the limits left is the overshoot of its last
// part: the answer is there, and is given.
func (x *exchange) settle(status ledger.Status, code int, detail string) {
	whole := status == ledger.OK
	r := x.reader.Result(x.expected, whole)
	if whole && !r.Estimated {
		x.p.history.Observe(x.req.principal.KeyID, x.t.path, x.size, &r.Quantities)
	}
	if err := x.permit.Charge(x.used(whole)); err != nil {
		x.p.log.Debug("a call used more than its limits left", "call", x.permit.Call().ID, "err", err)
	}
	x.permit.Done(status, code, detail)
	if whole {
		x.p.rests.worked(x.t.model)
	}
}
