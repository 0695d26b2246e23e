# Each command makes the environment it needs, once. On a fresh machine: Python 3.11 or newer and a C compiler.
PYTHON ?= python3
VENV := .venv
BENCH_VENV := .venv-bench

# What an installation depends on: the metadata, and the sources that are compiled.
SOURCES := pyproject.toml setup.py $(shell find src -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
PIP := -m pip --quiet --quiet --disable-pip-version-check install

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint clean

help:
	@echo "make demo    filter a photograph, classify digits, time the ways to call planmath"
	@echo "make test    run the tests"
	@echo "make bench   measure planmath against other libraries (long; ARGS=--quick for two minutes)"
	@echo "make lint    ruff, mypy and import-linter"
	@echo "make clean   remove the environments and everything that was built"
	@echo "A Python other than python3: make PYTHON=python3.12 demo"

demo: $(VENV)/.stamp-demo
	@$(VENV)/bin/python -m planmath demo $(ARGS)

test: $(VENV)/.stamp-test
	$(VENV)/bin/python -m pytest -n auto $(ARGS)

bench: $(BENCH_VENV)/.stamp
	$(BENCH_VENV)/bin/python -m bench $(ARGS)

lint: $(VENV)/.stamp-lint
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) $(BENCH_VENV) build dist demo-output bench/results src/planmath.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src -name '*.so' -o -name '*.pyx' | sed 's/\.pyx$$/.c/' | xargs rm -f
	find src tests bench examples -name __pycache__ -prune -exec rm -rf {} +

%/.stamp-python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "planmath needs Python 3.11 or newer, \
	and $(PYTHON) is %d.%d; name another one, as in: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Making the environment $* with $(PYTHON)"
	@$(PYTHON) -m venv $*
	@touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-python $(SOURCES)
	@echo "Installing planmath with its extras cpu, fftw and demo (about a minute, once)"
	@$(VENV)/bin/python $(PIP) --editable '.[cpu,fftw,demo]'
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-python $(SOURCES)
	@echo "Installing planmath with its extra test (a few minutes, once: PyTorch is large)"
	@$(VENV)/bin/python $(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.stamp-demo

$(VENV)/.stamp-lint: $(VENV)/.stamp-python $(SOURCES)
	@echo "Installing planmath with its extra lint"
	@$(VENV)/bin/python $(PIP) --editable '.[lint]'
	@touch $@

$(BENCH_VENV)/.stamp: $(BENCH_VENV)/.stamp-python $(SOURCES) bench/requirements.txt
	@echo "Installing planmath and the libraries it is measured against (a few minutes, once)"
	@$(BENCH_VENV)/bin/python $(PIP) --editable '.[cpu,fftw]' --requirement bench/requirements.txt
	@touch $@
