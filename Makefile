# Yardmaster. Two commands for a newcomer: `make up` and `make test`.
# Everything else is listed by `make help`.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

BINARIES := yardmaster yardctl planner renderer vsphere-executor gateway
MODULES  := proto pkg services e2e
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -X yardmaster.dev/pkg/service.version=$(VERSION)
# The race detector needs a C compiler; without one the tests run without it.
RACE     := $(shell command -v $${CC:-gcc} >/dev/null 2>&1 && [ "$$(go env CGO_ENABLED)" = 1 ] && echo -race)

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.13.1
BUF      := github.com/bufbuild/buf/cmd/buf@v1.60.0
FUZZTIME ?= 10s
# One suite after the other: each keeps the machine busy by itself.
E2E      := go test -tags e2e -count=1 -p 1

# The tests that make sense on a vCenter that the suite did not start.
QUALIFY  ?= TestLife|TestTakeOver|TestResizeUnderKills|TestFaults

.PHONY: help up reset build test check lint alone tidy generate generated fmt fuzz e2e e2e-long qualify bench clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

up: ## build everything and run a whole yard on this machine
	@start=$$(date +%s%N); $(MAKE) --no-print-directory -s build; \
	printf '%-40s %6.1f s\n' building "$$(( ($$(date +%s%N) - start) / 100000000 ))e-1"
	@exec bin/yardmaster up $(UPFLAGS)

reset: ## forget the yard of this folder: state, machines, logs
	@bin/yardmaster reset 2>/dev/null || rm -rf .yard

build: ## build all programs into bin/
	@mkdir -p bin
	@go build -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./services/cmd/,$(BINARIES))

test: ## every hermetic test
	go test $(RACE) -shuffle=on -timeout 15m work

check: lint alone tidy generated ## what a change must pass before anything else

lint:
	go vet -tags e2e,bench work
	go run $(GOLANGCI) run $$(go list -m -f '{{.Dir}}/...')

# The workspace hides missing requirements: each module must build without it.
alone:
	@for m in $(MODULES); do echo "$$m alone"; (cd $$m && GOWORK=off go build ./... && GOWORK=off go vet ./...); done

tidy:
	@for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy -diff); done

generate: ## make the generated code anew
	go run $(BUF) generate

generated:
	@go run $(BUF) lint
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	go run $(BUF) generate -o "$$dir"; \
	for f in $$(cd "$$dir/proto" && find . -name '*.go'); do \
	  diff -u "proto/$$f" "$$dir/proto/$$f" || { echo "generated code is old: make generate"; exit 1; }; done

fmt: ## format the code
	go run $(GOLANGCI) fmt $$(go list -m -f '{{.Dir}}/...')

fuzz: ## every fuzz target for FUZZTIME each
	@grep -rE '^func Fuzz' --include='*_test.go' proto pkg services | sed -E 's/^(.*)\/[^/]*_test.go:func (Fuzz[A-Za-z0-9_]*).*/\1 \2/' | sort -u | \
	while read -r dir target; do \
	  echo "$$dir $$target"; \
	  go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x "./$$dir"; \
	done

e2e: build ## whole-system tests on real processes (root: also power cuts)
	cd e2e && $(E2E) -timeout 35m -v ./...

e2e-long: build ## the long proofs: three servers, partitions, more rounds
	cd e2e && YARD_E2E_LONG=1 YARD_E2E_ROUNDS=20 $(E2E) -timeout 120m -v ./...

qualify: build ## the end-to-end suite against your own vCenter (docs/qualify.md)
	@[ -n "$$YARD_E2E_VCENTER_URL" ] || { echo "YARD_E2E_VCENTER_URL is not set: docs/qualify.md says what is needed" >&2; exit 1; }
	cd e2e && $(E2E) -timeout 180m -v -run '$(QUALIFY)' ./system

bench: build ## ratios against what a user would pick instead
	cd e2e && go test -tags bench -count=1 -timeout 60m -v ./bench

clean:
	rm -rf bin
