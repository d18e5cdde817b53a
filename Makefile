# make install   a local environment in .venv with everything (the first time compiles mmcv's operators)
# make demo      install, then quantize the detector that ships with the project and show the table
# make test      install, then run the tests
# make smoke     install, then run a part of the tests in a few minutes
# make conformance   every recipe on every family of detectors; writes docs/families.md (an hour)
# make lint      ruff: rules and format
# make types     mypy
# make check     say what is installed, and how to mend what is not
# make wheel     build the package, dist/*.whl and dist/*.tar.gz
# make docs      the documentation as a site, build/docs; without network once its environment stands
# make clean     remove what builds and runs wrote; clean-all removes the environment too
#
# Settings, as in make install STACK=onedl TORCH='torch==2.12.0':
#   STACK      upstream (mmengine, mmcv, mmdet) or onedl, their maintained fork
#   TORCH      requirement that pip gets for torch; the default is the torch that is there
#   TORCHVISION  requirement of a torchvision that fits TORCH, for timm's and torchvision's classifiers;
#              timm and mmpretrain come with it, and none of them by default
#   TORCH_FLAGS  pip's flags for torch: --index-url https://download.pytorch.org/whl/cpu
#   PYTHON     Python that makes the environment: 3.10 to 3.12, 3.10 or newer for onedl
#   VENV       the environment's folder
#   DOCS_VENV  that of the documentation's tools, which need neither torch nor mmptq

comma := ,
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

STACK ?= upstream
VENV ?= $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
DOCS_VENV ?= .venv-docs
TORCH_FLAGS ?=
PYTEST_ARGS ?= -n 2
DEMO_DIR ?= work_dirs/demo
# A part of every room, for many environments: a few minutes.
SMOKE := tests/test_ops.py tests/observers tests/quantizers tests/models tests/test_reload.py \
	tests/runner/test_calibration_runner.py tests/tools/test_quantize.py tests/tools/test_check_env.py

ifeq ($(filter $(STACK),upstream onedl),)
$(error STACK=$(STACK) is unknown: use STACK=upstream or STACK=onedl)
endif

# The first Python on the path that the stack runs on: mmcv 2.1.0 does not build on 3.13.
LAST_PYTHON := $(if $(filter onedl,$(STACK)),3.99,3.12)
PYTHON_RANGE := $(if $(filter onedl,$(STACK)),3.10 or newer,3.10 to 3.12)
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10 python; do \
	"$$p" -c 'import sys; last = tuple(map(int, "$(LAST_PYTHON)".split("."))); \
	sys.exit(not (3, 10) <= sys.version_info[:2] <= last)' 2>/dev/null && { echo "$$p"; break; }; done)

PY := $(VENV)/bin/python
# Torch of the Python $(1) as a requirement; empty where it has none.
TORCH_OF = $(shell $(1) -c 'import importlib.metadata as m; \
	print("torch==" + m.version("torch").split("+")[0])' 2>/dev/null)
# What an environment holds, another that is made from it cannot see.
BASE_TORCH = $(if $(shell $(PYTHON) -c 'import sys; sys.prefix == sys.base_prefix and print(1)' \
	2>/dev/null),$(call TORCH_OF,$(PYTHON)))
TORCH ?= $(or $(shell sed -n 1p $(VENV)/.torch 2>/dev/null),$(call TORCH_OF,$(PY)),$(BASE_TORCH),torch==2.13.0)
TORCHVISION ?= $(shell sed -n 2p $(VENV)/.torch 2>/dev/null)
PIP := $(PY) -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.stamp-mmptq
MMCV_TOOLS := $(wildcard tools/install_mmcv.py tools/mmcv_*.py)
# The extra `docs` alone: pip would install mmptq and torch with it.
DOCS_REQUIREMENTS = $(shell sed -n '/^docs = \[/,/^\]/s/^ *"\(.*\)",.*/\1/p' pyproject.toml)

.PHONY: help install demo test smoke conformance lint types check wheel docs clean clean-all FORCE

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

install: $(INSTALLED)

