# The short ways. Needs make and Python 3.11 or newer; `make help` lists them.

PYTHON ?= python3
PORT ?= 5000
BASE ?= HEAD~1
BIN := .venv/bin
# A file of tests stays in one process, where it starts its server once. The order of files is that of tests/conftest.py.
RULES := $(addprefix tests/,login users sessions invites quotas parsing test_codes.py test_events.py)
PYTEST = $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder
INSTALL := $(BIN)/pip install --disable-pip-version-check $$(test -t 2 || echo --quiet)

# Tests start some hundred processes of Python: each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-cluster fuzz check format cover mutants bench bench-compare evidence settings lock vitals postman clients translations pictures clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: .venv/runs ## install what is needed, create the database, and serve on http://localhost:5000 (another port: make run PORT=5001)
	@echo "Bringing the database up to date ..."
	@$(BIN)/flask --app wsgi db upgrade
	@echo "Starting the server ..."
	@$(BIN)/flask --app wsgi run --host 127.0.0.1 --port $(PORT)

test: .venv/tests ## run all tests that this machine has the programs for (some of them: make test ARGS="-k invite"; on PostgreSQL: TEST_DATABASE_URL=postgresql://… make test)
	$(PYTEST) $(ARGS)

test-fast: .venv/tests ## run the tests of the rules that start no server, browser or command: under a minute
	$(PYTEST) -m "not processes" $(RULES) $(ARGS)

test-cluster: .venv/tests ## kill, freeze and cut off the leader of a database of three machines under load: five minutes, as root, with etcd, Patroni, HAProxy and PgBouncer
	$(BIN)/pytest -n 0 -x -m cluster tests/deployment/test_cluster.py $(ARGS)

fuzz: .venv/tests ## run the tests of properties with random examples, other ones each time, for some minutes
	$(PYTEST) -m hypothesis --hypothesis-profile=fuzz $(ARGS)

check: .venv/tests ## check format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/tests ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

cover: .venv/tests ## run the tests and show which lines and branches they never reach
	$(PYTEST) --cov --cov-report=term-missing:skip-covered $(ARGS)

mutants: .venv/tests ## change the rules in one small way at a time and show what no test notices (some of them: make mutants ARGS="hammer.quotas.guesses*")
	env -u TEST_DATABASE_URL $(BIN)/mutmut run $(ARGS)
	@$(BIN)/mutmut results | sed -nE 's/^ *([^ :]+): (survived|timeout|suspicious|no tests)$$/\1/p' | xargs -r -n 1 $(BIN)/mutmut show

bench: .venv/tests ## measure what a login costs, compared with two floors (on PostgreSQL too: TEST_DATABASE_URL=postgresql://… make bench)
	$(BIN)/python -m tests.benchmarks $(ARGS)

bench-compare: .venv/tests ## measure this source and that of another commit in turns: make bench-compare BASE=HEAD~1
	$(BIN)/python -m tests.benchmarks --against $(BASE) $(ARGS)

evidence: .venv/tests ## run the tests and write what each promise is proved by, and what a screen reader finds, into docs/
	$(PYTEST) --evidence $(ARGS)

settings: .venv/tests ## write the table of docs/settings.md and .env.example from the declarations in config.py
	$(BIN)/python -m tests.settings_documents

lock: .venv/bin/uv ## write requirements.lock from requirements.txt (newer versions of everything: make lock ARGS=--upgrade)
	$(BIN)/uv pip compile requirements.txt --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command "make lock" --output-file requirements.lock $(ARGS)

vitals: .venv/tests ## measure the pages on a slow line and write the figures into docs/web-vitals.md (needs chromium)
	$(BIN)/python -m tests.browser.vitals

postman: .venv/tests ## play the Postman collection against a server of its own (needs node and npm)
	tests/postman/run

clients: .venv/tests ## check the OpenAPI document, make clients of it in eight languages, and run those that this machine can (needs node, npm and Java)
	tests/clients/run --all

translations: .venv/runs ## collect the sentences for people, update the catalogues and compile them
	mkdir -p -m 700 instance
	$(BIN)/pybabel -q extract -F hammer/translations/babel.cfg -k N_ -k lazy_gettext --add-location=file --no-wrap --sort-by-file \
		-o instance/hammer.pot hammer
	$(BIN)/pybabel -q update -i instance/hammer.pot -d hammer/translations --no-fuzzy-matching --ignore-obsolete --no-wrap \
		--ignore-pot-creation-date
	$(BIN)/pybabel -q compile -d hammer/translations

pictures: .venv/tests ## draw every screen in every state into docs/pictures (needs Chromium; some of them: make pictures ARGS="code profile")
	$(BIN)/python -m tests.pictures $(ARGS)

clean: ## delete the environment and the caches of tools; the database in instance/ stays
	rm -rf .venv mutants .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov

.venv/runs: requirements.txt | .venv/bin/pip
	@echo "Installing what Hammer needs into .venv (about half a minute) ..."
	@$(INSTALL) -r requirements.txt
	@touch $@

.venv/tests: requirements.txt requirements-tracing.txt tests/requirements.txt | .venv/bin/pip
	@echo "Installing what the tests need into .venv (about a minute) ..."
	@$(INSTALL) -r tests/requirements.txt
	@touch $@ .venv/runs

.venv/bin/uv: | .venv/bin/pip
	@$(INSTALL) uv~=0.13.9

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Hammer needs Python 3.11 or newer. Name one that you have: make run PYTHON=python3.12"; exit 1; }
	@echo "Making the environment in .venv (about ten seconds, once) ..."
	@$(PYTHON) -m venv .venv
