# Each target does its own set-up: all it needs is Python 3.10 or newer with venv, and git. With GCC
# or Clang the kernels for the CPU are compiled, too.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-napari test-pure test-oldest coverage asan tsan fuzz torture lint docs clean

help:
	@echo "make demo       train on noisy pairs, then denoise a photograph (some minutes)"
	@echo "make test       run the tests"
	@echo "make test-napari  run the tests of the plugin for napari, without a screen"
	@echo "make test-pure  run the tests without the compiled kernels"
	@echo "make test-oldest PYTHON=python3.10  run them with the oldest packages that are allowed"
	@echo "make coverage   run the tests, and print the lines that they don't reach"
	@echo "make asan       test the compiled kernels with AddressSanitizer (needs g++ on Linux)"
	@echo "make tsan       look for data races in them with ThreadSanitizer (the same)"
	@echo "make fuzz       feed damaged files to every reader: make fuzz SECONDS=600 SEED=1"
	@echo "make torture    kill, fill and share what the commands write (an hour): make torture SIZE=0.1"
	@echo "make lint       check style, imports and types"
	@echo "make docs       build the documents and the API reference into build/site"
	@echo "make clean      remove the environment, caches and built packages"
	@echo "All but the last install what they need into $(VENV). Another Python: make test PYTHON=python3.12"
	@echo "Some of the tests: make test TESTS=tests/chainrule"

demo: $(INSTALLED)
	$(BIN)/noise2noise demo --overwrite

# One thread for each of the two workers: tensors in tests are too small to share.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 $(TESTS)

test-pure: $(INSTALLED)
	CHAINRULE_BACKEND=reference OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 $(TESTS)

# Those that need napari and Qt, which are many packages and no part of `dev`.
# xvfb-run  a screen that nobody sees, where .ci/screen has installed it
# -p        pytest's plugins of napari and Qt, which pyproject.toml turns off elsewhere
# -W        napari and its libraries warn of each other
test-napari: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[dev,napari]' 'napari[pyqt6]' pytest-qt
	OMP_NUM_THREADS=1 $$(command -v xvfb-run) $(BIN)/pytest -p pytest-qt -p npe2 -p napari \
		-W ignore::DeprecationWarning tests/noise2noise/napari
# What pyproject.toml names in the lowest versions that it allows, in an environment of its own. On
# Linux the oldest PyTorch comes with its GPU libraries, 5 GB: UV_TORCH_BACKEND=cpu leaves them out.
# What old packages call of newer ones may be deprecated; that is not for our tests to judge.
test-oldest:
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/pip install --disable-pip-version-check uv
	build/oldest/bin/uv pip install --python build/oldest --resolution lowest-direct -e '.[dev]'
	OMP_NUM_THREADS=1 build/oldest/bin/python -m pytest -n 2 -W default::DeprecationWarning \
		-W default::PendingDeprecationWarning $(TESTS)

# Prints which lines of src/ no test reaches, and at last how many these are.
coverage: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --cov --cov-report=term-missing:skip-covered \
		--cov-report=json:build/coverage/lines.json $(TESTS); status=$$?; \
	$(BIN)/python -c 'import json; \
		found = json.load(open("build/coverage/lines.json"))["totals"]; \
		print("{missing_lines} of {num_statements} lines are neither covered nor justified; " \
			"{excluded_lines} are justified".format_map(found))'; exit $$status

# The package again, in a folder of its own.
# SKBUILD_WHEEL_CMAKE        a build that fails is an error here, not made up for by plain Python
# RelWithDebInfo             the report names lines
# -S                         the editable install of $(VENV) doesn't come first
# LD_PRELOAD                 Python isn't sanitized, so the sanitizer must be there before it, and
#                            with it the C++ library, whose exceptions it follows
# detect_leaks=0             Python leaks on purpose
# allocator_may_return_null  absurd sizes are refused as they are without the sanitizer
# ignore_noninstrumented_modules  locks inside PyTorch, which isn't sanitized, are not seen
# setarch -R                 GCC's ThreadSanitizer knows addresses that aren't randomized only
# --capture=sys              the report is written past Python
# -k threads                 the tests in which there are several
SANITIZED_PATH = build/$@:$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
SANITIZED_PRELOAD = $$(g++ -print-file-name=lib$@.so) $$(g++ -print-file-name=libstdc++.so)
SANITIZED_TESTS = $(BIN)/python -S -m pytest --capture=sys tests/chainrule/test_native.py \
	tests/chainrule/test_native_rows.py

asan: $(INSTALLED)
	$(call sanitized,address)
	PYTHONPATH=$(SANITIZED_PATH) LD_PRELOAD="$(SANITIZED_PRELOAD)" \
		ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 $(SANITIZED_TESTS)

tsan: $(INSTALLED)
	$(call sanitized,thread)
	PYTHONPATH=$(SANITIZED_PATH) LD_PRELOAD="$(SANITIZED_PRELOAD)" \
		TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1:exitcode=66 \
		setarch -R $(SANITIZED_TESTS) -k threads

define sanitized
	rm -rf build/$@
	CXX=g++ SKBUILD_WHEEL_CMAKE=true SKBUILD_CMAKE_BUILD_TYPE=RelWithDebInfo \
		SKBUILD_CMAKE_DEFINE=CHAINRULE_SANITIZE=$(1) \
		$(BIN)/pip install --disable-pip-version-check --no-deps --target build/$@ .
endef

# Every damaged file follows from the seed, which is printed, and is another one each time.
fuzz: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(READER),--reader $(READER)) $(if $(CASE),--case $(CASE))

# Kills, full disks, several processes at one folder, memory, shapes: docs/reliability.md. Less than
# an hour; SIZE=0.1 does a tenth of it.
torture: $(INSTALLED)
	$(BIN)/python -m tests.torture $(if $(SIZE),--size $(SIZE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(KNOCK),--knock $(KNOCK))

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run -Werror native/*.hpp native/*.cpp
	$(BIN)/lint-imports --no-logo
	$(BIN)/pyright

# A warning is an error, which --quiet would hide.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html"

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks ee559 examples -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch comes first and alone, so that nothing else has a say in which build of it is taken.
$(INSTALLED): pyproject.toml constraints.txt $(wildcard native/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, and $(PYTHON) is %s; name another, as in: make test PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
