# make demo    proves and verifies the bundled digit, and says where the proof is
# make test    format, lint, types and all tests but soak and bench: what CI runs
# make check   the quick part of it, in under a minute
# make native  builds and installs the Rust halves of plugins, each once; make test does it by itself
# make bench   the measurements; make soak the long tests; make lock the pinned requirements
# make test-ipfs  the IPFS storage against a real daemon from npm (some minutes to install)
# make test-osiris  tensors in the osiris wire format against giza-osiris itself, in an environment of its own
# Everything lives in .venv. Only Python 3.11 or newer and make are needed; cargo for native, go and node for some tests.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/dev.txt
DISTRIBUTIONS := . $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml tests/plugins/*/pyproject.toml))
SOURCES := balance_core plugins tests tools examples benchmarks docs
INSTALLED := $(VENV)/.installed
PLUGIN_TESTS := $(wildcard plugins/*/tests)
FAST := not slow and not bench and not soak

.PHONY: demo test check bench soak lock static native test-ipfs test-osiris clean

demo: $(INSTALLED)
	@BALANCE_HOME=$${BALANCE_HOME:-$(CURDIR)/.balance} $(BIN)/balance run --backend ezkl

# A plugin's tests are its distribution's own, so each runs by itself, before the long ones of the core.
test: static native
	@for folder in $(PLUGIN_TESTS) tests; do \
	    echo "== $$folder"; $(BIN)/python -m pytest -m "not bench and not soak" $$folder || exit 1; done

# Without cargo everything else is still built and tested; BALANCE_REQUIRE names what must be there.
native: $(INSTALLED)
	@$(BIN)/python tools/native_wheels.py

check: static
	$(BIN)/python -m pytest -m "$(FAST)" tests/core tests/test_cid.py

static: $(INSTALLED)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy

test-ipfs: $(INSTALLED)
	BALANCE_IPFS_DAEMON="$$($(BIN)/python plugins/storage_ipfs/tests/daemon.py)" \
	    $(BIN)/python -m pytest plugins/storage_ipfs/tests/test_daemon.py

test-osiris:
	$(PYTHON) -m venv $(VENV)-osiris
	$(VENV)-osiris/bin/python -m pip install --quiet --disable-pip-version-check giza-osiris==0.2.9 pytest hypothesis \
	    -c plugins/giza_orion/giza-constraints.txt
	PYTHONPATH=$(CURDIR):$(CURDIR)/plugins/giza_orion $(VENV)-osiris/bin/python -m pytest --noconftest -p no:cacheprovider \
	    plugins/giza_orion/tests/test_osiris.py

bench: native
	@for script in $(filter-out benchmarks/common.py benchmarks/ezkl_alone.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done
	@for folder in $(PLUGIN_TESTS) tests; do $(BIN)/python -m pytest -m bench $$folder || test $$? = 5 || exit 1; done

soak: native
	@for folder in $(PLUGIN_TESTS) tests; do $(BIN)/python -m pytest -m soak $$folder || test $$? = 5 || exit 1; done

lock:
	uv pip compile pyproject.toml plugins/*/pyproject.toml --group pyproject.toml:dev --all-extras --universal \
	    --overrides requirements/overrides.txt --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-package balance-core \
	    $(foreach folder,$(wildcard plugins/*/pyproject.toml),--no-emit-package \
	    $(shell sed -n 's/^name = "\(.*\)"/\1/p' $(folder))) --custom-compile-command "make lock" -o $(LOCK)

clean:
	rm -rf $(VENV) $(VENV)-osiris .balance

# The environment is made anew when a version is pinned differently; it works twice in a row.
$(INSTALLED): $(LOCK) $(addsuffix /pyproject.toml,$(DISTRIBUTIONS))
	@test -n "$(PYTHON)" || { echo "error: Python is missing: install Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: $(PYTHON) is older than Python 3.11: install that, or say make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "error: Python's venv module is missing: install it (on Debian: apt install python3-venv)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned requirements into $(VENV) (about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	    $(foreach folder,$(DISTRIBUTIONS),-e $(if $(filter .,$(folder)),.,./$(folder)))
	@touch $@
