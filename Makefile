# Every target is one command that can be typed by hand; `make help` lists them.
GOLANGCI_VERSION := v2.15.0
BUF_VERSION := 1.75.0
PROTOC_GEN_GO_VERSION := v1.36.12
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2
TOOLS := $(CURDIR)/bin
SEEDS ?= 500000
FUZZ ?= 20000x

.PHONY: help build test race lint generate generate-check fuzz sim chaos bench bench-replication bench-peers

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

build: ## build the binary into ./bin
	go build -o $(TOOLS)/viewline ./cmd/viewline

test: ## everything that has to pass
	go test ./...

race: ## the same under the race detector, with fewer seeds
	go test -race -short ./...

lint: ## vet and the linters, in their pinned version
	go vet ./...
	test -x $(TOOLS)/golangci-lint || GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	$(TOOLS)/golangci-lint run

generate: ## regenerate the protobuf code (needs npm)
	test -x $(TOOLS)/protoc-gen-go || GOBIN=$(TOOLS) go install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO_VERSION)
	test -x $(TOOLS)/protoc-gen-go-grpc || GOBIN=$(TOOLS) go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC_VERSION)
	test -x $(TOOLS)/node_modules/.bin/buf || npm install --silent --no-save --prefix $(TOOLS) @bufbuild/buf@$(BUF_VERSION)
	PATH=$(TOOLS):$(TOOLS)/node_modules/.bin:$$PATH buf lint
	PATH=$(TOOLS):$(TOOLS)/node_modules/.bin:$$PATH buf generate

generate-check: generate ## fail when the committed generated code is not current
	git diff --exit-code -- proto

fuzz: ## $(FUZZ) executions of every fuzz target
	scripts/fuzz.sh $(FUZZ)

sim: ## $(SEEDS) seeds of the group simulator
	go test ./sim/group -run 'TestSeeds$$' -seeds $(SEEDS) -timeout 0

chaos: ## kill, stop and divide real processes under load
	scripts/chaos.sh

bench: ## the benchmark matrix, with its baseline
	scripts/bench.sh

bench-peers: ## one group of lni/dragonboat, to be compared with `viewline bench replication`
	cd bench/peers && go run ./dragonboat

bench-replication: ## the backends of replication against each other: an hour, goes on where it was interrupted
	scripts/bench-replication.sh
