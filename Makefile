# Everything runs with Go alone. Servers that tests and benchmarks need are got,
# and stopped again, by internal/testkit/withservices.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)

# The tools are pinned here and not in go.mod: they would add their modules to
# the list of what the product is built from.
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0
GOLANGCI_LINT ?= golangci-lint

# Built and run as a program of its own: `go run` would hide its exit code and
# would not pass SIGTERM on.
WITHSERVICES := bin/withservices

# What the tests need: the C compiler for -race; a browser only for the tests of
# the console, which are left out where there is none.
NEED ?= postgres,redis,cc
# What to test, and how. The inside of SQLite is C turned into Go: with its every
# look at memory watched the tests take twice as long, and find nothing of ours.
# (No more than that is left out: a package that shares instances of generic types,
# of sync say, would bring unwatched ones for all.)
PKG ?= ./...
RACE := -race -gcflags=modernc.org/sqlite/lib=-race=false
TESTFLAGS ?=

.PHONY: help
help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: dev
dev: ## Run everything in one process on embedded storage
	go run -ldflags '$(LDFLAGS)' ./cmd/flows dev

.PHONY: build
build: ## Build bin/flows
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w $(LDFLAGS)' -o bin/flows ./cmd/flows

.PHONY: test
test: $(WITHSERVICES) ## Run all tests with -race on both stores (PKG=./store/... for some)
	$(WITHSERVICES) -need $(NEED) -- go test $(RACE) $(TESTFLAGS) $(PKG)

.PHONY: cover
cover: $(WITHSERVICES) ## Run all tests and print how much of each package they reach
	$(WITHSERVICES) -need $(NEED) -- go test -coverpkg=./... -coverprofile=coverage.out $(PKG)
	go tool cover -func=coverage.out | tail -n 1

.PHONY: check
check: ## Check format, go vet, staticcheck, and golangci-lint where it is installed
	@files=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
		if [ -n "$$files" ]; then echo "not formatted (run gofmt -w):"; echo "$$files"; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	@if command -v $(GOLANGCI_LINT) >/dev/null; then $(GOLANGCI_LINT) run; \
		else echo "golangci-lint is not installed; 'make lint' installs and runs it"; fi

.PHONY: lint
lint: bin/golangci-lint ## Run golangci-lint, built into bin/ the first time (takes minutes)
	bin/golangci-lint run

bin/golangci-lint:
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what the product is built from
	$(GOVULNCHECK) ./...

.PHONY: bench
bench: $(WITHSERVICES) ## Measure steps/s and latency beside raw asynq, on durable servers
	$(WITHSERVICES) -fsync=on -- go run ./internal/bench $(BENCHFLAGS)

.PHONY: services
services: $(WITHSERVICES) ## Run PostgreSQL and Redis until Ctrl-C; then: . .services/env
	$(WITHSERVICES) -fsync=on -databases flows -env-file .services/env

.PHONY: verify
verify: ## Prove that generated files and the list of modules are fresh
	go mod tidy
	go generate ./...
	git diff --exit-code

.PHONY: $(WITHSERVICES)
$(WITHSERVICES):
	@go build -o $@ ./internal/testkit/withservices
