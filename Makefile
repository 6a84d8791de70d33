# Two commands matter: `make run` and `make test`. Both do all their own set-up.
#
# VENV, CACHE and PYTHON may be set on the command line. Everything that is downloaded or built goes
# below VENV and CACHE; `make clean` removes both.

VENV ?= .venv
CACHE ?= .cache
PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=
# Inputs of one fuzz run; CI's budget is a million.
FUZZ_INPUTS ?= 20000000

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
CLIENT := $(CACHE)/client
STAMPS := $(VENV)/.stamps
# musl is compiled once; the tests' own builds, which have another HOME, find it here too.
export ZIG_GLOBAL_CACHE_DIR := $(abspath $(CACHE))/zig

# What an installed package is made of. Sources only: a cached byte code or a built launcher is a product.
SOURCES := pyproject.toml hatch_build.py README.md LICENSE \
  $(shell find src launcher -type f \( -name '*.py' -o -name '*.c' -o -name '*.h' -o -name '*.toml' -o -name '*.sql' -o -name 'py.typed' \) 2>/dev/null)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run install test suites lint bench fuzz vm clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

run: install ## install, start the service and show the state
	@$(BIN)/better-claude welcome

install: $(STAMPS)/install ## install everything into .venv

test: lint suites ## set everything up, then lint, types and every suite, the real client's included

suites: $(STAMPS)/install $(STAMPS)/dev $(CLIENT)/stamp
	@.ci/system-packages test
	BETTER_CLAUDE_CLIENT="$(abspath $(CLIENT))" $(BIN)/python -m pytest \
	  tests/unit tests/property tests/integration tests/e2e $(PYTEST_ARGS)

lint: $(STAMPS)/install $(STAMPS)/dev ## ruff and mypy
	$(BIN)/ruff check src tests hatch_build.py
	$(BIN)/ruff format --check src tests hatch_build.py
	$(BIN)/mypy

bench: $(STAMPS)/install $(STAMPS)/dev ## timed comparisons against peers and floors
	@.ci/system-packages bench
	$(BIN)/python -m pytest tests/bench -m bench -s --timeout 600 $(BENCH_ARGS)

fuzz: $(STAMPS)/install $(STAMPS)/dev ## the launcher's parsers, longer than CI does
	@.ci/system-packages fuzz
	BETTER_CLAUDE_FUZZ_INPUTS=$(FUZZ_INPUTS) $(BIN)/python -m pytest tests/integration -k fuzz \
	  --timeout 0 -s $(PYTEST_ARGS)

# The machine sees this file system read-only: the first run builds what the second one needs.
vm: $(STAMPS)/install $(STAMPS)/dev ## hooks in delegated cgroups, in a virtual machine with a memory controller
	@.ci/system-packages vm
	$(BIN)/python -m pytest -q tests/integration/test_launcher_cgroups.py
	CACHE="$(CACHE)" tests/vm/boot env CGROUP_UNDER_TEST=/sys/fs/cgroup/delegated PYTHONDONTWRITEBYTECODE=1 \
	  "$(abspath $(BIN))/python" -m pytest -p no:cacheprovider tests/integration/test_launcher_cgroups.py

clean: ## remove what the other targets made; never your records
	rm -rf "$(VENV)" "$(CACHE)" build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f src/better_claude/_launcher/launcher*
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The build's own requirements are installed beside the package, so that a changed source costs
# seconds and not another download of the compiler.
$(STAMPS)/install: $(STAMPS)/build $(SOURCES)
	$(PIP) install --quiet --no-build-isolation .
	@touch $@

$(STAMPS)/build: $(STAMPS)/venv pyproject.toml .ci/requirements
	@echo "Fetching what the build needs and compiling the launcher: a minute, once." >&2
	$(BIN)/python .ci/requirements build >$@.txt
	$(PIP) install --quiet -r $@.txt
	@touch $@

$(STAMPS)/dev: $(STAMPS)/venv pyproject.toml .ci/requirements
	$(BIN)/python .ci/requirements dev >$@.txt
	$(PIP) install --quiet -r $@.txt
	@touch $@

$(STAMPS)/venv:
	@PYTHON="$(PYTHON)" .ci/system-packages python
	$(PYTHON) -m venv "$(VENV)"
	@mkdir -p "$(STAMPS)" && touch $@

# The real client, at the version that tests/e2e/package.json pins. Its install script only links the
# binary, which the tests call by its path.
$(CLIENT)/stamp: tests/e2e/package.json
	@.ci/system-packages client
	@rm -rf "$(CLIENT)" && mkdir -p "$(CLIENT)" && cp tests/e2e/package.json "$(CLIENT)"
	npm install --prefix "$(CLIENT)" --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel error
	@touch $@
