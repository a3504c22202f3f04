# The two commands are `make demo` and `make test`; each makes its own environment in .venv, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint build bench clean

demo: $(VENV)/.built
	$(BIN)/cordboard demo

test: $(VENV)/.tools lint
	$(BIN)/python -m pytest tests

lint: $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.tools
	$(BIN)/python -m pytest benchmarks --benchmark-enable -o addopts= -q

build: $(VENV)/.tools
	$(BIN)/python setup.py build_ext --inplace
