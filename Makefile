# Each command makes the environment it needs, once. On a fresh machine: Python 3.11 or newer and a C compiler.
PYTHON ?= python3
VENV := .venv
BENCH_VENV := .venv-bench

# On a machine with a GPU: its own Python, with the CuPy and PyTorch that are in it. Only planmath is installed there.
CUDA_PYTHON ?= python3
CUDA_STAMP = build/.stamp-cuda-$(notdir $(CUDA_PYTHON))

# What an installation depends on: the metadata, and the sources that are compiled.
SOURCES := pyproject.toml setup.py $(shell find src -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
PIP := -m pip --quiet --quiet --disable-pip-version-check install

.DEFAULT_GOAL := help
.PHONY: help demo test test-all bench lint docs clean test-cuda bench-cuda verify-cuda

help:
	@echo "make demo    filter a photograph, classify digits, time the ways to call planmath"
	@echo "make test    run the tests"
	@echo "make test-all    run them on all combinations of their parameters (long)"
	@echo "make bench   measure planmath against other libraries (long; ARGS=--quick for ten minutes)"
	@echo "make lint    ruff, mypy and import-linter"
	@echo "make docs    the documentation, into docs/_build/html"
	@echo "make clean   remove the environments and everything that was built"
	@echo "make test-cuda, bench-cuda    the same on CUDA devices, in the Python that has CuPy and PyTorch"
	@echo "make verify-cuda              both, and what came out into docs/verification"
	@echo "A Python other than python3: make PYTHON=python3.12 demo, make CUDA_PYTHON=python3.12 test-cuda"

demo: $(VENV)/.stamp-demo
	@$(VENV)/bin/python -m planmath demo $(ARGS)

test: $(VENV)/.stamp-test
	$(VENV)/bin/python -m pytest -n auto $(ARGS)

test-all: $(VENV)/.stamp-test
	$(VENV)/bin/python -m pytest -n auto -m "" $(ARGS)

bench: $(BENCH_VENV)/.stamp
	$(BENCH_VENV)/bin/python -m bench $(ARGS)

lint: $(VENV)/.stamp-lint
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(VENV)/.stamp-docs
	$(VENV)/bin/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	$(VENV)/bin/python docs/check_links.py docs/_build/html
	@echo "docs/_build/html/index.html"

# One thread each: cuDSS's would spin beside those of all the other workers. What measures how much memory the device
# has left runs after them.
test-cuda: $(CUDA_STAMP)
	OMP_NUM_THREADS=1 $(CUDA_PYTHON) -m pytest -m "cuda and not alone" -p no:benchmark $(CUDA_WORKERS) $(ARGS)
	OMP_NUM_THREADS=1 $(CUDA_PYTHON) -m pytest -m "cuda and alone" -p no:benchmark $(ARGS) || [ $$? -eq 5 ]

bench-cuda: $(CUDA_STAMP)
	$(CUDA_PYTHON) -m bench --cuda $(ARGS)

verify-cuda: $(CUDA_STAMP)
	$(CUDA_PYTHON) -m tools.verify_cuda $(ARGS)

clean:
	rm -rf $(VENV) $(BENCH_VENV) build dist demo-output bench/results src/planmath.egg-info
	rm -rf docs/_build docs/gallery docs/figures docs/reference/generated docs/reference/*.rst docs/sg_execution_times.rst
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src -name '*.so' -o -name '*.pyx' | sed 's/\.pyx$$/.c/' | xargs rm -f
	find src tests bench examples -name __pycache__ -prune -exec rm -rf {} +

# pytest-xdist where it is there; more workers than this get in each other's way on one device.
CUDA_WORKERS = $(shell $(CUDA_PYTHON) -c 'import xdist; print("-n 8")' 2>/dev/null)

$(CUDA_STAMP): $(SOURCES)
	@$(CUDA_PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "planmath needs Python 3.11 or newer")'
	@$(CUDA_PYTHON) -c 'import Cython, hypothesis, numpy, pytest, scipy, setuptools' || (echo "install these into the \
	environment of $(CUDA_PYTHON), beside CuPy and PyTorch: cython hypothesis numpy pytest scipy setuptools" && false)
	@echo "Building planmath in the environment of $(CUDA_PYTHON)"
	@$(CUDA_PYTHON) $(PIP) --no-build-isolation --no-deps --no-index --editable .
	@mkdir -p build && touch $@

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

# Tools beside what is installed: planmath itself is there, and building it again takes minutes.
$(VENV)/.stamp-lint $(VENV)/.stamp-docs: $(VENV)/.stamp-%: $(VENV)/.stamp-test
	@echo "Installing what the extra $* names"
	@$(VENV)/bin/python -c "import tomllib; extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
	print(*(name for name in extras['$*'] if not name.startswith('planmath')), sep='\n')" \
	| xargs -d '\n' $(VENV)/bin/python $(PIP)
	@touch $@

$(BENCH_VENV)/.stamp: $(BENCH_VENV)/.stamp-python $(SOURCES) bench/requirements.txt
	@echo "Installing planmath and the libraries it is measured against (a few minutes, once)"
	@$(BENCH_VENV)/bin/python $(PIP) --editable '.[cpu,fftw]' --requirement bench/requirements.txt
	@touch $@
