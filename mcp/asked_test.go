package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/mark3labs/mcp-go/client"
	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/internal/mcptest"
)

// agrees is a person who agrees to everything and counts what it was.
type agrees struct{ asked []string }

func (a *agrees) Elicit(_ context.Context, r sdk.ElicitationRequest) (*sdk.ElicitationResult, error) {
	a.asked = append(a.asked, r.Params.Message)
	answer := &sdk.ElicitationResult{}
	answer.Action, answer.Content = sdk.ElicitationResponseActionAccept, map[string]any{"sure": true}
	return answer, nil
}

const form = `{"message":"sure?","requestedSchema":{"type":"object","properties":{"sure":{"type":"boolean"}}}}`

// TestAskedAcrossEras has servers of either era ask clients of either era in the middle of a call, twice.
func TestAskedAcrossEras(t *testing.T) {
	tool := []string{`{"name":"do","inputSchema":{"type":"object"}}`}
	legacy := mcptest.Raw(t, mcptest.Script{Version: "2025-11-25", Sessions: true, Tools: tool, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) {
			first, second := q.Ask("elicitation/create", form), q.Ask("elicitation/create", form)
			q.Result(fmt.Sprintf(`{"content":[{"type":"text","text":%q}]}`, first+second))
		},
	}})
	modern := mcptest.Raw(t, mcptest.Script{Tools: tool, On: map[string]func(*mcptest.Request){
		"tools/call": func(q *mcptest.Request) {
			var in struct {
				InputResponses map[string]struct{ Action string }
				RequestState   string
			}
			_ = json.Unmarshal(q.Params, &in)
			switch {
			case in.InputResponses["second"].Action == "accept" && in.RequestState == "2":
				q.Result(`{"resultType":"complete","content":[{"type":"text","text":"done"}]}`)
			case in.InputResponses["first"].Action == "accept" && in.RequestState == "1":
				q.Result(`{"resultType":"input_required","requestState":"2","inputRequests":{"second":{"method":"elicitation/create","params":` + form + `}}}`)
			default:
				q.Result(`{"resultType":"input_required","requestState":"1","inputRequests":{"first":{"method":"elicitation/create","params":` + form + `}}}`)
			}
		},
	}})
	f := newFixture(t, allowAll, at("old", legacy.URL), at("new", modern.URL))
	for _, version := range []string{"2025-11-25", mcptest.Modern} {
		for _, server := range []string{"old", "new"} {
			t.Run(version+" "+server, func(t *testing.T) {
				person := &agrees{}
				c := f.client(t, version, client.WithElicitationHandler(person))
				req := sdk.CallToolRequest{}
				req.Params.Name = server + "__do"
				result, err := c.CallTool(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				if len(person.asked) != 2 || len(result.Content) != 1 || result.IsError {
					t.Errorf("asked %q, got %+v", person.asked, result)
				}
			})
		}
	}
}
