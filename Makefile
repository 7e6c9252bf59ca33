# Everything a newcomer needs: make demo, make ui, make test.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= default
# the default profile lies where `lwd` looks; the others beside it
DEMO_HOME ?= $(if $(filter default,$(PROFILE)),lwd-data,lwd-data-$(PROFILE))
PORT ?= 3000
NAME ?= ingest
ARGS ?=

# One thread a process: OpenMP on both cores collapses as soon as a second process runs.
export OMP_NUM_THREADS ?= 1
export PYTHONUNBUFFERED := 1

.PHONY: help setup system system-test demo ui lint docs audit test bench paper clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: system $(VENV)/.ready  ## virtual environment and packages

# The simulated robots' cameras render without a screen through EGL; the tests open the UI in a browser
# and keep Dagster's state in a database.
system: PACKAGES = libegl1 libegl-mesa0 libgl1-mesa-dri
system-test: PACKAGES = chromium postgresql
system-test: system
system system-test:
	@if ! dpkg -s $(PACKAGES) >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    $(PACKAGES); \
	fi

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs,dev]'
	touch $@

demo: setup  ## the whole loop, PROFILE=default|eyes|tiny
	$(BIN)/python -m pipelines.demo --profile $(PROFILE) --home $(DEMO_HOME)

ui: setup  ## the Dagster UI over what the demo made, on 127.0.0.1:PORT
	$(BIN)/python -m pipelines.ui --home $(DEMO_HOME) --port $(PORT)

lint: setup  ## formatting, lint, types (strict errors may only fall), import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python .ci/types
	$(BIN)/lint-imports

docs: setup  ## the site, warnings are errors, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

audit: setup  ## known holes in the pinned dependencies; needs the network
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python .ci/audit

# Three workers on two cores: one often waits, for a server or a robot that keeps real time.
test: system-test lint  ## lint and every test
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: setup  ## one benchmark: NAME=ingest ARGS=--json
	$(BIN)/python -m benchmarks.$(NAME) $(ARGS)

paper: setup  ## the paper's table into docs/results.md, one seed: ARGS="--seed 1 --rows sft,lwd"; goes on where it was
	$(BIN)/python -m benchmarks.paper $(ARGS)

clean:  ## what the demo made
	rm -rf lwd-data lwd-data-*
