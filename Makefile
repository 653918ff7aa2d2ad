# The commands of the house. `make demo` and `make test` need nothing but Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo
PORT := 3000
IMAGES := 8000000
PYTEST = $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo dev test slow torture check lint lint-types lint-rest fix docs bench performance large lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

setup: $(STAMP)  ## .venv with the package and its tools; .venv/bin/chest works

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.txt
	@# On all cores, and without the packages' own tests; what does not compile is not meant for this Python.
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests/' $(VENV)/lib || true
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP)  ## make a sample bucket, refresh it through Dagster, ask it questions
	@PATH="$(CURDIR)/$(BIN):$$PATH" DEMO="$(DEMO)" sh scripts/demo.sh

# A bucket without faults, so that what is not green is news; and a lake of its own beside that of `make demo`.
dev: $(STAMP)  ## Dagster's UI and daemon on a sample bucket: http://localhost:3000; it refreshes by itself
	@test -f $(DEMO)/clean/truth.json || $(BIN)/chest sample $(DEMO)/clean --patients 40 --seed 1 --clean --quiet
	@echo "The Dagster UI will be at http://localhost:$(PORT). A refresh, and all that follows from it, starts by itself"
	@echo "within a minute. Ctrl-C stops everything."
	@umask 027; DAGSTER_HOME="$(CURDIR)" PYTHONWARNINGS="ignore:Function" \
		CHEST_SOURCE="$${CHEST_SOURCE:-$(DEMO)/clean}" CHEST_LAKE="$${CHEST_LAKE:-$(DEMO)/clean-lake}" \
		CHEST_MANIFESTS="$${CHEST_MANIFESTS:-$(DEMO)/manifests}" \
		exec $(BIN)/python -m pipelines.dev -m pipelines.definitions -p $(PORT) --log-level warning

test: $(STAMP)  ## the tests, but for those marked slow
	$(PYTEST) -m "not slow"

slow: $(STAMP)  ## the tests that `make test` leaves out (about 40 minutes on two cores)
	$(PYTEST) -m slow

# FLAGS="--only damage --seed 7 --tries 1" repeats one try.
torture: $(STAMP)  ## kill, starve and damage: a hundred kills, a lying bucket, full disks (about an hour)
	$(BIN)/python -m tests.torture $(FLAGS)

check: $(STAMP)  ## under a minute: format, lint, types, layers, and the quick tests
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest tests/engine/test_names.py tests/engine/test_sql_building.py tests/object_store/test_keys.py \
		tests/cleaning/test_cleaning_cases.py tests/pipelines/test_pipelines_names.py

# mypy has one process and takes half of the time, so the others run beside it.
lint: $(STAMP)  ## check format, lint, types, layers, SQL and Dagster's definitions
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
	@$(MAKE) --no-print-directory -j 2 lint-types lint-rest

lint-types: $(STAMP)
	$(BIN)/mypy

lint-rest: $(STAMP)
	$(BIN)/lint-imports --no-logo
	$(BIN)/sqlfluff lint --disable-progress-bar sql
	DAGSTER_HOME="$(CURDIR)" PYTHONWARNINGS="ignore:Function" $(BIN)/dagster definitions validate -m pipelines.definitions

fix: $(STAMP)  ## apply automatic fixes
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: $(STAMP)  ## write the data dictionary, the pages of the cohorts, the drawings of views and layers
	$(BIN)/python -m warehouse.docs.data_dictionary > docs/data_dictionary.md
	$(BIN)/python -m warehouse.docs.cohort_pages docs/cohorts
	$(BIN)/python -m warehouse.docs.view_drawing sql/README.md
	$(BIN)/python -m warehouse.docs.layer_drawing docs/architecture.md
	$(BIN)/python -m warehouse.docs.meds_page docs/meds.md
	$(BIN)/python -m warehouse.docs.skill_page docs/SKILL.md
	$(BIN)/python -m benchmarks.page

bench: $(STAMP)  ## measure speed and memory beside their baselines (about an hour), for `make performance`
	$(BIN)/python -m benchmarks

performance: $(STAMP)  ## write docs/performance.md, its plots and docs/scale.md's calculation from what was measured
	$(BIN)/python -m benchmarks.page

large: $(STAMP)  ## measures questions to a lake of 8 million images (hours; IMAGES=1000000 is quicker)
	$(BIN)/python -m benchmarks.large_lake --images $(IMAGES)

lock: $(STAMP)  ## re-resolve requirements.txt (needs uv)
	uv pip compile pyproject.toml --extra dagster --extra explore --group dev --generate-hashes --universal \
		--python-version 3.11 --no-emit-index-url --no-strip-extras --no-header -o requirements.txt

clean:  ## remove what the commands above made
	rm -rf $(VENV) $(DEMO) .dagster logs .logs_queue .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
