# What people run. Only Python >= 3.11 (with its venv module) and make are needed.

PYTHON ?= python3
SITE ?= colossus1
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
COLOSSUS := $(PY) -m twin
PIP := $(PY) -m pip --disable-pip-version-check --quiet

.PHONY: help demo test test-stack soak servers servers-stop lint format recordings schemas bench bench-stack clean

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-13s%s\n", $$1, $$2}' Makefile

demo: $(VENV)/.installed  ## run the twin in one process and show it (SITE=mini for small machines, ARGS=... for flags)
	$(COLOSSUS) demo --site $(SITE) $(ARGS)

test: lint  ## all checks, and all tests that need only Python
	$(PY) -m pytest -q -n auto --maxprocesses 4 --dist worksteal --ignore=tests/stack

test-stack: $(VENV)/.installed-dev  ## tests on a real Kafka and a real InfluxDB, which it fetches, starts and stops
	$(PY) -m tests.stack.servers fetch
	$(PY) -m pytest -q tests/stack

soak: $(VENV)/.installed-dev  ## the same with outages of minutes, and how fast the history makes up for them
	$(PY) -m pytest -q tests/stack/test_workers_and_outages.py --outage-s 180
	$(PY) -m tests.stack.soak --seconds 600

servers: $(VENV)/.installed-dev  ## start a real Kafka and a real InfluxDB without Docker, and leave them running
	$(PY) -m tests.stack.servers start

servers-stop: $(VENV)/.installed-dev  ## stop them; their data stays in .servers/
	$(PY) -m tests.stack.servers stop

lint: $(VENV)/.installed-dev  ## style, format, types, layers
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.installed-dev  ## put the code into its form
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

recordings: $(VENV)/.installed  ## make the recordings of incidents that come with the twin, into data/recordings
	$(COLOSSUS) recording make

schemas: $(VENV)/.installed  ## write the JSON Schema of every topic
	$(COLOSSUS) schemas

bench: $(VENV)/.installed  ## print the figures of the plant alone and of the whole process
	$(COLOSSUS) bench plant --site $(SITE)
	$(COLOSSUS) bench stream --embedded --site $(SITE)

bench-stack: servers  ## print the figures of the stream with every process apart, on these servers
	. .servers/settings; . .servers/settings-admin; $(COLOSSUS) bench stream --site $(SITE)

clean:  ## remove the environment and all caches; data/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment: made once, and filled anew whenever pyproject.toml changes.

$(PY):
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) is not there: install Python 3.11 or newer, or name one: make demo PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed; name one: make demo PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "the module venv is missing (on Debian and Ubuntu: the package python3-venv)" >&2; exit 2; }

$(VENV)/.installed: pyproject.toml | $(PY)
	@echo "installing what is needed into $(VENV)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(PY)
	@echo "installing what is needed for tests into $(VENV)"
	@$(PIP) install --editable '.[dev]'
	@touch $(VENV)/.installed $@
