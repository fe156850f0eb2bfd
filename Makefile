# One entry for everything a developer and CI do; `make` alone lists it.
# Needs Python 3.11+ (with venv) and make; everything else goes into .venv from the lock files.

.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?=
PYTEST_ARGS ?= -n auto --maxprocesses 2
BENCH_ARGS ?=
QUICK_ARGS ?=
CONFORMANCE_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
SPELLED := gateway upstream_stubs tests bench conformance tools docs policies Makefile Dockerfile \
	$(wildcard *.md pyproject.toml)# Keys files are checked with the route file that names them.
ROUTE_FILES := $(filter-out policies/keys%,$(wildcard policies/*.yaml))
# Transfer codings, currencies, time zones, structured-field names, and halves of words in tests.
NOT_MISSPELT := te,zar,ser,tru,caf,ot,reqires,nome,memroy

##@ Use it

run: venv compiled ## Start a gateway, a sample upstream and sample keys; prints what to try
	$(BIN)/gateway demo

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

##@ Check it

test: venv compiled ## Run all tests, on a real Redis and a real PostgreSQL (PYTEST_ARGS="-k ..." to choose)
	tools/ensure_services.sh
	$(BIN)/pytest $(PYTEST_ARGS)

test-compiled: venv compiled ## Run the tests of the request path on its compiled modules
	GATEWAY_TESTS=compiled $(BIN)/pytest -q -n auto --maxprocesses 2 \
	  tests/rules tests/http tests/counters tests/metering tests/keys tests/proxy

long: venv compiled ## Run the tests that take minutes
	tools/ensure_services.sh
	$(BIN)/pytest -m long

fast: venv ## Run the tests of the pure floors, rules and http, in about 10 seconds
	$(BIN)/pytest -q tests/rules tests/http

lint: venv imports types ## Check style, formatting, spelling, imports and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell --skip '__pycache__,bench/results' --ignore-words-list $(NOT_MISSPELT) $(SPELLED)

types: venv ## Check types with mypy, strictly
	$(BIN)/mypy -p gateway -p upstream_stubs -p bench -p conformance

imports: venv ## Check that imports go down only
	$(BIN)/lint-imports

coverage: venv ## Measure branch coverage of the pure floors by their own tests; fails under 95 %
	rm -f .coverage.pure*
	COVERAGE_FILE=.coverage.pure $(BIN)/coverage run --source=gateway.rules,gateway.http \
	  -m pytest -q tests/rules tests/http
	COVERAGE_FILE=.coverage.pure $(BIN)/coverage combine -q
	COVERAGE_FILE=.coverage.pure $(BIN)/coverage report --skip-covered --fail-under=95

check: venv ## Validate the pricing and route files with the gateway itself
	@for file in $(ROUTE_FILES); do \
	  echo "gateway check --config $$file"; \
	  REDIS_URL=redis://127.0.0.1:6379/0 $(BIN)/gateway check --config "$$file" || exit 1; \
	done

conformance: venv compiled ## Run suites that others wrote against it, and compare it with nginx (3 minutes)
	tools/ensure_conformance.sh
	PATH="$$PATH:/usr/sbin:/usr/local/sbin" $(BIN)/python -m conformance $(CONFORMANCE_ARGS)

bench: venv compiled ## Measure side by side with others, 20 minutes (BENCH_ARGS="--scenarios passed")
	tools/ensure_peers.sh
	$(BIN)/python -m bench.run $(BENCH_ARGS)

bench-quick: venv ## Measure each piece of a request's way, beside the baseline (QUICK_ARGS="--update")
	$(BIN)/python -m bench.micro $(QUICK_ARGS)

bench-instructions: venv compiled ## Count a worker's instructions per request with callgrind, 5 minutes
	$(BIN)/python -m bench.instructions

##@ Change it

fix: venv ## Repair what ruff can repair: style, imports, formatting
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: venv ## Write the generated reference pages and the route file's schema anew
	$(BIN)/python docs/generate.py

compiled: venv ## Compile the request path where a C compiler is at hand (done by the others)
	@$(BIN)/python tools/compile_hot_path.py

venv: $(STAMP) ## Make .venv from the lock file (done by the others when needed)

$(STAMP): requirements-dev.lock pyproject.toml tools/make_venv.sh
	PYTHON="$(PYTHON)" tools/make_venv.sh $(VENV)
	@touch $@

lock: venv ## Resolve the dependencies anew and write both lock files with hashes
	tools/lock.sh $(VENV)

clean: ## Remove what was built or cached; .venv stays
	rm -rf build dist data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf *.egg-info .coverage .coverage.*
	find gateway upstream_stubs tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: run help test long fast lint types imports coverage check conformance bench bench-quick bench-instructions fix docs venv lock clean
