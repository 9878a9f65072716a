# Everything a person or CI does with this tree. `make help` lists it.

# The release of the real CLI under test: make test CLAUDE_VERSION=2.1.332
CLAUDE_VERSION ?= 2.1.330
export CCTASK_TEST_CLAUDE_VERSION := $(CLAUDE_VERSION)
CACHE          := $(CURDIR)/.cache
TOOLS          := $(CACHE)/bin
CLAUDE         := $(CACHE)/claude/$(CLAUDE_VERSION)/installed
# The foreign clients, named by what is installed, so that a change installs anew.
FOREIGN        := $(CACHE)/foreign/$(shell cksum <testdata/foreign/package-lock.json | cut -d' ' -f1).installed
NODE_VERSION   := 24.21.0
NODE           := $(CACHE)/node/$(NODE_VERSION).installed
BIN            := $(CURDIR)/bin/cctask
# Where cctask goes: PREFIX/bin, else GOBIN, else ~/.local/bin; below DESTDIR for those who make packages.
BINDIR         ?= $(if $(PREFIX),$(PREFIX)/bin,$(or $(GOBIN),$(HOME)/.local/bin))
# The race detector needs a C compiler; without one the tests run without it.
RACE           := $(if $(shell command -v $${CC:-gcc} 2>/dev/null),-race)
GOFLAGS_TEST   := $(RACE) -shuffle=on
FUZZTIME       ?= 30s
PKGS           ?= ./...

GOFUMPT_VERSION     := v0.12.0
STATICCHECK_VERSION := v0.8.2
ERRORLINT_VERSION   := v1.8.0
EXHAUSTIVE_VERSION  := v0.17.1

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build bin/cctask
	CGO_ENABLED=0 go build -trimpath -o $(BIN) .

.PHONY: install
install: build ## Copy cctask to PREFIX/bin (default: GOBIN, else ~/.local/bin); DESTDIR is put before
	install -d "$(DESTDIR)$(BINDIR)"
	install -m 0755 $(BIN) "$(DESTDIR)$(BINDIR)/cctask"
	@echo "installed $(DESTDIR)$(BINDIR)/cctask"

.PHONY: test
test: claude foreign ## Run all tests; those on the real CLI and on foreign clients skip where npm cannot install them
	go test $(GOFLAGS_TEST) -timeout 30m ./...
	@cat $(CACHE)/conformance.txt 2>/dev/null || true

.PHONY: test-claude
test-claude: claude ## Run only what is tested on the real CLI; CLAUDE_VERSION=2.1.332 tries another release
	go test $(GOFLAGS_TEST) -timeout 20m ./internal/testkit/e2e ./internal/testkit/fakeapi ./internal/testkit/realclaude ./engine/claude

.PHONY: test-heavy
test-heavy: claude foreign ## Run the long tests too: repeated crashes, large outputs, a million records, fuzzing
	CCTASK_HEAVY=1 go test $(GOFLAGS_TEST) -timeout 60m -v -run Heavy ./...
	$(MAKE) --no-print-directory fuzz FUZZTIME=5m PKGS=./mcp

.PHONY: check
check: lint test ## What must be green before every commit: lint and test

.PHONY: lint
lint: $(TOOLS)/versions ## gofumpt, vet (also for macOS), staticcheck, errorlint, exhaustive
	@out="$$($(TOOLS)/gofumpt -l $$(git ls-files -co --exclude-standard '*.go'))"; \
	  test -z "$$out" || { echo "gofumpt would change:"; echo "$$out"; exit 1; }
	go vet ./...
	GOOS=darwin go vet ./...
	$(TOOLS)/staticcheck ./...
	$(TOOLS)/go-errorlint ./...
	$(TOOLS)/exhaustive ./...

.PHONY: demo
demo: build claude ## Show the main job in under a minute: parallel tasks, a killed owner, a dump
	go run ./internal/testkit/demo -cctask $(BIN)

.PHONY: fuzz
fuzz: ## Fuzz every fuzz target of PKGS (default all) for FUZZTIME (default 30s)
	@for pkg in $$(go list $(PKGS)); do \
	  for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzzminimizetime 10x -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; done

.PHONY: bench
bench: build claude ## Measure against rivals (task-spooler from Debian, an empty mcp-go server), then the Go benchmarks
	go run ./internal/testkit/bench -cctask $(BIN)
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: man
man: ## Write the man pages of all verbs into bin/man
	go run ./internal/manpages bin/man
	@echo "read one with: man -l bin/man/cctask.1"

.PHONY: clean
clean: ## Remove what was built; the caches stay
	rm -rf bin

.PHONY: claude
claude: ## Install the real CLI for the tests into .cache, if npm is there
	@test -f $(CLAUDE) || $(MAKE) --no-print-directory $(CLAUDE) || \
	  { test "$(CI)" != true || exit 1; echo "claude $(CLAUDE_VERSION) could not be installed: the tests on the real CLI will skip"; }

$(CLAUDE):
	@mkdir -p $(CACHE)/claude/$(CLAUDE_VERSION)
	npm install --loglevel=error --no-audit --no-fund --prefix $(CACHE)/claude/$(CLAUDE_VERSION) @anthropic-ai/claude-code@$(CLAUDE_VERSION)
	@touch $@

.PHONY: foreign
foreign: ## Install the MCP clients and suites of others for the tests into .cache, if npm is there
	@test -f $(FOREIGN) || $(MAKE) --no-print-directory $(FOREIGN) || \
	  { test "$(CI)" != true || exit 1; echo "the foreign MCP clients could not be installed: the tests with them will skip"; }
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 19) ? 0 : 1)' 2>/dev/null || \
	  test -f $(NODE) || $(MAKE) --no-print-directory $(NODE) || \
	  { test "$(CI)" != true || exit 1; echo "node $(NODE_VERSION) could not be installed: the tests with foreign MCP clients will skip"; }

$(FOREIGN):
	@mkdir -p $(CACHE)/foreign
	cp testdata/foreign/package.json testdata/foreign/package-lock.json $(CACHE)/foreign
	cd $(CACHE)/foreign && npm ci --ignore-scripts --loglevel=error --no-audit --no-fund
	@touch $@

# Where the system's node is too old for them.
$(NODE):
	@mkdir -p $(CACHE)/node
	npm install --loglevel=error --no-audit --no-fund --prefix $(CACHE)/node node@$(NODE_VERSION)
	@touch $@

# The tools are pinned, and installed again when a version changes.
$(TOOLS)/versions: Makefile
	GOBIN=$(TOOLS) go install mvdan.cc/gofumpt@$(GOFUMPT_VERSION)
	GOBIN=$(TOOLS) go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	GOBIN=$(TOOLS) go install github.com/polyfloyd/go-errorlint@$(ERRORLINT_VERSION)
	GOBIN=$(TOOLS) go install github.com/nishanths/exhaustive/cmd/exhaustive@$(EXHAUSTIVE_VERSION)
	@touch $@
