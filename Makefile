PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CONFIG ?= sweeps/quickstart.py
TINY = --config.modulus=7 --config.d_model=8 --config.num_heads=2 --config.d_mlp=16 --config.steps=100

.PHONY: sweep test test-all lint format docs gallery package mutants torture bench bench-check gpu-check clean

# Train, measure and plot: make sweep CONFIG=sweeps/weight_decay.py ARGS="--config.steps=5000"
sweep: $(VENV)/ready
	$(BIN)/python -m grokjax.sweep --config $(CONFIG) $(ARGS)

# What to run after each change: at most five minutes on two cores.
test: $(VENV)/ready-dev
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

# All tests, those marked slow too.
test-all: $(VENV)/ready-dev
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation site in build/site; warnings and broken links are errors.
docs: $(VENV)/ready-dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/site

# docs/gallery from the workdirs that are there: make gallery WORKDIRS=runs
gallery: $(VENV)/ready
	$(BIN)/python -m experiments.gallery --workdirs $(or $(WORKDIRS),runs) $(ARGS)

# The wheel, in an environment of its own and a folder without the sources: its commands, its sweeps.
package: $(VENV)/ready-dev
	rm -rf build dist $(VENV)/wheel
	$(BIN)/python -m build --outdir dist . >$(VENV)/build.log 2>&1 || (cat $(VENV)/build.log; exit 1)
	$(BIN)/python -m venv $(VENV)/wheel
	$(VENV)/wheel/bin/python -m pip install --quiet dist/*.whl
	cd $(VENV)/wheel && bin/grokjax --version && bin/grokjax parts measure >parts.txt && \
	  bin/grokjax sweep --config quickstart $(TINY) && bin/grokjax report runs/quickstart && \
	  bin/grokjax explore runs/quickstart && bin/grokjax publish runs/quickstart --to public && \
	  bin/python -m grokjax.sweep --config sweeps/weight_decay.py --help >help.txt

# Deliberate faults, which the tests must find.
mutants: $(VENV)/ready-dev
	$(BIN)/python -m tests.mutants $(ARGS)

# Kills, damage, full disks, two processes: counts of outcomes.
torture: $(VENV)/ready-dev
	$(BIN)/python -m tests.torture $(ARGS)

# Compares with PyTorch where it is installed: pip install ".[torch]"
bench: $(VENV)/ready
	$(BIN)/python -m experiments.benchmarks --out $(or $(OUT),benchmarks.json) $(ARGS)

# Fails if a step, an evaluation or the measures take 15 % more or less than recorded, in products.
bench-check: $(VENV)/ready
	$(BIN)/python -m experiments.benchmarks check $(ARGS)

# At most eight minutes on a machine with one GPU, without network: tests, speed, memory, peers.
gpu-check: $(VENV)/ready-dev
	$(BIN)/python -m experiments.benchmarks gpu --out $(or $(OUT),gpu.json) $(ARGS)

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
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
