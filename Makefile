# `make demo` and `make test` need Python 3.11 or newer and nothing else; the virtual environment is made in .venv.
# PYTHON=... names another interpreter, VENV=... another place, RTMOTION_TEST_DATA=... a folder of real 4D CT.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# a worker that crashes ends the run: with files as units, a new one waits for ever
TEST_WORKERS ?= auto

.PHONY: help demo test lint types format clean

help:
	@echo "make demo    a generated patient, its forecast, the comparison with the quick baselines, the report"
	@echo "make test    the test suite"
	@echo "make lint    ruff            make types   mypy            make format  ruff, rewriting"
	@echo "make clean   removes what the above left behind, the virtual environment included"

demo: $(VENV)/.installed
	$(BIN)/rtmotion demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --maxprocesses=8 --dist loadfile --max-worker-restart=0 $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "rtmotion needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# one stamp an extra: an installation is repeated only when the dependencies change
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[test,dev]'
	@touch $(VENV)/.installed $(VENV)/.installed-test $@
