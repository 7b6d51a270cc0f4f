# `make` prints what there is. Everything runs from the lock file; uv is installed here when the machine has none.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-servers soak bench check format protos clean

UV_VERSION := 0.13.8
UV := $(shell command -v uv || echo .tools/uv/bin/uv)
RUN := $(UV) run --frozen
TEST_WORKERS ?= 3
DEMO_SECONDS ?= 20
export DEMO_SECONDS

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.tools/uv/bin/uv:
	python3 -m venv .tools/uv
	.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

setup: $(filter .tools/%,$(UV)) ## Install everything into .venv from the lock file
	@$(UV) sync --frozen --quiet

demo: setup ## Watch three simulated venues flow into Parquet, and compare (DEMO_SECONDS=20)
	@$(RUN) tickloom demo

test: setup ## Run the tests that need nothing but wheels
	@$(RUN) pytest -m "not servers and not soak" -n $(TEST_WORKERS)

test-servers: setup ## Run the tests that need servers which take longer to install or start
	@$(RUN) pytest -m "servers and not soak" -n $(TEST_WORKERS)

soak: setup ## Run the long forms: full-length loads, many kills
	@$(RUN) pytest -m soak --timeout 3600

bench: setup ## Measure, write data/bench/results.json, print it as a table
	@$(RUN) python -m tests.bench

check: setup ## What CI runs first: lint, types, generated code, contract, lock file
	@$(UV) lock --check --quiet
	@$(RUN) ruff check
	@$(RUN) ruff format --check
	@$(RUN) mypy
	@$(RUN) python protos/generate.py --check
	@$(RUN) buf lint protos
	@$(RUN) buf format --diff --exit-code protos
	@$(RUN) buf breaking protos --against protos/released.binpb

format: setup ## Format the code and mend what ruff can mend
	@$(RUN) ruff format
	@$(RUN) ruff check --fix

protos: setup ## Generate the code of the wire contract
	@$(RUN) python protos/generate.py
	@$(RUN) buf format --write protos

clean: ## Remove what the project made here
	rm -rf .venv .tools data logs .mypy_cache .pytest_cache .ruff_cache .hypothesis
