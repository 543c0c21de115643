package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/launch"
	"github.com/tollgate/tollgate/conformance/official"
	"github.com/tollgate/tollgate/conformance/peers"
)

// reference is the reference implementation whose fixtures the official suite is run with.
const reference = "github.com/modelcontextprotocol/go-sdk/conformance/"

const referenceVersion = "@v1.8.0"

// suiteRunMax bounds one run of a requirement set.
const suiteRunMax = 3 * time.Minute

// repeats is how often each cell is run: once, or CONFORMANCE_REPEAT times in a row to find what fails only sometimes.
func repeats(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CONFORMANCE_REPEAT")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CONFORMANCE_REPEAT=%s is not a number of runs", text)
	}
	return n
}

// suite is the installed official suite.
func suite(n *peers.Node) *official.Suite {
	return &official.Suite{Command: n.Server("@modelcontextprotocol/conformance"), Package: n.Package("@modelcontextprotocol/conformance")}
}

// fixture installs a program of the reference implementation.
func fixture(t *testing.T, name string) string {
	t.Helper()
	path, err := peers.InstallModule(t.Context(), root, os.Stdout, reference+name+referenceVersion)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// build builds a program of this module.
func build(t *testing.T, pkg string) string {
	t.Helper()
	path, err := peers.Build(t.Context(), root, os.Stdout, pkg)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// program runs a server that takes its address as -http until the test ends, and returns its MCP endpoint.
func program(t *testing.T, path string, args ...string) string {
	t.Helper()
	addr, err := launch.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	p, err := launch.Run(t.TempDir(), nil, path, append(args, "-http", addr)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := p.Listens(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
	return "http://" + addr + "/mcp"
}

// revisions are those whose requirement sets are run, by the era they belong to.
var revisions = map[string]string{"legacy": "2025-11-25", "modern": "2026-07-28"}

// TestOfficialSuiteAsServer runs the scenarios of both revisions against the gateway in front of the reference server in
// both eras. What must fail stands with its reason in conformance/official/CLIENT-SERVER.yaml.
func TestOfficialSuiteAsServer(t *testing.T) {
	withPeers(t)
	n := node(t)
	everything := fixture(t, "everything-server")
	g := gateway(t, fmt.Sprintf(`
anonymous: suite
servers:
  modern: {url: %q, era: modern, trusted: true}
  legacy: {url: %q, era: legacy, trusted: true}
keys:
  suite: {secret: env:SUITE}
`, program(t, everything), program(t, everything, "-stateless=false")), allRules, "SUITE="+secretOf("suite"))
	for _, client := range []string{"legacy", "modern"} {
		for _, server := range []string{"legacy", "modern"} {
			cell := client + "-" + server
			t.Run(cell, func(t *testing.T) {
				judge(t, suite(n), official.Server, client, g.URL()+"/mcp/"+server, cell+".yaml", nil)
			})
		}
	}
}

// questions are the scenarios whose tools ask the client. The reference server cannot ask in them as a modern server.
var questions = []string{"tools-call-sampling", "tools-call-elicitation", "elicitation-sep1034-defaults", "elicitation-sep1330-enums"}

// TestQuestionsOfAModernServer runs the scenarios of legacy clients that legacy-modern.yaml rules out with a server that
// asks in both eras.
func TestQuestionsOfAModernServer(t *testing.T) {
	withPeers(t)
	n := node(t)
	g, _ := overFixtures(t)
	for range repeats(t) {
		ctx, cancel := context.WithTimeout(t.Context(), suiteRunMax)
		report, err := suite(n).Scenarios(ctx, revisions["legacy"], g.URL()+"/mcp/modern", t.TempDir(), questions...)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("server %s: %s", revisions["legacy"], report)
		for _, what := range report.Unexpected(nil) {
			t.Error(what)
		}
	}
}

// overFixtures is a gateway in front of the fixture in both eras and as a child, and where the fixtures are by their era;
// "child" is the program. args are further ones of those that speak HTTP.
func overFixtures(t *testing.T, args ...string) (*launch.Gateway, map[string]string) {
	t.Helper()
	fixture := build(t, "./conformance/fixture")
	at := map[string]string{"legacy": program(t, fixture, append(args, "-era", "legacy")...), "modern": program(t, fixture, append(args, "-era", "modern")...)}
	at["child"] = fixture
	return gateway(t, fixtures(at, ""), allRules, "SUITE="+secretOf("suite")), at
}

// fixtures is the config of such a gateway; the servers are named after their era and suffix.
func fixtures(at map[string]string, suffix string) string {
	return fmt.Sprintf(`
anonymous: suite
servers:
  modern%[1]s: {url: %[2]q, era: modern, trusted: true, timeout: 10s}
  legacy%[1]s: {url: %[3]q, era: legacy, trusted: true, timeout: 10s}
  child%[1]s:  {command: [%[4]q, -stdio], trusted: true, timeout: 10s}
keys:
  suite: {secret: env:SUITE}
`, suffix, at["modern"], at["legacy"], at["child"])
}

// allRules allow every tool.
const allRules = `version: 1
rules:
  - {id: all, effect: allow, tools: ["*"]}
`

// TestOfficialSuiteAsClient runs the client scenarios of both revisions with a gateway between the reference agent and
// the suite's servers.
func TestOfficialSuiteAsClient(t *testing.T) {
	withPeers(t)
	n := node(t)
	agent := fixture(t, "everything-client")
	binary, err := launch.Binary(root)
	if err != nil {
		t.Fatal(err)
	}
	driver := build(t, "./conformance/official/driver")
	for _, era := range []string{"legacy", "modern"} {
		t.Run(era, func(t *testing.T) {
			judge(t, suite(n), official.Client, era, driver, "client-"+era+".yaml", []string{"DRIVER_TOLLGATE=" + binary, "DRIVER_AGENT=" + agent})
		})
	}
}

// judge runs the scenarios of an era's revision as often as asked for, prints the counts and fails on what is not
// expected. The authorization scenarios are left out: the gateway has no OAuth towards servers.
func judge(t *testing.T, s *official.Suite, role official.Role, era, target, list string, env []string) {
	expected, err := official.Expected(filepath.Join("official", list), role)
	if err != nil {
		t.Fatal(err)
	}
	for range repeats(t) {
		ctx, cancel := context.WithTimeout(t.Context(), suiteRunMax)
		report, err := s.Run(ctx, role, revisions[era], target, t.TempDir(), env...)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		report, left := report.Without("auth/")
		t.Logf("%s %s, %d of auth/ not run, %d expected failures: %s", role, revisions[era], left, len(expected), report)
		for _, what := range report.Unexpected(expected) {
			t.Error(what)
		}
	}
}
