# What people type. `make help` lists it; README.md says more.
#
# The environment: uv is found or put into .tools/, gets a Python (.python-version), and fills
# .venv from requirements.lock. Whoever stands in a conda or other environment of their own says
# PYTHON=python (or a path), and nothing is installed.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

STUDY ?=
JOBS ?=
SNAKEMAKE_ARGS ?=
PYTEST_ARGS ?=
TEST_ARGS ?=
LAB_ARGS ?=
BENCH_ARGS ?=
PYTHON ?=

UV := $(shell command -v uv || echo .tools/bin/uv)
COMPILE := pip compile --quiet --universal --generate-hashes --no-emit-index-url
VENV_READY := .venv/.ready
BENCH_READY := .venv-bench/.ready
WARM_UP := import partialpool.fit.exact_fit as fit; fit.warm_up

ifeq ($(PYTHON),)
PY := .venv/bin/python
READY := $(VENV_READY)
# Bytecode is kept in the environment that is ours, whatever is said elsewhere: imports take a third.
unexport PYTHONDONTWRITEBYTECODE
else
PY := $(PYTHON)
READY :=
# An own environment may not have the package installed; its source is enough.
export PYTHONPATH := $(CURDIR)/src$(if $(PYTHONPATH),:$(PYTHONPATH))
endif
PY_BENCH := .venv-bench/bin/python

.PHONY: help report check preview verify test test-faults test-slurm lab lint bench pictures lock release clean

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  report takes STUDY=name (or a path), JOBS=n and SNAKEMAKE_ARGS=\"...\"; lab takes LAB_ARGS=\"...\"."
	@echo "  PYTHON=python uses the environment you stand in instead of .venv."

report: $(READY) ## run the studies in params/ and write reports/index.html
	@$(PY) -m partialpool report $(STUDY) $(if $(JOBS),--jobs $(JOBS)) $(if $(SNAKEMAKE_ARGS),-- $(SNAKEMAKE_ARGS))

check: $(READY) ## check studies against their data, without running them (STUDY=name)
	@$(PY) -m partialpool check $(STUDY)

preview: $(READY) ## run one study, open its page, make it again after each change (STUDY=name)
	@$(PY) -m partialpool preview $(STUDY)

verify: $(READY) ## do finished runs once more and compare the numbers (STUDY=name)
	@$(PY) -m partialpool verify $(STUDY)

test: $(READY) ## run the tests
	@$(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-faults: $(READY) ## kill, interrupt and starve reports for half an hour, and see what they leave
	@$(PY) tests/faults.py $(TEST_ARGS)

test-slurm: $(READY) ## run a study on a real SLURM on this machine (root, Debian)
	@$(PY) tests/slurm.py

lab: $(READY) ## open JupyterLab on notebooks/
	@$(PY) -m partialpool lab $(if $(LAB_ARGS),-- $(LAB_ARGS))

lint: $(READY) ## check style, types and that notebooks are saved without outputs
	@$(PY) -m ruff check src tests bench notebooks workflow
	@$(PY) -m ruff format --check src tests bench notebooks workflow
	@$(PY) -m mypy
	@$(PY) -m partialpool notebooks

bench: $(BENCH_READY) ## measure against other packages (an environment of its own)
	@PYTHONPATH=$(CURDIR)/src $(PY_BENCH) bench/run.py $(BENCH_ARGS)

pictures: $(READY) ## take the pictures of the README from finished reports (needs Chromium)
	@$(PY) workflow/pictures.py
	@PICTURES=$(CURDIR)/docs $(PY) -m pytest -q tests/test_jupyterlab.py -k slider

lock: $(UV) ## write both requirements.lock anew, from pyproject.toml and bench/requirements.in
	@$(UV) $(COMPILE) --upgrade --extra dev --extra maps --extra slurm pyproject.toml -o requirements.lock
	@$(UV) $(COMPILE) --upgrade pyproject.toml bench/requirements.in -o bench/requirements.lock
	@echo "Wrote requirements.lock and bench/requirements.lock."

release: $(READY) $(UV) ## test, build and tag the version in pyproject.toml (RELEASING.md)
	@$(PY) workflow/release.py ready
	@$(MAKE) lint test
	@$(PY) workflow/release.py build $(UV)

clean: ## remove reports, caches and the environments
	@rm -rf reports/* reports/.[!.g]* .venv .venv-bench .tools .cache .snakemake
	@rm -rf dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the environment ------------------------------------------------------------------------------

.tools/bin/uv:
	@command -v python3 >/dev/null || { echo "There is no python3; install Python 3.12 or later, or uv." >&2; exit 1; }
	@echo "Installing uv into .tools/ ..."
	@rm -rf .tools
	@{ python3 -m venv .tools && .tools/bin/python -m pip install --quiet uv; } >/dev/null 2>&1 \
	  || { rm -rf .tools && python3 -m pip install --quiet --target .tools uv >/dev/null; } \
	  || { rm -rf .tools; echo "uv could not be installed; see the docs of uv for other ways, or say PYTHON=python to use an environment of your own." >&2; exit 1; }

$(VENV_READY): requirements.lock pyproject.toml .python-version | $(UV)
	@./.ci/venv $(UV) .venv requirements.lock
	@$(UV) pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
	@echo "Compiling the kernels of the exact fit, once for this environment ..."
	@$(PY) -c "$(WARM_UP)(several=True)" & $(PY) -c "$(WARM_UP)()" && wait $$!
	@touch $@

$(BENCH_READY): bench/requirements.lock .python-version | $(UV)
	@./.ci/venv $(UV) .venv-bench bench/requirements.lock
	@touch $@
