# Needs Python 3.11 to 3.13 with venv, make, and glibc 2.35 or later; sets up the rest inside this folder.
# Every stamp lies inside what it stands for: delete an environment and the next run makes it again.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

# A Python that fits, looked for only when an environment is made: make setup PYTHON=/path/to/python3.12
PYTHON ?= $(shell scripts/find_python)
PIP := -m pip --disable-pip-version-check --no-input install --quiet --require-hashes
PY := .venv/bin/python
BROWNIE := .venv-brownie/bin/python scripts/run_brownie.py
SOLC_VERSION := 0.8.30

# Node from PyPI, where this machine has none, stands before everything else.
export PATH := $(CURDIR)/.toolchain/node/bin:$(CURDIR)/node_modules/.bin:$(PATH)
export SOLCX_BINARY_PATH := $(CURDIR)/.toolchain/solcx

PACKAGE_ENV := .venv/.installed
BROWNIE_ENV := .venv-brownie/.installed
SPARK_ENV := .venv-spark/.installed
NODE_ENV := node_modules/.installed
BROWSER := .toolchain/browser/.installed

.PHONY: help setup demo test test-package test-contracts test-spark lint contracts gas docs clean
.PHONY: test-lowest test-newest locks format deletions faults faults-nightly browser look

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / && $$1 != "help" {printf "  make %-15s %s\n", $$1, $$2}' Makefile

setup: $(PACKAGE_ENV) $(BROWNIE_ENV) $(NODE_ENV) ## install what is missing; a second run installs nothing

demo: $(PACKAGE_ENV) $(NODE_ENV) ## real usage of works into payouts on a local chain, reconciled
	.venv/bin/royalty demo

test: test-contracts test-package faults ## every test, save those on Spark

test-package: $(PACKAGE_ENV) $(NODE_ENV) $(BROWSER) ## the Python package, its command line and whole runs on Anvil
	$(PY) -m pytest -n 2 --dist loadscope --max-worker-restart=0 $(PYTEST)

faults: $(PACKAGE_ENV) $(NODE_ENV) ## reports killed everywhere under faults; SEED=20261120:17 runs one cycle
	$(PY) -m tests.faults $(if $(SEED),--seed $(SEED)) $(FAULTS)

test-contracts: $(BROWNIE_ENV) $(NODE_ENV) ## the contracts, under forge and under Brownie
	@# forge calls it a success when it finds no test at all.
	@forge test --list $(FORGE) | grep -qE '^ +(test|invariant)' || { echo "forge found no tests"; exit 1; }
	forge test $(FORGE)
	$(BROWNIE) test $(BROWNIE_TEST)

test-spark: $(SPARK_ENV) $(NODE_ENV) ## counting on Spark beside DuckDB; needs Java 17 or later on this machine
	@java -version >/dev/null 2>&1 || { echo "no Java: install a JRE of 17 or later, such as openjdk-17-jre-headless"; exit 1; }
	.venv-spark/bin/python -m pytest --durations=5 tests/spark $(SPARK)

lint: $(PACKAGE_ENV) $(NODE_ENV) ## style, types, lock files, and artifacts in step with the contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	solhint --disc --noPoster --max-warnings 0 'contracts/**/*.sol'
	prettier --log-level warn --check 'contracts/**/*.sol' 'tests/forge/**/*.sol'
	$(PY) scripts/check_setup.py
	$(PY) scripts/build_artifacts.py --check

contracts: $(PACKAGE_ENV) $(NODE_ENV) ## compile the contracts into royalty/artifacts
	$(PY) scripts/build_artifacts.py

gas: $(PACKAGE_ENV) $(NODE_ENV) ## measure gas on Anvil and write bench/gas.json
	$(PY) bench/gas.py --write

docs: $(PACKAGE_ENV) ## write docs/cli.md from the commands' own help
	$(PY) scripts/cli_docs.py

clean: ## remove everything that make has made here
	rm -rf .venv .venv-* node_modules .toolchain build dist reports .pytest_cache .mypy_cache .ruff_cache .hypothesis

# For those who change Royalty (CONTRIBUTING.md).

test-lowest: $(PACKAGE_ENV) $(NODE_ENV) # the package's tests on the lowest versions that pyproject.toml allows
	scripts/test_range lowest-direct

