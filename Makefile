PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CONFIG ?= sweeps/quickstart.py

.PHONY: sweep test lint format bench clean

# Train, measure and plot: make sweep CONFIG=sweeps/weight_decay.py ARGS="--config.steps=5000"
sweep: $(VENV)/ready
	$(BIN)/python -m grokjax.sweep --config $(CONFIG) $(ARGS)

test: $(VENV)/ready-dev
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Compares with PyTorch where it is installed: pip install ".[torch]" modelbatch
bench: $(VENV)/ready
	$(BIN)/python -m experiments.throughput --out $(or $(OUT),throughput.json) $(ARGS)

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f'grokjax needs Python 3.11 or newer; this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/ready-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/ready

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
