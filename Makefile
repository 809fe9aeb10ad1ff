# B3OS: `make up` starts everything, `make test` passes everything. Both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CORES := $(wildcard b3os/_speedups/*.pyx b3os/_speedups/*.pxi b3os/_speedups/*.pxd)

.PHONY: up setup test examples debug-test lint bench bench-quick bench-peers clean demo-chain lock faults

up: setup
	@exec $(BIN)/b3os up $(ARGS)

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml setup.py $(CORES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv 2>/dev/null || echo "uv not available: installing with pip"
	@if [ -x $(BIN)/uv ]; then \
	  VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install -q --compile-bytecode -r requirements.lock && \
	  VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install -q --no-deps --no-build-isolation -e . ; \
	else \
	  $(BIN)/python -m pip install -q -r requirements.lock && \
	  $(BIN)/python -m pip install -q --no-deps --no-build-isolation -e . ; \
	fi
	@$(BIN)/python setup.py -q build_ext --inplace
	@$(BIN)/python -m compileall -q b3os services
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -q
	$(BIN)/python -m bench --quick

# Every comparison of a compiled core with its model, with EXAMPLES examples each: about 45 minutes of one core.
EXAMPLES ?= 10000
examples: setup
	B3OS_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q --timeout=3600 tests/speedups

# The cores with bounds checks and line tracing, in a copy of the tree: the normal build stays as it is.
debug-test: setup
	@rm -rf build/debug && mkdir -p build/debug
	@cp -r b3os services demo migrations bench tests setup.py pyproject.toml README.md build/debug/ && rm -f build/debug/b3os/_speedups/*.so
	cd build/debug && B3OS_DEBUG_BUILD=1 $(CURDIR)/$(BIN)/python setup.py -q build_ext --inplace
	cd build/debug && $(CURDIR)/$(BIN)/python -m pytest -q tests/speedups

# Every fault scenario, on real processes; `make test` has the short ones.
faults: setup
	$(BIN)/python -m pytest -q tests/faults -m "long or not long" --durations=20

bench: setup
	$(BIN)/python -m bench

bench-quick: setup
	$(BIN)/python -m bench --quick

# Other engines and queues beside ours, on this machine. The first time they are installed into build/peers (npm, PyPI; 3.5 GB).
bench-peers: setup
	$(BIN)/python -m bench.peers

clean:
	rm -rf build *.egg-info .venv .mypy_cache .ruff_cache .pytest_cache b3os/_speedups/*.so

lock:
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --extra dev pyproject.toml -o requirements.lock

demo-chain: setup
	@$(BIN)/python -m demo.chain