test-newest: $(PACKAGE_ENV) $(NODE_ENV) # and on the newest that the registry has
	scripts/test_range highest

deletions: $(PACKAGE_ENV) $(NODE_ENV) # named rules taken out of a copy, one at a time: each must turn tests red
	$(PY) scripts/deletions.py $(DELETIONS)

faults-nightly: $(PACKAGE_ENV) $(NODE_ENV) # an hour of them, on a seed of the day unless SEED is given
	$(PY) -m tests.faults --seed $(or $(SEED),$(shell date +%Y%m%d)) --cycles 1000000 --minutes 60 $(FAULTS)

browser: $(BROWSER) # Chromium for the tests of pages, from npm

look: $(PACKAGE_ENV) $(BROWSER) # pictures of a page, to be looked at: make look PAGE=royalty-demo/left-out.html
	$(PY) scripts/look.py $(or $(PAGE),royalty-demo/left-out.html) reports/pictures

format: $(PACKAGE_ENV) $(NODE_ENV)
	.venv/bin/ruff check --fix-only --quiet .
	.venv/bin/ruff format .
	prettier --log-level warn --write 'contracts/**/*.sol' 'tests/forge/**/*.sol'

UV_COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make locks'

locks: $(PACKAGE_ENV) $(NODE_ENV)
	$(UV_COMPILE) pyproject.toml requirements/dev.in --output-file requirements/dev.txt
	$(UV_COMPILE) pyproject.toml --extra spark requirements/spark.in --constraint requirements/dev.txt \
	  --output-file requirements/spark.txt
	for name in build brownie node; do \
	  $(UV_COMPILE) requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done
	npm install --package-lock-only --ignore-scripts
	cd requirements/browser && npm install --package-lock-only --ignore-scripts

# The environments.

.venv/.locked: requirements/dev.txt
	@echo "Setting up the package's environment (.venv)"
	@"$(PYTHON)" -m venv --clear .venv
	@$(PY) $(PIP) -r requirements/dev.txt
	@touch $@

.venv/.installed: .venv/.locked pyproject.toml
	@$(PY) -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv-brownie/.installed: requirements/brownie.txt requirements/build.txt
	@echo "Setting up Brownie's environment (.venv-brownie)"
	@"$(PYTHON)" -m venv --clear .venv-brownie
	@.venv-brownie/bin/python $(PIP) -r requirements/build.txt
	@BROWNIE_NOCOMPILE=1 .venv-brownie/bin/python $(PIP) --no-build-isolation \
	  --no-binary eth-brownie -r requirements/brownie.txt
	@touch $@

# pyspark comes as source: it is built (copied, that is) with build.txt's tools. Its wheel is kept by pip.
.venv-spark/.installed: requirements/spark.txt requirements/build.txt pyproject.toml
	@echo "Setting up Spark's environment (.venv-spark), a download of 460 MB"
	@"$(PYTHON)" -m venv --clear .venv-spark
	@.venv-spark/bin/python $(PIP) -r requirements/build.txt
	@.venv-spark/bin/python $(PIP) --no-build-isolation -r requirements/spark.txt
	@.venv-spark/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Node of 20 or later with npm: this machine's, else PyPI's.
.toolchain/node.found: requirements/node.txt
	@mkdir -p .toolchain
	@if [ "$$(node -p 'process.versions.node.split(".")[0] >= 20' 2>&1)" != true ] || ! npm --version >/dev/null 2>&1; then \
	  echo "Setting up Node from PyPI (.toolchain/node)"; \
	  "$(PYTHON)" -m venv --clear .toolchain/node && .toolchain/node/bin/python $(PIP) -r requirements/node.txt; fi
	@touch $@

node_modules/.installed: package.json package-lock.json .npmrc .toolchain/node.found
	@echo "Setting up the compiler, Anvil and forge (node_modules)"
	@npm ci --silent || npm ci
	@scripts/check_natives
	@mkdir -p .toolchain/solcx && ln -sfn ../../scripts/solc .toolchain/solcx/solc-v$(SOLC_VERSION)
	@touch $@

# Where npm has none for this machine it says so and leaves no stamp; the tests then say what they skip.
$(BROWSER): requirements/browser/package-lock.json scripts/get_browser .toolchain/node.found
	@scripts/get_browser
