# The only commands a user needs; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PROFILE ?= quick
export ODENET_CACHE ?= $(CURDIR)/.cache
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS ?= $(CORES)
# Where trainings run: in JOBS local processes, one for each core but no more than four, which share the threads; or on
# the Dask scheduler at CLUSTER=tcp://host:8786. At the smallest size, to start a process takes longer than a training.
export ODENET_CLUSTER := $(or $(CLUSTER),$(ODENET_CLUSTER))
SERIAL := $(or $(ODENET_CLUSTER),$(filter smoke,$(PROFILE)))
export ODENET_JOBS := $(or $(JOBS),$(ODENET_JOBS),$(if $(SERIAL),1,$(shell echo $$(($(CORES) < 4 ? $(CORES) : 4)))))
test unit nbval smoke rendered: export ODENET_JOBS := 1
# Threads that wait for each other let other programs work: GNU's OpenMP, then LLVM's and Intel's.
export GOMP_SPINCOUNT ?= 1000
export KMP_BLOCKTIME ?= 1
# glibc gives memory of this size back at once and fetches it again, page by page, at the next tensor: keep it.
export MALLOC_MMAP_THRESHOLD_ ?= 4294967296
export MALLOC_TRIM_THRESHOLD_ ?= 4294967296
# In a notebook pip would colour its errors, and what we quote of them, their last line, would be a colour.
export PIP_NO_COLOR ?= 1

# What reruns the paper is no part of the installed package: it is imported from its folder, in .venv by a .pth file.
export PYTHONPATH := $(CURDIR)/notebooks$(if $(PYTHONPATH),:$(PYTHONPATH))

# An activated conda environment that holds this clone (environment.yml makes one) is used as it is;
# everywhere else the environment is .venv, set up once, and again when its pins change.
holds_clone := import importlib.util as u, os; \
  os.path.samefile(u.find_spec("odenet").origin, "odenet/__init__.py") or exit(1)
CONDA_PYTHON := $(if $(CONDA_PREFIX),$(shell $(CONDA_PREFIX)/bin/python -Ic \
  '$(holds_clone)' 2>/dev/null && echo $(CONDA_PREFIX)/bin/python))
PY := $(or $(CONDA_PYTHON),.venv/bin/python)
READY := $(if $(CONDA_PYTHON),,.venv/ready)
REPLICATE := $(PY) -m replication
LIMITED := $(if $(LIMIT),--limit $(LIMIT))# seconds for each cell

help: ## Show this list
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the environment (.venv); the other targets do it when needed

# .venv/ready is written last: a set-up that was interrupted finds none and starts again from nothing.
.venv/ready: pyproject.toml constraints.txt
	@if [ "$${CONDA_DEFAULT_ENV-}" = odenet ]; then \
	  echo 'This conda environment holds another clone: run "conda env update -f environment.yml" here.' >&2; exit 1; fi
	@for python in python3.11 python3; do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; done; \
	test -n "$$python" || { echo "odenet needs Python 3.11 or newer, not $$(python3 --version 2>&1)." >&2; exit 1; }; \
	$$python -m venv $(if $(wildcard $@),,--clear) .venv
	$(PY) -m pip install -c constraints.txt -e '.[replicate,test]'
	@$(PY) -c 'import site, sys; open(site.getsitepackages()[0] + "/replication.pth", "w").write(sys.argv[1])' '$(CURDIR)/notebooks'
	@touch $@

peers: $(READY) ## Add the libraries that bench compares ours with (diffrax, torchode)
	$(PY) -m pip install -c constraints.txt -e '.[peers]'

replicate: $(READY) ## Run the notebooks and render them as a book (PROFILE=smoke|quick|paper JOBS=4 CLUSTER=tcp://...)
	@status=0; $(REPLICATE) run --profile $(PROFILE) $(LIMITED) || status=$$?; \
	if [ $$status -lt 2 ]; then $(REPLICATE) book --profile $(PROFILE) || status=$$?; fi; exit $$status

notebook: $(if $(NB),,usage) $(READY) ## Run one notebook anew: make notebook NB=03_mnist P="epochs=2 seed=1"
	@$(REPLICATE) run --profile custom $(NB) $(LIMITED) $(if $(P),-p '$(P)')
	@echo "Notebook: book/_build/custom/chapters/$(NB).ipynb"
	@$(REPLICATE) book --profile custom

test: lint types ## All that must hold before a commit: lint, types, then unit beside nbval and smoke
	@OMP_NUM_THREADS=$$((($(CORES) + 1) / 2)) $(MAKE) -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) unit rendered

rendered: ## nbval, then smoke, which finds the trainings of the first
	@$(MAKE) -j1 nbval && $(MAKE) -j1 smoke

lint: $(READY) ## Style of the code and of the notebooks (ruff)
	$(PY) -m ruff check
	$(PY) -m ruff format --check

types: $(READY) ## Types (mypy)
	$(PY) -m mypy

unit: $(READY) ## Unit tests, and the examples in the docstrings (pytest)
	$(PY) -m pytest
	$(PY) -m pytest --doctest-modules odenet

nbval: $(READY) ## The notebooks at their default size, with their checked outputs; two published ones drawn anew
	$(PY) -m pytest --nbval-lax --nbval-current-env notebooks
	$(REPLICATE) figures --check 01_resnets_to_odes 07_poisson

smoke: $(READY) ## The whole replication at its smallest size, book included
	$(REPLICATE) run --profile smoke
	$(REPLICATE) book --profile smoke
	ODENET_SITE=book/_build/smoke/html $(PY) -m pytest tests/replication/test_site.py

book: $(READY) ## Render the published evidence (book/chapters)
	@$(REPLICATE) book --profile paper

pdf: $(READY) ## The same, and all its pages as one PDF; needs Chromium (CHROMIUM=/path/to/it)
	@$(REPLICATE) book --profile paper --pdf

readme: $(READY) ## Bring README.md up to date with the published evidence
	@$(REPLICATE) readme

bench: $(READY) ## Time and error beside other libraries, for the page on speed (minutes)
	@OMP_NUM_THREADS=1 $(PY) -m replication.benchmarks.speed
	@$(PY) -m replication.benchmarks.speed_page

times: $(READY) ## What each command of the README costs, in a new clone on an idle machine (an hour)
	@$(PY) -m replication.benchmarks.commands
	@$(REPLICATE) readme

figures: $(READY) ## Draw the published chapters anew from their kept trials, without training (NB=07_poisson)
	@$(REPLICATE) figures $(NB)

check: $(READY) ## Say which notebooks of PROFILE are fresh, stale or missing
	@$(REPLICATE) check --profile $(PROFILE)

verdicts: $(READY) ## Judge the claims by the records of PROFILE
	@$(REPLICATE) verdicts --profile $(PROFILE)

lab: $(READY) ## Open JupyterLab in this environment
	$(PY) -m jupyter lab notebooks

clean: ## Delete rendered books and tool caches; keep evidence, results, data and the environment
	rm -rf book/_build/html book/_build/*/html book/_build/*/source .mypy_cache .pytest_cache .ruff_cache

usage:
	@echo 'usage: make notebook NB=03_mnist P="epochs=2 seed=1"' >&2; exit 2

.PHONY: help setup peers replicate notebook test rendered lint types unit nbval smoke book pdf readme bench times check verdicts figures lab clean usage
