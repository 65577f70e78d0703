# Everything runs from .venv, which `make install` builds from requirements.lock.
#   make mnist                   the main job, about two minutes
#   make test                    the tests; PYTEST_ARGS= runs the long ones too, as CI does
#   make chaos                   kills of random processes of real runs; KILLS=100 (an hour)
#   make audit                   known flaws of the locked packages
#   make bench                  the benchmarks, hours; BENCH_ARGS=--short takes minutes
#   make lock                    pyproject.toml or Auto-PyTorch's requirements.in changed;
#                                LOCK_ARGS=--upgrade moves every pin of the former
#   make install PYTHON=python3.12

PYTHON ?= python3
PYTEST_ARGS ?= -m "not long"
LOCK_ARGS ?=
AUDIT_ARGS ?= --vulnerability-service osv
KILLS ?= 100
BENCH_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# pip compiles on one core; this takes them all.
COMPILE := $(BIN)/python -W ignore -m compileall -qq -j 0

AUDIT := $(VENV)/audit
APT := pipeline_lib/search/autopytorch

.PHONY: install mnist test check up lock audit chaos clean

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "install: $(PYTHON) is no Python 3.11 or newer; name one: make $(or $(MAKECMDGOALS),install) PYTHON=python3.12" >&2; exit 2; }
	@test -x $(BIN)/pip || { echo "install: a virtual environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "install: packages from requirements.lock (the first time: minutes, about 6 GB)"
	@$(PIP) install --no-compile --require-hashes --only-binary :all: -r requirements.lock
	@$(COMPILE) $(VENV)/lib || true  # a few packages carry files that are no Python for this version
	@echo "install: automl itself, editable"
	@$(PIP) install --no-index --no-build-isolation -e . || { \
		echo "install: requirements.lock does not cover pyproject.toml: make lock" >&2; exit 1; }
	@echo "install: empty databases for new state directories"
	@$(BIN)/python -m flows.templates
	@touch $@

mnist: install
	@$(BIN)/automl run mnist

test: install
	@$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

check: install
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@echo "check: style and types are clean"

bench: install
	@$(BIN)/python -m benchmarks all $(BENCH_ARGS)

up: install
	@$(BIN)/automl up

chaos: install
	@$(BIN)/python -W ignore tests/chaos/harness.py --kills $(KILLS)

lock: | $(BIN)/uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --only-binary :all: \
		--generate-hashes --custom-compile-command "make lock" --output-file requirements.lock \
		$(LOCK_ARGS) pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-deps --no-annotate \
		--generate-hashes --custom-compile-command "make lock" --output-file $(APT)/requirements.lock \
		$(APT)/requirements.in
	@echo "lock: requirements.lock and $(APT)/requirements.lock are up to date"

# Known flaws of the locked packages; says when nobody could be asked. AUDIT_ARGS="--osv-url URL"
# asks a mirror.
audit: | $(AUDIT)/bin/pip-audit
	@$(PYTHON) .ci/audit.py $(AUDIT)/bin/pip-audit requirements.lock $(AUDIT_ARGS)

$(AUDIT)/bin/pip-audit:
	@$(PYTHON) -m venv $(AUDIT)
	@$(AUDIT)/bin/pip --disable-pip-version-check -qq install pip-audit==2.10.1 || { \
		echo "audit: nothing was checked: pip-audit cannot be installed" >&2; exit 3; }

$(BIN)/uv:
	@$(MAKE) --no-print-directory install

clean:
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -path ./.automl -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean: the environment and the caches are gone; .automl (data, studies, models) stays"
