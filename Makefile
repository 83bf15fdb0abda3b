# Every command sets up what it needs and skips what is done. `make` alone lists them.
PYTHON ?= python3.11
PY := .venv/bin/python
UV := .local/uv/bin/uv
SUITE := $(PY) -m emulators.suite
COMPILE_IN := $(UV) pip compile --python 3.11 --generate-hashes --no-header --no-annotate --quiet
COMPILE := $(COMPILE_IN) pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help setup run stop test check demo bench simulate mutants lock format doctor

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: ## install everything (Python packages, npm packages, Java, emulators)
	@$(PYTHON) emulators/suite/install.py
	@$(SUITE) setup

run: setup ## start the local suite; FRESH=1 forgets the data, PORT_OFFSET=1100 moves all ports, MODEL=local adds a real model
	@exec $(SUITE) run $(if $(FRESH),--fresh) $(if $(MODEL),--model $(MODEL))

stop: setup ## stop the suite that `make run` started
	@$(SUITE) stop

test: setup ## run every test, on a suite of its own; TESTS="tests/credits -k lots" for some
	@exec $(SUITE) test -- $(TESTS)

check: setup ## format, lint, types, import rules, house limits, lock files
	@$(PY) -m emulators.suite.check

demo: setup ## a new user spends credits, live, in the terminal (needs `make run`)
	@exec $(PY) -m emulators.demo

bench: setup ## every figure that README quotes
	@for file in bench/[a-z]*.py; do echo "== $$file"; $(PY) "$$file" || exit 1; done

simulate: setup ## the whole backend from a seed, SEEDS=1000 of them; SEED=7 runs one and explains it
	@PYTHONPATH=functions:tests:. exec $(PY) -m simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

mutants: setup ## plant known faults one at a time and see the simulator find them
	@PYTHONPATH=functions:tests:. exec $(PY) -m simulation.mutants

lock: setup ## resolve pyproject.toml and package.json into the lock files
	@$(COMPILE) -o functions/requirements.txt
	@$(COMPILE) --group dev -o requirements-dev.txt
	@$(COMPILE_IN) training/requirements.in -o training/requirements.txt
	@$(COMPILE_IN) --no-deps emulators/local_model/requirements.in -o emulators/local_model/requirements.txt
	@npm install --package-lock-only --ignore-scripts --no-audit --no-fund --loglevel error
	@$(PY) -m emulators.suite.check --strip-addresses

format: setup ## format the code and sort its imports
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format --quiet .

doctor: ## say what this machine has and lacks; changes nothing
	@test -x $(PY) || { echo "nothing is installed yet: run make setup"; exit 1; }
	@$(SUITE) doctor
