# Each target does its own set-up: all it needs is Python 3.10 or newer with venv, and git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint clean

help:
	@echo "make demo    train on noisy pairs, then denoise a photograph (some minutes)"
	@echo "make test    run the tests"
	@echo "make lint    check style and types"
	@echo "make clean   remove the environment, caches and built packages"
	@echo "The first three install what they need into $(VENV). Another Python: make test PYTHON=python3.12"

demo: $(INSTALLED)
	$(BIN)/noise2noise demo --overwrite

# One thread for each of the two workers: tensors in tests are too small to share.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch comes first and alone, so that nothing else has a say in which build of it is taken.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, and $(PYTHON) is %s; name another, as in: make test PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
