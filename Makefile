# make demo: install and fit an example.  make test: install with the test tools and run the tests.

PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python

.PHONY: demo test slow lint types layers bench all clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.installed
	$(PY) -m jaxglmm demo

test: $(VENV)/.installed-dev
	$(PY) -m pytest -n auto

slow: $(VENV)/.installed-dev
	$(PY) -m pytest -n auto -m slow

lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/.installed-dev
	$(PY) -m pyright --pythonpath $(PY)

layers: $(VENV)/.installed-dev
	$(VENV)/bin/lint-imports

bench: $(VENV)/.installed
	$(PY) -m pip install --disable-pip-version-check --quiet -e ".[peers]"
	$(PY) -m benchmarks.run

all: lint types layers test slow demo

clean:
	rm -rf $(VENV)

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxglmm needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check --quiet -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	$(PY) -m pip install --disable-pip-version-check --quiet -e ".[dev]"
	touch $@
