# make run     stream an answer: from OpenAI if OPENAI_API_KEY is set, else from the built-in simulator
# make test    the tests: every behaviour once
# make test-all  the same, with what is exhaustive and long
# make check   the linter, the order of the packages, and the type checker
# make bench   measurements beside other clients
# make docs    the site of the documentation, in .site; and the pages that a program writes
# make man     the manual, from the options as they are now
# A fresh machine needs Python 3.11 or later, pip and make; the rest goes into .venv.

PYTHON ?= python3
VENV ?= .venv
PROMPT ?= What is Python?
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet

.PHONY: run test test-all check format bench docs man clean

run: $(VENV)/.installed
ifdef OPENAI_API_KEY
	@echo "make run: OPENAI_API_KEY is set, so the answer comes from OpenAI" >&2
	@$(BIN)/unspool --no-stdin -- "$$PROMPT"
else
	@echo "make run: OPENAI_API_KEY is not set, so the answer comes from the simulator" >&2
	@$(BIN)/unspool --sim --quiet --no-stdin -- "$$PROMPT"
endif
run: export PROMPT := $(PROMPT)

test: $(VENV)/.tools
	$(BIN)/python -m pytest -n auto

test-all: $(VENV)/.tools
	$(BIN)/python -m pytest -n auto --exhaustive

check: $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy

format: $(VENV)/.tools
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed
	$(BIN)/python -m bench

docs: $(VENV)/.docs
	$(BIN)/python tools/reference.py
	$(VENV)/docs/bin/zensical build --strict

man: $(VENV)/.installed
	$(BIN)/python tools/man_page.py

clean:
	rm -rf $(VENV) dist .bench .site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(PIP) -c .ci/requirements.txt -e .
	@touch $@

$(VENV)/.tools: $(VENV)/.installed .ci/requirements.txt
	$(PIP) -r .ci/requirements.txt
	$(PIP) --no-deps --upgrade --target $(VENV)/oldest 'uvicorn==0.34.0'
	@touch $@

# The site has an environment of its own, for its tools are nobody else's.
$(VENV)/.docs: $(VENV)/.installed .ci/docs.txt
	$(PYTHON) -m venv $(VENV)/docs
	$(VENV)/docs/bin/pip --disable-pip-version-check install --quiet -r .ci/docs.txt
	@touch $@
