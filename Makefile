# Variables reach Python as they are given, on the command line or in the environment; what is not given stays unset, as Python
# has the defaults. The lines `#:` at the end only tell of them; `make help` shows these.

ifeq ($(origin PYTHON),command line)
ENV  :=
HINT := give make the PYTHON of an environment with Python 3.11 or newer, the packages of pyproject.toml and this one, or none for .venv
else
# An exported PYTHON is meant for another tool, and so is PYTHONPATH.
override PYTHON := .venv/bin/python
ENV  := .venv/.complete
HINT := .venv is not whole: remove it, and make sets it up anew; if pip puts packages elsewhere, see what pip config list says
unexport PYTHONPATH
endif
export PYTHON
export PYTHONUTF8 := 1
export JUPYTER_PREFER_ENV_PATH := 1
unexport PYTHONHOME PYTHONSAFEPATH PYTHONSTARTUP PYTHONINSPECT PYTHONOPTIMIZE
# Of what pip is told, the address of an index counts, and nothing that puts packages elsewhere.
.venv/.complete: export PIP_USER := 0
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT PIP_REQUIREMENT PIP_DRY_RUN PIP_ONLY_DOWNLOAD PIP_PYTHON

# Where it is there, uv sets the environment up, with the build of torch that this machine wants.
UV ?= $(shell command -v uv)
TORCH_BACKEND ?= auto

# In words of any Python, as PYTHON may be any.
READY := import importlib.metadata as m, sys; sys.exit(sys.version_info < (3, 11) or not [*map(m.version, ["torch", "papermill", "bnlib"])])
RECENT := import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; python3 is " + sys.version)

# Each file of tests to a process, as many of them as there are cores.
SPREAD := --numprocesses=auto --dist=loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help report reproduce verify adopt bench test test-fast test-long coverage lab lint format lock clean clean-all ready

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 } /^#:/ { print substr($$0, 3) }' Makefile

report: ready ## Run what is missing and render the pages
	@"$$PYTHON" -m bnlib.commands.report

reproduce: ready ## Do a whole report anew and say what agrees
	@"$$PYTHON" -m bnlib.commands.reproduce

verify: ready ## Check a report's records and pages; do some runs anew
	@"$$PYTHON" -m bnlib.commands.verify

adopt: ready ## After a change that leaves bits alone: show it, keep runs
	@"$$PYTHON" -m bnlib.commands.adopt

bench: ready ## Time training beside the original's loop (REPEATS=5)
	@"$$PYTHON" -m bnlib.commands.bench

test: ready ## Unit and end-to-end tests
	@"$$PYTHON" -m pytest $(SPREAD)

test-fast: ready ## Those of them that take seconds
	@"$$PYTHON" -m pytest $(SPREAD) -m "not long and not slow"

test-long: ready ## What takes longer: kills, a cluster, notebooks
	@"$$PYTHON" -m pytest $(SPREAD) -m long

coverage: ready ## Which lines of analysis, experiment, training tests reach
	@"$$PYTHON" -m coverage erase
	@"$$PYTHON" -m coverage run -m pytest $(SPREAD)
	@"$$PYTHON" -m coverage combine --quiet
	@"$$PYTHON" -m coverage report

lab: ready ## JupyterLab, opened on the notebooks
	$(if $(filter 0,$(shell id -u)),@echo "You are root: JupyterLab is started with --allow-root")
	@"$$PYTHON" -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

lint: ready ## Check style, formatting and types
	@"$$PYTHON" -m ruff check .
	@"$$PYTHON" -m ruff format --check .
	@"$$PYTHON" -m mypy

format: ready ## Format code and notebooks; drop what notebooks showed
	@"$$PYTHON" -m bnlib.system.litter notebooks
	@"$$PYTHON" -m ruff check --fix .
	@"$$PYTHON" -m ruff format .

lock: ## Resolve requirements.lock anew from pyproject.toml (needs uv)
	"$(or $(UV),uv)" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--all-extras --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

clean: ## Remove what is made again in a minute; runs and data stay
	@$(or $(wildcard .venv/bin/python),python3) -m bnlib.system.litter

clean-all: ## Also remove the finished runs and the environment
	@$(or $(wildcard .venv/bin/python),python3) -m bnlib.system.litter runs
	rm -rf .venv

ready: $(ENV)
	@"$$PYTHON" -c '$(READY)' 2>/dev/null || { echo "error: PYTHON=\"$$PYTHON\": $(HINT)" >&2; exit 1; }

# Of the versions in the lock either way. Another build of torch than the lock's has other hashes, and comes without CUDA's packages.
.venv/.complete: requirements.lock pyproject.toml
ifneq ($(UV),)
	@echo "Setting up .venv by uv, with torch for TORCH_BACKEND=$(TORCH_BACKEND): 2 GB with the CPU build, 6 GB with CUDA's"
	@"$(UV)" venv --quiet --allow-existing .venv
ifeq ($(TORCH_BACKEND),lock)
	@"$(UV)" pip install --quiet --python .venv/bin/python --require-hashes -r requirements.lock
	@"$(UV)" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
else
	@"$(UV)" pip install --quiet --python .venv/bin/python --torch-backend "$(TORCH_BACKEND)" \
		--no-verify-hashes --constraint requirements.lock --editable ".[dev,cluster]" \
		|| { echo "error: no such torch is to be had; TORCH_BACKEND=lock takes the lock's, from where pip would" >&2; exit 1; }
endif
else
	@python3 -c '$(RECENT)'
	@echo "Setting up .venv from requirements.lock: 6 GB with CUDA's build of torch, a few minutes; 2 GB where uv is installed"
	@python3 -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	@.venv/bin/python -c '$(READY)' || { echo "error: $(HINT)" >&2; exit 1; }
	@touch $@

#:
#: Variables, on the command line (make report SEEDS=5) or in the environment.
#: What is not given is as the report that stands there was asked for, else:
#:   LEARNING_RATES="0.001 0.005 0.01"   of Adam, constant
#:   ARMS="none batch"                   norms; the first is the reference
#:   SEEDS=3                             pairs of runs at each rate
#:   STUDY_SEEDS=3                       pairs of chain and range; at most SEEDS
#:   RANGE_RATES="0.0001 0.0003 0.001 0.003 0.01 0.03 0.1 0.3 1"   short runs
#:   STUDIES=auto                        rates range replay; inside, controls
#:   EPOCHS=10                           of each run
#:   DATASET=auto                        mnist, fashion_mnist, digits
#:   PRECISION=fp32                      or bf16
#:   DEVICE=auto                         cpu, cuda, mps
#: These change no result:
#:   DATA_DIR=data  REPORTS=reports  BNLIB_CACHE=.cache   where things lie
#:   WORKERS=cores                       processes; 1 on a GPU, of many runs
#:   SCHEDULER=none                      tcp://host:port of a Dask scheduler
#:   KEEP=0                              1: the report states what was measured
#:   VERIFY=1                            runs of each arm that verify does anew
#:   STRICT=0                            1: do anew what another machine did
#:   ADOPT=2                             runs of each arm that adopt does anew
#:   TORCH_BACKEND=auto                  of a new .venv by uv: cpu, cu126, lock
#:   PYTHON=.venv/bin/python             on the command line alone
