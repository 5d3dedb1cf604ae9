# Sayagain's commands. `make help` lists them; `make setup` is all that the others need.

VENV := .venv
BIN := $(VENV)/bin
AIRFLOW := .venv-airflow
# A pyenv shim may exist for an interpreter that does not: take the first that runs.
PYTHON ?= $(shell for p in python3.11 python3; do "$$p" -c '' 2>/dev/null && { command -v "$$p"; break; }; done)
STAMP := $(VENV)/.installed
AIRFLOW_STAMP := $(AIRFLOW)/.installed
# Evaluated where it is used, so that `make help` and `make clean` work on any machine.
MISSING = $(shell PYTHON='$(PYTHON)' .ci/machine)

# Ivy fetches them once, when the first session starts.
JARS := 'from jobs.spark import session; from schemas.settings import Settings; session(Settings()).stop()'

PYTEST := $(BIN)/python -m pytest -n 2

# torch's threads wait asleep, not spinning: on two busy cores that is up to ten times faster.
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help machine setup demo test lint types layers pins-check pins slow airflow-test clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 16

machine:
	@$(if $(MISSING),$(error $(MISSING)))

$(STAMP): requirements-dev.txt pyproject.toml | machine
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@echo "fetching Spark's jars"; $(BIN)/python -c $(JARS) >$(VENV)/jars.log 2>&1 || { tail -n 5 $(VENV)/jars.log; exit 1; }
	@touch $@

setup: $(STAMP) ## make .venv with exact versions; a second call does nothing
	@echo "Sayagain is installed in $(VENV)"

demo: setup ## the whole loop on simulated users, results in demo/
	$(BIN)/sayagain demo --out demo

test: setup lint types layers pins-check ## everything but the slow tests
	$(PYTEST)

lint: setup ## ruff: faults and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy
	$(BIN)/mypy

layers: setup ## the walls between the rooms
	$(BIN)/lint-imports

pins-check: setup ## do the requirement files fit pyproject.toml?
	@$(BIN)/python requirements.py check

pins: setup ## re-make the requirement files; UPGRADE=1 takes newer versions
	$(BIN)/python requirements.py make $(if $(UPGRADE),--upgrade)

slow: setup ## the tests that take minutes
	$(PYTEST) -m slow

$(AIRFLOW_STAMP): requirements-airflow.txt | machine
	test -x $(AIRFLOW)/bin/python || $(PYTHON) -m venv $(AIRFLOW)
	$(AIRFLOW)/bin/python -m pip install --quiet --requirement requirements-airflow.txt
	@touch $@

airflow-test: setup $(AIRFLOW_STAMP) ## run the nightly DAG once, in Airflow's own environment
	$(AIRFLOW)/bin/python tests/airflow_dags/run_dag.py --sayagain $(BIN)/sayagain

clean: ## remove what these commands made, environments too
	rm -rf $(VENV) $(AIRFLOW) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
