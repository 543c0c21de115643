package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/dialogue"
	"github.com/tollgate/tollgate/conformance/launch"
)

// taskScenarios are the official suite's for the tasks extension, which count for no revision. It has a tenth one,
// tasks-status-notifications, which it skips itself: it has no harness for subscriptions/listen.
var taskScenarios = []string{
	"tasks-lifecycle", "tasks-capability-negotiation", "tasks-dispatch-and-envelope", "tasks-request-headers", "tasks-mrtr-input",
	"tasks-mrtr-composition", "tasks-request-state-removal", "tasks-required-task-error", "tasks-wire-fields",
}

// TestOfficialSuiteOnTasks runs them with a gateway in front of a server that has tasks.
func TestOfficialSuiteOnTasks(t *testing.T) {
	withPeers(t)
	n := node(t)
	g, _ := overFixtures(t)
	ctx, cancel := context.WithTimeout(t.Context(), suiteRunMax)
	defer cancel()
	report, err := suite(n).Scenarios(ctx, revisions["modern"], g.URL()+"/mcp/modern", t.TempDir(), taskScenarios...)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("tasks: %s", report)
	for _, what := range report.Unexpected(nil) {
		t.Error(what)
	}
}

// tasksWithin bounds what is waited for in the tests of tasks.
const tasksWithin = 20 * time.Second

// TestTasksOutliveTheGateway makes a task, kills the gateway and goes on with the task through the next one.
func TestTasksOutliveTheGateway(t *testing.T) {
	withPeers(t)
	ctx, cancel := context.WithTimeout(t.Context(), suiteRunMax)
	defer cancel()
	server := program(t, build(t, "./conformance/fixture"), "-era", "modern")
	binary, err := launch.Binary(root)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "toll-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := launch.Config{
		Binary: binary, Dir: dir, Policies: map[string]string{"rules.yaml": allRules}, Env: []string{"SUITE=" + secretOf("suite")},
		YAML: fmt.Sprintf("anonymous: suite\nservers:\n  modern: {url: %q}\nkeys:\n  suite: {secret: env:SUITE}\n", server),
	}
	c := &dialogue.Client{Modern: true, Capabilities: `{"elicitation":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}`}
	start := func() *launch.Gateway {
		g, err := launch.Start(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		c.URL = g.URL() + "/mcp"
		return g
	}
	ask := func(method, params string) (result struct{ ResultType, TaskID, Status string }) {
		t.Helper()
		x, err := c.Do(ctx, method, params)
		if err != nil {
			t.Fatal(err)
		}
		var m struct{ Result, Error json.RawMessage }
		if err := json.Unmarshal(x.Response, &m); err != nil || m.Error != nil || json.Unmarshal(m.Result, &result) != nil {
			t.Fatalf("%s %s: %s", method, params, x.Response)
		}
		return result
	}
	g := start()
	made := ask("tools/call", `{"name":"modern__slow_compute","arguments":{"seconds":600}}`)
	id := fmt.Sprintf(`{"taskId":%q}`, made.TaskID)
	if made.ResultType != "task" || ask("tasks/get", id).Status != "working" {
		t.Fatalf("%+v", made)
	}
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	g = start()
	defer func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if got := ask("tasks/get", id); got.TaskID != made.TaskID || got.Status != "working" {
		t.Errorf("after the restart: %+v", got)
	}
	c.Tasks = []string{made.TaskID, "another"}
	listening, stop := context.WithTimeout(ctx, tasksWithin)
	defer stop()
	told, err := c.Listen(listening)
	if err != nil {
		t.Fatal(err)
	}
	if ack := string(<-told); !strings.Contains(ack, fmt.Sprintf(`"taskIds":[%q]`, made.TaskID)) {
		t.Errorf("acknowledged: %s", ack)
	}
	ask("tasks/cancel", id)
	if news := string(<-told); !strings.Contains(news, `"notifications/tasks"`) || !strings.Contains(news, made.TaskID) || !strings.Contains(news, `"status":"cancelled"`) {
		t.Errorf("told: %s", news)
	}
}

// TestLegacyClientsNeverSeeATask calls tools that become tasks from a client that knows none.
func TestLegacyClientsNeverSeeATask(t *testing.T) {
	withPeers(t)
	g, _ := overFixtures(t)
	ctx, cancel := context.WithTimeout(t.Context(), suiteRunMax)
	defer cancel()
	c := &dialogue.Client{
		URL: g.URL() + "/mcp/modern", Capabilities: `{"elicitation":{"form":{}}}`,
		Answers: map[string]string{"elicitation/create": `{"action":"accept","content":{"name":"Bo","confirm":true}}`},
	}
	if _, err := c.Open(ctx); err != nil {
		t.Fatal(err)
	}
	for tool, want := range map[string]string{
		"slow_compute": "computed it", "failing_job": `"isError":true`, "protocol_error_job": `"error":{"code":4321,"message":"the job broke","data":{"n":9007199254740993}`,
		"confirm_delete": `confirmed by {\"action\":\"accept\"`, "multi_input": "accept", "test_tool_with_task": "done for {", "greet": "Hello, !",
	} {
		x, err := c.DoAs(ctx, c.ID(), "tools/call", fmt.Sprintf(`{"name":%q,"arguments":{"seconds":0.3,"label":"it"}}`, tool), "p")
		if err != nil {
			t.Fatal(err)
		}
		if got := string(x.Response); !strings.Contains(got, want) || strings.Contains(got, "taskId") || strings.Contains(got, "resultType") {
			t.Errorf("%s: %s", tool, got)
		}
		progress := 0.0
		for _, n := range x.Notifications {
			var m struct {
				Params struct {
					ProgressToken string
					Progress      float64
				}
			}
			if err := json.Unmarshal(n, &m); err != nil || m.Params.ProgressToken != "p" || m.Params.Progress <= progress {
				t.Errorf("%s: %s after %v", tool, n, progress)
			}
			progress = m.Params.Progress
		}
		if tool == "slow_compute" && progress == 0 {
			t.Errorf("%s told nothing of its progress", tool)
		}
	}
}
