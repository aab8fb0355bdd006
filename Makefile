# Every target makes the environment it needs; nothing but Python 3.11+ and make has to be there.
SHELL  := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
TIMED  := bash tools/timed

.PHONY: help env book pdf test lint unit browser lab lock format clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 12

env: $(STAMP) ## make .venv with everything the book and the tests need

$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "No Python >= 3.11 found: install one, or name it with" \
		"make PYTHON=/path/to/python" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV)
	$(TIMED) "install" $(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

book: $(STAMP) ## execute every notebook and build _build/html/index.html (warnings are errors)
	$(TIMED) "book" $(BIN)/python tools/build_book.py
	@echo "Open _build/html/index.html in a browser."

pdf: book ## the book as one PDF, _build/toscore.pdf, printed by Chromium or Chrome
	$(TIMED) "pdf" $(BIN)/python tools/build_pdf.py

test: $(STAMP) ## everything CI runs: lint, unit tests, the book, the book in a browser
	@$(MAKE) --no-print-directory lint unit
	$(TIMED) "book" $(BIN)/python tools/build_book.py --force
	@$(MAKE) --no-print-directory browser
	@echo; echo "where the time went"; cat .make/times; rm .make/times

lint: $(STAMP) ## style of code and notebooks, and that notebooks hold no outputs
	$(TIMED) "ruff check" $(BIN)/ruff check .
	$(TIMED) "ruff format" $(BIN)/ruff format --check .
	$(TIMED) "no outputs" $(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb

unit: $(STAMP) ## unit and property tests
	$(TIMED) "unit tests" $(BIN)/python -m pytest -m "not browser" -n logical --dist worksteal

browser: $(STAMP) ## open every page of the built book in a headless browser
	$(TIMED) "browser tests" $(BIN)/python -m pytest -m browser -n logical \
		tests/test_built_book.py tests/test_playground.py

lab: $(STAMP) ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

lock: $(STAMP) ## pin every dependency anew, for all platforms, in requirements.lock
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--no-emit-index-url --custom-compile-command "make lock" --quiet \
		--output-file requirements.lock
	$(BIN)/python tools/environment_yml.py

format: $(STAMP) ## format code and notebooks, strip outputs
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout --keep-id notebooks/*.ipynb

clean: ## remove what was built; the environment and the results stay
	rm -rf _build .make .pytest_cache .ruff_cache .hypothesis
