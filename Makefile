# make demo   set up, make a sound and its picture with the bundled starter model
# make test   set up, lint, format check, types, import rules, tests
# make check  the checks of `make test` without the tests
# make clean  remove what these commands made
#
# PYTHON=python3.12 chooses the interpreter; PIP_ARGS="..." is passed on to pip, for example
# `PIP_ARGS="--extra-index-url URL"` for an index that has a build of torch without CUDA.

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) -c constraints.txt

PROMPT := a dog barking
SEED := 0

.PHONY: demo test check lint types rules clean

demo: $(VENV)/.installed-starter
	@mkdir -p demo && rm -f demo/a-dog-barking.*
	@begin=$$(date +%s); \
	$(BIN)/ezaudio generate "$(PROMPT)" --model starter --seed $(SEED) --spectrogram \
	    -o demo/a-dog-barking.wav && \
	end=$$(date +%s) && \
	echo "\"$(PROMPT)\", made in $$((end - begin)) s, with loading:" && \
	echo "  sound    $(CURDIR)/demo/a-dog-barking.wav" && \
	echo "  picture  $(CURDIR)/demo/a-dog-barking.png"

test: check
	$(BIN)/python -m pytest --cov --cov-report=term

check: lint types rules

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

rules: $(VENV)/.installed-dev
	$(BIN)/lint-imports

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or later is needed: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "python3 -m venv failed: install your system's package for it (python3-venv)"; exit 1; }

$(VENV)/.installed-starter: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) (torch is a large download) ..."
	@$(PIP) -e ".[starter]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) (torch is a large download) ..."
	@$(PIP) -e ".[starter,dev]"
	@touch $@ $(VENV)/.installed-starter

clean:
	rm -rf $(VENV) demo .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
