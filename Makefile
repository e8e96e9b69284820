# What people run. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-rust test-web test-e2e test-long check bench

web_sources := $(shell find web -type d \( -name node_modules -o -name dist -o -name test \) -prune -o -type f -print)
binaries := $${CARGO_TARGET_DIR:-target}

help: ## Lists these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

# The profile "quick" builds in a fraction of the release profile's time; Cargo.toml says how.
# The server takes the shell's place in the end, so that signals reach it.
run: web/dist/index.html ## Builds what is needed, the web app included, and starts the server
	cargo build --profile quick -p colloquy
	@exec "$(binaries)/quick/colloquy" serve

test: test-rust test-web test-e2e ## Installs what the tests need and runs every test

test-rust: web/dist/index.html
	scripts/setup-tests
	cargo test --workspace --no-run
	scripts/with-services $$(cargo nextest --version >/dev/null 2>&1 && echo cargo nextest run || echo cargo test) --workspace

test-web: web/node_modules/.installed
	cd web && npm test

test-e2e: web/dist/index.html e2e/node_modules/.installed e2e/peers/node_modules/.installed
	scripts/setup-tests
	cargo build -p colloquy
	export COLLOQUY_BIN="$$(realpath "$(binaries)/debug/colloquy")"; npm test --prefix e2e && npm test --prefix e2e/peers

test-long: web/dist/index.html ## Runs the tests that take minutes
	scripts/setup-tests
	COLLOQUY_LONG=1 scripts/with-services cargo test --workspace -- --include-ignored --nocapture --test-threads 1

check: web/node_modules/.installed ## Looks at format, lints and types
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cd web && npm run check

bench: ## Measures; takes a while, because it builds for speed first
	scripts/setup-tests
	scripts/with-services cargo run --release -p colloquy-bench

# The build empties the folder and writes this file anew, so its time is the build's.
web/dist/index.html: web/node_modules/.installed $(web_sources)
	cd web && npm run build
	@touch $@

%/node_modules/.installed: %/package.json %/package-lock.json
	cd $* && npm ci --no-audit --no-fund
	@touch $@
