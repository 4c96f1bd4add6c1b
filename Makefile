# Needs make, and Python 3.11 or newer with venv.  PYTHON=python3.12 make ... picks another one.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help:  ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

run: $(VENV)/.test  ## run a whole private network on loopback
	$(BIN)/twistd -n --pidfile= ethp2p sandbox

test: $(VENV)/.test  ## run the tests
	$(BIN)/python -m twisted.trial tests

check: $(VENV)/.check  ## lint, types, floors, and packaging
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m twisted.trial tests.test_floors
	$(BIN)/python -m twisted.trial tests.crypto tests.rlpx tests.peers.test_postgres  # with the extras
	PYTHON=$(CURDIR)/$(BIN)/python tests/packaging.sh

fuzz: $(VENV)/.test  ## attack discovery with hostile datagrams for a minute
	$(BIN)/python -m tests.fuzz --seconds 60

load: $(VENV)/.test  ## flood a node with callers, and crowd it with peers
	$(BIN)/python -m tests.load

interop: $(VENV)/.test  ## speak with real foreign peers, installed on the way
	$(BIN)/python -m tests.interop

bench: $(VENV)/.bench  ## measure speed, side by side with foreign peers
	$(BIN)/python -m benchmarks

clean:  ## remove what was made
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis .coverage
	rm -f twisted/plugins/dropin.cache twistd.pid
	find ethp2p tests benchmarks twisted -name __pycache__ -prune -exec rm -rf {} +

# The environment, made again when what it holds has changed.
$(VENV)/.test: pyproject.toml setup.cfg
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
		"ethp2p needs Python 3.11 or newer, and $(PYTHON) is %d.%d: make PYTHON=... picks another" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[check]'
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,fast]'
	@touch $@

.PHONY: help run test check fuzz load interop bench clean
