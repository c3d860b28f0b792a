# `make demo` and `make test` set up all they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait for a server, so more run at a time than there are processors; each has servers of its own.
WORKERS ?= $(shell twice=$$((2 * $$(nproc))); echo $$((twice < 8 ? twice : 8)))
# The tests of the pure packages: the contract "Pure packages touch nothing" names the packages.
PURE := tests/core tests/config tests/rendering tests/agent/machine tests/mcp/session tests/status/pages \
  tests/status/test_access_control.py tests/audit_trail/policy tests/events/test_vault_messages.py \
  tests/process/test_supervision.py tests/publishing/test_publication_record.py $(wildcard tests/ops/*/policy)
# Set it where `make check` has already run them.
WITHOUT_PURE ?=

.PHONY: demo test check bench format clean

demo: $(VENV)/ready-demo ## the main job on this machine, with a real OpenBao server
	@$(BIN)/lessee demo

test: $(VENV)/ready-test ## all tests; those with Docker where an Engine is installed
	$(BIN)/python tests/support/npm.py
	$(BIN)/pytest --numprocesses $(WORKERS) $(if $(WITHOUT_PURE),$(addprefix --ignore=,$(PURE)))

check: $(VENV)/ready-test ## lint, types, imports, and branch coverage of the pure packages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q --numprocesses auto -m long $(PURE)
	$(BIN)/pytest -q --numprocesses auto -m "not long" --cov --cov-fail-under=100 $(PURE)

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
