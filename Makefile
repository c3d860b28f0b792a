# `make demo` and `make test` set up all they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait for a server, so more run at a time than there are processors; each has servers of its own.
WORKERS ?= $(shell twice=$$((2 * $$(nproc))); echo $$((twice < 8 ? twice : 8)))
# Folders that `make test` leaves out, where their tests have already run.
WITHOUT ?=

.PHONY: demo test check bench format clean

demo: $(VENV)/ready-demo ## the main job on this machine, with a real OpenBao server
	@$(BIN)/lessee demo

test: $(VENV)/ready-test ## all tests; those with Docker where an Engine is installed
	$(BIN)/python tests/npm.py
	$(BIN)/pytest --numprocesses $(WORKERS) $(addprefix --ignore=,$(WITHOUT))

check: $(VENV)/ready-test ## lint, types, imports, and branch coverage of core
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q --numprocesses auto -m long tests/core
	$(BIN)/pytest -q --numprocesses auto -m "not long" --cov --cov-fail-under=100 tests/core

bench: $(VENV)/ready-test ## every figure of the README, beside `bao agent`
	$(BIN)/python tests/bench/run.py

format: $(VENV)/ready-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) build .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/ready-%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@
