# "make" lists the targets. Variables: RACE=1 (test), FUZZTIME and FUZZ (fuzz),
# VERSION (build), CROSS (cross), BENCH (bench: the flags of testdata/bench).

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 30s
FUZZ ?= ^Fuzz
CROSS ?= darwin/arm64 windows/amd64
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The go command's "./..." leaves out what is below testdata.
testdata := $(foreach dir,e2e bench build/corpus,$(if $(wildcard testdata/$(dir)/*.go),./testdata/$(dir)/...))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: image
image: build ## build stagectl and, with it, the sample server's image.tar
	bin/stagectl build -p 8080 ./server

.PHONY: build
build: ## build bin/stagectl
	go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/stagectl

# Without the setting, each process that the race detector watches sleeps for a
# second in the end, and the tests start hundreds.
.PHONY: test
test: ## vet, and run the tests that need nothing but Go (RACE=1: with the race detector)
	go vet ./... $(testdata)
	$(if $(filter 1,$(RACE)),GORACE=atexit_sleep_ms=0 go test -race,go test) ./...

.PHONY: e2e
e2e: ## run the tests against real engines and a real registry (as root)
	testdata/e2e/deps.sh
	go test -count=1 -timeout 25m ./testdata/e2e/...
	STAGECTL_TEST_POINTS=all go test -count=1 -timeout 25m -run '^Test(Killed|Stopped)$$' ./cmd/stagectl

.PHONY: lint
lint: ## run golangci-lint, and shellcheck where it is installed
	go run $(GOLANGCI_LINT) run ./... $(testdata)
	if command -v shellcheck >/dev/null; then shellcheck .ci/run testdata/e2e/*.sh; fi

# Before Go 1.27, a target whose time is up may fail of "context deadline
# exceeded", though nothing was found: https://go.dev/issue/75804.
.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME (30s), or those that FUZZ matches
	@targets=$$(go test -list '$(FUZZ)' ./... | \
		awk '/^Fuzz/ { names[n++] = $$1 } $$1 == "ok" { for (i = 0; i < n; i++) print $$2, names[i]; n = 0 }'); \
	failed=; \
	while read -r package name; do \
		[[ -n $$package ]] || continue; \
		echo "$$name in $$package"; \
		out=$$(go test -run '^$$' -fuzz "^$$name\$$" -fuzzminimizetime 5x -fuzztime $(FUZZTIME) "$$package" </dev/null 2>&1) || \
			{ [[ $$out == *'context deadline exceeded'* && $$out != *'Failing input'* ]] || failed+=" $$name"; }; \
		awk '/^fuzz: elapsed/ { last = $$0; next } !/^(PASS$$|ok )/ { print } END { print "  " last }' <<<"$$out"; \
	done <<<"$$targets"; \
	[[ -z $$failed ]] || { echo "failed:$$failed" >&2; exit 1; }

.PHONY: cover
cover: ## print the test coverage of each package and of all
	go test -coverprofile cover.out ./...
	@go tool cover -func cover.out | tail -n 1

.PHONY: bench
bench: ## run the benchmarks, then compare whole builds with go build and ko (tens of minutes)
	go test -run '^$$' -bench . -benchmem ./...
	go run ./testdata/bench $(BENCH)

.PHONY: cross
cross: ## build and vet for the systems that the tests do not run on
	@for target in $(CROSS); do \
		export CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/}; \
		echo "$$target"; \
		go build ./...; \
		go vet ./... $(testdata); \
	done
