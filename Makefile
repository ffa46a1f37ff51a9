# Everything runs in .venv, which any target makes first. Needs Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder
INSTALL := $(BIN)/uv pip install --python $(BIN)/python -c constraints.txt
# Hundreds of processes start in the tests, three in a run: where this is set, each compiles torch anew, in half a minute.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long lint benchmarks clean

demo: $(VENV)/.installed
	$(BIN)/harness run
	$(BIN)/harness ensemble --optimize

test: $(VENV)/.installed-test
	$(PYTEST) -m "not long" $(ARGS)

test-long: $(VENV)/.installed-test
	$(PYTEST) -m long $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmarks: $(VENV)/.installed-test
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(VENV)/.installed: $(VENV)/bin/uv pyproject.toml constraints.txt
	$(INSTALL) --quiet -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed pyproject.toml constraints.txt
	$(INSTALL) --quiet -e '.[test]'
	touch $@
