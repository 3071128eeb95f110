# Two commands do all the set-up: `make demo` and `make test`. Everything is installed into .venv from pyproject.toml,
# held to the exact versions of constraints.txt. PYTHON may name any Python from 3.11 on.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PIP     = $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt
# Half of the tests wait for Postgres, so a few more workers than cores keep both busy.
WORKERS ?= 3
ARGS    ?=
# A test run starts hundreds of processes; where this is set to something, each of them compiles all sources anew.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help install demo run test check bench faults format clean

help: ## show this list
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("tds-runtime needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@$(PIP) --editable '.[embedded]'
	@touch $@

$(VENV)/.tools: $(VENV)/.runtime
	@$(PIP) --editable '.[embedded,test,check,bench]'
	@touch $@

install: $(VENV)/.tools ## install the project and its tools into .venv

demo: $(VENV)/.runtime ## the main job: sandbox, Postgres and daemon, full sync, 500 webhooks, a crash, the table
	@$(BIN)/tds-runtime demo $(ARGS)

run: $(VENV)/.runtime ## start the daemon on the embedded defaults and leave it running
	@$(BIN)/tds-runtime run --config tds.toml $(ARGS)

test: $(VENV)/.tools ## run the tests, with branch coverage
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m coverage run -m pytest -n $(WORKERS) --dist worksteal $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report --fail-under=90

check: $(VENV)/.tools ## lint, format, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

bench: $(VENV)/.tools ## measure the ratios of the README, and a soak of a million tasks
	@for bench in engine ingest drain claim sync soak; do $(BIN)/tds-runtime bench $$bench --json || exit 1; done

faults: $(VENV)/.tools ## the long campaign: kills, cuts, doubts, one JSON line a fact (ARGS=--small for a look, or names of facts)
	@PYTHONPATH=tests $(BIN)/python -m faults $(ARGS)

format: $(VENV)/.tools ## format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

clean: ## remove what make made
	@rm -rf $(VENV) var dist build .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
