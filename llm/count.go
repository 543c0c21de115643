package llm

import (
	"net/http"
	"strconv"

	"github.com/tollgate/tollgate/ledger"
)

// estimateCount answers a question for the number of tokens at a provider that cannot count them. The header says that
// the answer is an estimate.
func (x *exchange) estimateCount() *failure {
	x.header = http.Header{"Content-Type": {"application/json"}}
	x.a.w.Header().Set("X-Tollgate-Estimated", "true")
	x.tail = append(strconv.AppendInt([]byte(`{"input_tokens":`), x.expected, 10), '}')
	x.permit.Done(ledger.OK, http.StatusOK, "estimated by the gateway")
	return nil
}
