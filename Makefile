# Everything is built and checked module by module with GOWORK=off: go.work serves the
# editor, and its union of dependency versions never reaches a product.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO_MINOR := 26
BINARIES := fleet fleet-operator fleet-agent fleet-dev-identity fleet-deploy
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || echo v0.0.0-dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Arguments for `make test`, `make demo` and `make bench`.
ARGS ?=
# Directories of the modules in go.work.
MODULES = $(shell go list -m -f '{{.Dir}}')
# Modules apart from go.work.
DETACHED := $(CURDIR)/tools/kube $(CURDIR)/tools/lint $(CURDIR)/tools/packaging
GOWORK_OFF := env GOWORK=off

# $(call tool,module,package): builds a development program into bin/dev.
tool = $(GOWORK_OFF) go -C $(1) build -buildvcs=false -o $(CURDIR)/bin/dev/ ./cmd/$(2)

.PHONY: build demo test lint boundary bench packages images generate fmt tidy depguard clean help check-go

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: check-go ## static, stripped fleet, fleet-operator, fleet-agent, fleet-dev-identity and fleet-deploy in bin/ (GOOS and GOARCH are honoured)
	@for binary in $(BINARIES); do \
		echo "build bin/$$binary $(VERSION)"; \
		$(GOWORK_OFF) CGO_ENABLED=0 go -C cmd/$$binary build -trimpath -buildvcs=false \
			-ldflags '$(LDFLAGS)' -o $(CURDIR)/bin/$$binary .; \
	done

demo: build ## a fleet on this machine: deploy, heal, roll out, remove, each step observed
	@$(call tool,tests,demo)
	@bin/dev/demo -bin ./bin $(ARGS)

test: check-go ## every test of every module; last line: N passed, N failed, N skipped (ARGS="-race ./domain/...")
	@tools/install-engines
	@tools/kube/assets >/dev/null
	@tests/device/debian-root >/dev/null || true # the tests that need it say so by name
	@$(call tool,tools,testrun)
	@bin/dev/testrun $(ARGS)

lint: check-go ## go vet and golangci-lint per module (builds the pinned linter once, about two minutes)
	@status=0; \
	for module in $(MODULES); do \
		echo "lint $${module#$(CURDIR)/}"; \
		(cd "$$module" && $(GOWORK_OFF) go vet ./... && \
			$(GOWORK_OFF) $(CURDIR)/tools/lint/run golangci-lint run --allow-serial-runners ./...) || status=1; \
	done; \
	exit $$status

boundary: check-go ## direction of dependency: imports, go.mod files, linked packages, and go mod tidy -diff per module
	@$(call tool,tools,boundary)
	@status=0; \
	bin/dev/boundary || status=1; \
	for module in $(MODULES) $(DETACHED); do \
		$(GOWORK_OFF) go -C "$$module" mod tidy -diff || { echo "$${module#$(CURDIR)/}: go.mod is not tidy: run make tidy"; status=1; }; \
	done; \
	exit $$status

bench: build ## sizes, memory, throughput and the time of a change, measured on this machine
	@$(call tool,tests,bench)
	@bin/dev/bench -bin ./bin $(ARGS)

packages: check-go ## .deb and .rpm of fleet-agent for amd64 and arm64, in dist/
	@packaging/build $(VERSION)

images: check-go ## OCI images of fleet-operator and fleet-agent for amd64 and arm64, in dist/; no engine is needed
	@packaging/images $(VERSION)

generate: check-go ## rewrite the CRDs and their deep copies from adapters/kube/v1alpha1
	@adapters/kube/generate

fmt: check-go ## format all code with gofumpt
	@for module in $(MODULES); do \
		(cd "$$module" && $(GOWORK_OFF) $(CURDIR)/tools/lint/run golangci-lint fmt ./...); \
	done

tidy: check-go ## go mod tidy in every module
	@for module in $(MODULES) $(DETACHED); do $(GOWORK_OFF) go -C "$$module" mod tidy; done

depguard: check-go ## rewrite the linter's import lists from tools/boundary/table.go
	@$(call tool,tools,boundary)
	@bin/dev/boundary -depguard

clean: ## remove what the other targets made in this tree
	rm -rf bin dist

check-go:
	@version=$$(go env GOVERSION 2>/dev/null || true); \
	minor=$${version#go1.}; minor=$${minor%%[!0-9]*}; \
	if [ -z "$$version" ] || { [[ $$version == go1.* ]] && [ "$${minor:-0}" -lt $(GO_MINOR) ]; }; then \
		echo "Go 1.$(GO_MINOR) or newer is needed; found: $${version:-no working go command in PATH}." >&2; \
		echo "Install it from https://go.dev/dl/, or, where the distribution has it, with: apt-get install golang-1.$(GO_MINOR) (then put /usr/lib/go-1.$(GO_MINOR)/bin in PATH)." >&2; \
		echo "With Go 1.21 or newer it is also enough to set GOTOOLCHAIN=auto, which downloads it." >&2; \
		exit 1; \
	fi; \
	go list -m >/dev/null # a broken go.work must not pass for one without modules
