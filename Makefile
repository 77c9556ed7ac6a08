# `make run` shows windlass at work, `make test` runs every test. Both first set up what is missing on
# this machine, and say what that is. `make help` lists the rest.

SHELL := /bin/bash
CARGO ?= cargo

.PHONY: help run test bench lint fmt ci clean
.DEFAULT_GOAL := help

help: ## lists these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## holds specs/ on an engine, and shows it until Ctrl-C (DEMO_ONCE=1: ends by itself)
	@tests/lab/setup run
	@$(CARGO) build --release --quiet
	@examples/demo/run

test: ## runs every test, real engines included
	@tests/lab/setup test
	@tests/lab/test

bench: ## measures, and prints a table against the goals (NAMES="latency plan": only these)
	@tests/lab/setup test
	@$(CARGO) run --release --quiet -p bench -- $(NAMES)

lint: ## what CI asks for before it tests: formatting and clippy
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## formats the sources
	@$(CARGO) fmt --all

ci: ## all that CI does
	@.ci/run

clean: ## removes what was built or unpacked below target/
	@tests/lab/engine --sweep 2>/dev/null || true
	@$(CARGO) clean
