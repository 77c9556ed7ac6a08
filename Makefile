# `make run` shows windlass at work, `make test` runs every test. Both first set up what is missing on
# this machine, and say what that is. `make help` lists the rest.

SHELL := /bin/bash
CARGO ?= cargo

.PHONY: help run test bench bench-peers sim hunt chaos fuzz lint fmt ci clean
.DEFAULT_GOAL := help

help: ## lists these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## holds specs/ on an engine, and shows it until Ctrl-C (DEMO_ONCE=1: ends by itself)
	@tests/lab/setup run
	@$(CARGO) build --release --quiet
	@examples/demo/run

test: ## runs every test, real engines included
	@tests/lab/setup test
	@tests/lab/test

# `policy-peers` is a workspace of its own: other policy engines are large, and nothing else needs them.
POLICY_PEERS := $(CARGO) run --release --quiet --manifest-path tests/peers/Cargo.toml --target-dir target/peers

bench: ## measures, and prints a table against the goals (NAMES="latency plan": only these)
	@tests/lab/setup test
	@$(if $(filter-out policy-peers,$(or $(NAMES),all)),$(CARGO) run --release --quiet -p bench -- $(filter-out policy-peers,$(NAMES)))
	@$(if $(filter policy-peers,$(or $(NAMES),policy-peers)),$(POLICY_PEERS))

bench-peers: ## compares with compose, swarm, podman, ansible (ROUNDS=10 SIZES="1 10 50" PEERS="compose")
	@tests/lab/setup peers
	@$(CARGO) run --release --quiet -p bench -- peers "$(ROUNDS)" "$(SIZES)" "$(PEERS)"

# Optimised, and with all assertions.
SIM := $(CARGO) run --profile sim --quiet -p sim --

sim: ## plays 2,000 random worlds (SEED=7: that one, as a log; MINUTES=30: hunts for so long)
	@$(if $(SEED),$(SIM) --aloud --seed $(SEED),$(if $(MINUTES),$(SIM) --minutes $(MINUTES) --from $$(date +%s)000,$(SIM) --seeds 0..2000))

hunt: ## asks properties of the core new questions (CASES=3000: so many each)
	@PROPTEST_CASES=$(or $(CASES),3000) $(CARGO) test --quiet -p reconciler --features testing --test properties --test usage

# Both at once: they mostly wait. Each change and trouble is a line.
chaos: ## has all go wrong on real engines for ten minutes, with live-restore and without (SEED=7 MINUTES=30)
	@tests/lab/setup test
	@WINDLASS_CHAOS_ALOUD=1 WINDLASS_CHAOS_SEED=$(or $(SEED),$$(date +%s)) WINDLASS_CHAOS_MINUTES=$(or $(MINUTES),10) \
		$(CARGO) test --test it -- --ignored --nocapture walk::chaos::chaos_with

fuzz: ## hunts for inputs that windlass cannot bear (TARGET=specs: that one; MINUTES=30: each so long)
	@tests/fuzz/run $(or $(TARGET),all) $(or $(MINUTES),5)

lint: ## what CI asks for before it tests: formatting and clippy
	@$(CARGO) fmt --all --check
	@$(CARGO) fmt --manifest-path tests/peers/Cargo.toml --check
	@$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check
	@$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## formats the sources
	@$(CARGO) fmt --all
	@$(CARGO) fmt --manifest-path tests/peers/Cargo.toml
	@$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml

ci: ## all that CI does
	@.ci/run

clean: ## removes what was built or unpacked below target/
	@tests/lab/engine --sweep 2>/dev/null || true
	@$(CARGO) clean
