# Two commands are enough for most: `make run` and `make test`.
GO         ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
VULNCHECK   = golang.org/x/vuln/cmd/govulncheck@v1.9.0
TESTFLAGS  ?=
FUZZTIME   ?= 10s
INDEX_ENTRIES ?= 10000000
# Of make chaos: 0 takes a seed by the clock.
SEED       ?= 0
MINUTES    ?= 10
# The packages where a data race would cost money or leak a secret.
CORE        = ./policy/... ./ledger/... ./gate/... ./oauth/... ./llm/... ./mcp/... ./sandbox/... ./internal/...

.PHONY: run build test race check bench bench-index chaos conformance fuzz try-real-model clean

run: build ## start the gateway: the starter when there is no ./tollgate.yaml
	./bin/tollgate serve

build: ## build bin/tollgate
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/tollgate ./cmd/tollgate

# A real PostgreSQL stands beside the tests: TOLLGATE_TEST_DATABASE, else the installed server, else Debian's when we are root.
WITHPOSTGRES = $(GO) run ./conformance/withpostgres

test: ## all tests that need no peers, then the core again under the race detector
	$(WITHPOSTGRES) $(GO) test $(TESTFLAGS) ./...
	$(WITHPOSTGRES) $(GO) test -race -short $(TESTFLAGS) $(CORE)

check: ## formatting, vet, staticcheck, the rules of the house, known vulnerabilities
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) test -count=1 ./conformance/house
	@if curl -fsS -m 10 -o /dev/null https://vuln.go.dev/index/db.json; then $(GO) run $(VULNCHECK) ./...; \
	else echo "SKIPPED: govulncheck, its database cannot be reached from here"; fi

bench-index: ## ten million entries in the index, in SQLite and in PostgreSQL, and what people ask of them: needs 25 GB and half an hour
	TOLLGATE_INDEX_ENTRIES=$(INDEX_ENTRIES) $(GO) test -v -run '^$$' -bench Scale -benchtime 1x -timeout 3h ./ledger/index

bench: build ## in-process benchmarks, then the gateway against a direct call and nginx; writes BENCHMARKS.md
	$(GO) run ./conformance/bench

chaos: build ## replicas, database, disks and clocks are broken under 200 workers; an independent checker judges; writes CHAOS.md
	$(GO) run ./conformance/chaos -seed $(SEED) -minutes $(MINUTES)

conformance: build ## real servers, real client libraries; installs them with npm and pip into .cache
	CONFORMANCE=1 $(GO) test -count=1 -timeout 20m $(TESTFLAGS) ./conformance ./conformance/receivers

fuzz: ## every fuzz target for FUZZTIME
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' . | while read -r f; do for t in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$$f"); do \
	  echo "$$t in $$(dirname "$$f")"; $(GO) test -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$f")"; done; done

try-real-model: build ## a real model by pip behind the gateway: chat, responses, messages and their ledger lines
	$(GO) run ./conformance/realmodel

clean:
	rm -rf bin .cache
