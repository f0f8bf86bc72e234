# make demo, make test: both set everything up first, once.
.DEFAULT_GOAL := help
.PHONY: help demo test slow lint bench rates nightly clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Most tests compile a program to run it once: optimising it would take longer than it saves.
UNOPTIMISED := --xla_backend_optimization_level=0

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

# The first Python of at least 3.12 that this machine has, pyenv's versions included.
$(STAMP): pyproject.toml
	@set -e; \
	home=$${HOME:-$$(getent passwd "$$(id -u)" | cut -d: -f6)}; \
	for python in python3.14 python3.13 python3.12 python3 "$${PYENV_ROOT:-$$home/.pyenv}"/versions/*/bin/python; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "no Python of at least 3.12 was found: install one, for example with 'uv python install 3.13'" >&2; exit 1; \
	fi; \
	echo "setting up $(VENV) with $$found" >&2; \
	"$$found" -m venv --clear $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'; \
	touch $(STAMP)

demo: $(STAMP) ## the main job: four models, checked; pages under out/
	@$(BIN)/python -m ppl_worldmodel.demo

test: $(STAMP) lint ## lint, then all tests but the slow and the nightly ones
	@XLA_FLAGS="$$XLA_FLAGS $(UNOPTIMISED)" $(BIN)/python -m pytest -q -n auto --dist loadfile --durations=25 -m "not slow and not optimised and not nightly"

slow: $(STAMP) ## the slow tests, before a change lands
	@XLA_FLAGS="$$XLA_FLAGS $(UNOPTIMISED)" $(BIN)/python -m pytest -q -n auto --dist loadfile --durations=25 -m "slow and not optimised and not nightly"
	@$(BIN)/python -m pytest -q -n auto -m "optimised and not nightly"

lint: $(STAMP) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(STAMP) ## measure: speed side by side, ratios
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,referees]'
	@for script in analyses/benchmarks/*.py; do $(BIN)/python "$$script" || exit 1; done

rates: $(STAMP) ## measure: error rates of the verdicts (an hour)
	@$(BIN)/python -m tests.faults.verdict_rates

nightly: $(STAMP) ## the long tests, with every referee
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,referees]'
	@$(BIN)/python -m pytest -q -n auto --dist loadfile

clean: ## remove the environment and what was made
	rm -rf $(VENV) out build dist *.egg-info
