package conformance

import (
	"context"
	"testing"
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
