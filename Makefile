# Two commands do everything on a fresh machine with Python >= 3.11: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
NETWORK ?= networks/quickstart.yaml

.PHONY: run test test-slow lint reference scoreboard benchmarks

run: $(VENV)/.installed
	$(BIN)/noble-net run $(NETWORK)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict noble_net

# The same small network on NEURON and on the surrogate, and how far apart they are.
reference: $(VENV)/.installed-test
	$(BIN)/noble-net run networks/pv-small.yaml --backend neuron --out runs/pv-small-neuron
	$(BIN)/noble-net run networks/pv-small.yaml --out runs/pv-small-surrogate
	$(BIN)/noble-net compare runs/pv-small-neuron runs/pv-small-surrogate

scoreboard: $(VENV)/.installed
	$(BIN)/python benchmarks/scoreboard.py

# All that trains nothing and needs no GPU: hours. single_cell.py makes pv-stream's dataset, which others read;
# benchmarks/README.md says what is left out, and why.
benchmarks: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/solver.py
	$(BIN)/python benchmarks/single_cell.py
	$(BIN)/python benchmarks/rivals.py
	$(BIN)/python benchmarks/fit.py
	$(BIN)/python benchmarks/network.py
	$(BIN)/python benchmarks/families.py
	$(BIN)/python benchmarks/exactness.py
	$(BIN)/python benchmarks/simulators.py
	$(BIN)/python benchmarks/network_layer.py
	$(BIN)/python benchmarks/ranks.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/performance_model.py
	$(BIN)/python benchmarks/core_cost.py pv-stream
	$(BIN)/python benchmarks/core_cost.py pv-zones
	$(BIN)/python benchmarks/dendrites.py pv-zones
	$(BIN)/python benchmarks/dendrites.py nr5a1-zones
	$(BIN)/python benchmarks/patch.py
	$(BIN)/python benchmarks/streaming_core.py
	$(BIN)/python benchmarks/respond.py
	$(BIN)/python benchmarks/noble.py
	$(BIN)/python benchmarks/dry_run.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/scoreboard.py --readme

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	touch $@

# torch is pinned by the extra [train]; asking for it first keeps pip from considering other builds.
$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable '.[reference,train,test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml | $(VENV)/.installed-test
	$(BIN)/pip install --quiet --editable '.[reference,train,test,bench]'
	touch $@
