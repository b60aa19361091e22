# Variables, with their defaults. Set them on the command line: make report SEEDS=5 DATASET=mnist
LEARNING_RATES ?= 0.001 0.005 0.01
ARMS           ?= none batch
SEEDS          ?= 3
STUDY_SEEDS    ?= 3
RANGE_RATES    ?= 0.0001 0.0003 0.001 0.003 0.01 0.03 0.1 0.3 1
EPOCHS         ?= 10
DATASET        ?= auto
DATA_DIR       ?= data
PRECISION      ?= fp32
DEVICE         ?= auto
REPORTS        ?= reports
# WORKERS: runs at once; by default one for each core.
# SCHEDULER: tcp://host:port of a Dask scheduler whose workers do the runs; by default this machine does them.
# BNLIB_CACHE: where runs and executed notebooks are kept; by default .cache.
# PYTHON: an active environment's interpreter; by default .venv is set up and used.

export LEARNING_RATES ARMS SEEDS STUDY_SEEDS RANGE_RATES EPOCHS DATASET DATA_DIR PRECISION DEVICE REPORTS
ifdef WORKERS
export WORKERS
endif
ifdef SCHEDULER
export SCHEDULER
endif
CACHE := $(or $(BNLIB_CACHE),.cache)
export PYTHONPATH := $(CURDIR)
unexport PYTHONHOME

ifdef PYTHON
PY  := $(PYTHON)
ENV :=
else
PY  := .venv/bin/python
ENV := .venv/.complete
endif

.DEFAULT_GOAL := help
.PHONY: help report test test-long bench verify lab lint format lock clean clean-all litter

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: LEARNING_RATES=\"$(LEARNING_RATES)\" SEEDS=$(SEEDS) EPOCHS=$(EPOCHS) DATASET=$(DATASET)"
	@echo "             DATA_DIR=$(DATA_DIR) WORKERS=$(or $(WORKERS),cores) PRECISION=$(PRECISION) DEVICE=$(DEVICE) REPORTS=$(REPORTS)"
	@echo "             ARMS=\"$(ARMS)\" STUDY_SEEDS=$(STUDY_SEEDS) RANGE_RATES=\"$(RANGE_RATES)\""
	@echo "             BNLIB_CACHE=$(CACHE) PYTHON=$(or $(PYTHON),.venv) SCHEDULER=$(or $(SCHEDULER),none)"

report: $(ENV) ## Run what is missing and render the pages (DATASET, LEARNING_RATES, ARMS, SEEDS, ...; KEEP=1 states the time)
	@$(PY) -m bnlib.commands.report

test: $(ENV) ## Unit, end-to-end and notebook tests
	@$(PY) -m pytest

test-long: $(ENV) ## Tests that take longer: a report killed again and again, runs on a cluster
	@$(PY) -m pytest -m long

bench: $(ENV) ## Time training beside the original's loop (REPEATS, PRECISION, DEVICE; KEEP=1 for the report)
	@$(PY) -m bnlib.commands.bench

verify: $(ENV) ## Check a report: records, all that follows from them, some runs done anew (DATASET; VERIFY=n of each arm)
	@$(PY) -m bnlib.commands.verify

lab: $(ENV) ## JupyterLab on the notebooks
	@$(PY) -m jupyter lab --notebook-dir=notebooks

lint: $(ENV) ## Check style and formatting of code and notebooks
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(ENV) ## Format code and notebooks
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

lock: ## Resolve requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--all-extras --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

clean: litter ## Remove what notebooks and tests left; finished runs, data and reports stay
	@test ! -d "$(CACHE)/runs" || \
		echo "kept: $$(du -sh "$(CACHE)/runs" | cut -f1) of runs in $(CACHE)/runs; make clean-all removes them too"

clean-all: litter ## Also remove the finished runs and the environment
	rm -rf "$(CACHE)/runs" .cache .venv

litter:
	rm -rf "$(CACHE)/executed" "$(CACHE)/interactive" .pytest_cache .ruff_cache .hypothesis
	find bnlib tests notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

.venv/.complete: requirements.lock pyproject.toml
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; python3 is " + sys.version)'
	@echo "Setting up .venv from requirements.lock: about 6 GB with the CUDA build of torch, a few minutes"
	@python3 -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
