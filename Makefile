# Every target creates what it needs. Python 3.11 or newer is all that must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check format lock clean

demo: $(STAMP)  ## Run the whole path on this machine; results in demo-out/
	$(BIN)/custodes demo

test: $(STAMP)  ## Run every test; no network needed
	$(BIN)/pytest -n 2 --dist worksteal

check: $(STAMP)  ## Lint, strict types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: pyproject.toml  ## Resolve dependencies anew into requirements.lock
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet 'torch==2.13.0' '.[dev]'
	.venv-lock/bin/pip freeze --exclude custodes | sed 's/+cpu$$//' > requirements.lock
	rm -rf .venv-lock

clean:  ## Remove the virtual environment and results
	rm -rf $(VENV) demo-out

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Custodes needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
