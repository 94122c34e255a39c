# Sets everything up on a fresh machine: all it needs is a Python from 3.11 to 3.13 with its venv module.

PYTHON ?= python3
VENV ?= .venv
# More for `jaxgan train`: make train ARGS="configs/NAME.toml --steps 100"
ARGS ?=
PYTEST_ARGS ?= -n 2 --dist worksteal
# Optional dependencies on top of the pinned ones: make install EXTRAS=cuda
EXTRAS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# A second -q also hides pip's warnings, such as the one about running as root; errors are still shown.
QUIET := -qq

PYTAG := $(shell $(PYTHON) -c 'import sys; print("py%d%d" % sys.version_info[:2])' 2>/dev/null)
# One lock for Python 3.11, where JAX ends at 0.10, and one for all later ones.
LOCK := requirements/$(if $(filter py311,$(PYTAG)),py311,py312).txt
# The version is in the stamps' names, so another PYTHON makes the environment anew.
DEPENDENCIES := $(VENV)/.dependencies-$(PYTAG)
STAMP := $(VENV)/.installed-$(PYTAG)

.DEFAULT_GOAL := help
.PHONY: help install train test test-slow test-all test-costs lint format lock clean python

help: ## Show this list
	@echo "usage: make TARGET [PYTHON=python3] [VENV=.venv]"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Set up the environment; EXTRAS=cuda (cuda12, tpu, peers, tensorflow) adds to it
	@$(if $(EXTRAS),echo "installing jaxgan[$(EXTRAS)] ..." && $(PIP) install $(QUIET) --no-build-isolation -e '.[$(EXTRAS)]',:)

train: $(STAMP) ## Train the default GAN on the embedded images; ARGS go to `jaxgan train`
	$(BIN)/jaxgan train $(ARGS)

test: $(STAMP) ## Run the tests but for the slow ones; PYTEST_ARGS go to pytest
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow"

test-slow: $(STAMP) ## Run the slow tests, the rest of them
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m slow

test-all: $(STAMP) ## Run all tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-costs: $(STAMP) ## Run the tests, and write the table of the dearest into CONTRIBUTING.md
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow" --dearest=20 --dearest-in=CONTRIBUTING.md

lint: $(STAMP) ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(STAMP) ## Rewrite the code in the one format
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

lock: python ## Pin the newest allowed dependencies, for the running PYTHON
	@PYTHON=$(PYTHON) requirements/lock $(LOCK)

clean: ## Remove environments, caches and build output; runs/ stays
	rm -rf .venv .venv-* build dist .pytest_cache .ruff_cache
	find jaxgan tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

$(STAMP): pyproject.toml $(DEPENDENCIES)
	@$(PIP) install $(QUIET) --no-deps --no-build-isolation -e .
	@touch $@

# The environment is complete when the stamp is there; one that is half made, or of other pins, is made anew.
$(DEPENDENCIES): requirements/build.txt $(LOCK) | python
	@echo "installing the pinned dependencies into $(VENV); this takes a minute or two ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install $(QUIET) --require-hashes -r requirements/build.txt
	@$(PIP) install $(QUIET) --require-hashes --no-build-isolation -r $(LOCK)
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: '$(PYTHON)' is not a Python from 3.11 to 3.13; name one: make PYTHON=/path/to/python3.12 ..." >&2; exit 2; }