# An environment that is there is used as it is. A new one sees what PYTHON holds if torch, and so
# perhaps mmcv, is among it.
$(VENV)/.stamp-venv $(DOCS_VENV)/.stamp-venv: SHARED = $(if $(filter $(VENV)/%,$@),$(if \
	$(filter $(BASE_TORCH),$(TORCH)),--system-site-packages))
# Debian's Python may come without the part of venv that brings pip; pip itself can stand in.
$(VENV)/.stamp-venv $(DOCS_VENV)/.stamp-venv:
	@if [ -z '$(PYTHON)' ]; then echo 'no Python $(PYTHON_RANGE) on the path;' \
		'name one: make install PYTHON=/path/to/python3.11'; exit 1; fi
	@echo '== environment $(@D), made by $(PYTHON) $(SHARED)'
	@[ -x $(@D)/bin/python ] || $(PYTHON) -m venv $(SHARED) $(@D) >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --without-pip $(SHARED) $(@D) && \
		$(PYTHON) -m pip --python $(@D)/bin/python install --quiet pip; }
	@touch $@

# Rewritten only when a requirement changes: another torch means other operators. One a line, torch
# first.
REQUIRED_TORCH = '$(TORCH)' $(if $(TORCHVISION),'$(TORCHVISION)')
$(VENV)/.torch: FORCE | $(VENV)/.stamp-venv
	@[ "$$(cat $@ 2>/dev/null)" = "$$(printf '%s\n' $(REQUIRED_TORCH))" ] || \
		printf '%s\n' $(REQUIRED_TORCH) > $@

$(VENV)/.stamp-torch: $(VENV)/.torch
	@echo '== $(TORCH) $(TORCHVISION): what is there is used, the rest downloaded (the CPU build has 200 MB)'
	@$(PIP) install $(TORCH_FLAGS) $(REQUIRED_TORCH)
	@touch $@

$(VENV)/.stamp-mmcv: $(VENV)/.stamp-torch $(MMCV_TOOLS)
	@echo '== mmcv with its operators: compiled once, a minute or two'
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) tools/install_mmcv.py --stack $(STACK)
	@touch $@

$(INSTALLED): $(VENV)/.stamp-mmcv pyproject.toml setup.py
	@echo '== mmptq and the rest of the $(STACK) stack'
	@$(PIP) install --quiet --no-build-isolation --editable \
		'.[$(STACK),dev$(if $(TORCHVISION),$(comma)timm$(if $(filter upstream,$(STACK)),$(comma)mmpretrain))]'
	@touch $@

demo: install
	$(PY) tools/quantize.py configs/demo/retinanet_w4a4_mmse.py --work-dir $(DEMO_DIR)

test: install
	$(PY) -m pytest $(PYTEST_ARGS)

smoke: install
	$(PY) -m pytest $(PYTEST_ARGS) $(SMOKE)

# The recipes of one family share its float model: they go to one worker.
conformance: install
	@status=0; $(PY) -m pytest $(PYTEST_ARGS) --dist loadgroup -m conformance tests/conformance \
		--junitxml work_dirs/conformance.xml || status=$$?; \
	$(PY) tools/conformance_table.py && exit $$status

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: install
	$(PY) -m mypy

check: install
	$(PY) tools/check_env.py

# From what is there: without isolation, so without network once `build` is installed.
wheel: install
	$(PY) -m build --no-isolation

$(DOCS_VENV)/.stamp-docs: pyproject.toml | $(DOCS_VENV)/.stamp-venv
	@echo '== what builds the documentation'
	@$(DOCS_VENV)/bin/python -m pip --disable-pip-version-check install --quiet $(DOCS_REQUIREMENTS)
	@touch $@

# Links and anchors that lead nowhere, and pages that the navigation lacks, are errors.
docs: $(DOCS_VENV)/.stamp-docs
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/python -m mkdocs build --strict

clean:
	rm -rf build dist *.egg-info work_dirs .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

clean-all: clean
	rm -rf .venv .venv-onedl .venv-docs
