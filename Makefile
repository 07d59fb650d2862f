# The commands of this project. Every target creates the environment it needs and reuses it.
#   make demo        explain real photographs with a real network, figures in demo/
#   make test        the whole suite: unit, property, contract, doctests
#   make study       train and measure the networks of docs/robustness.md, an hour and a half
#                    (FASHION=folder)
#   make study-small the same with scikit-learn's digits and six networks, a minute
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
OLDEST := $(VENV)-oldest
# Nothing from outside the environment may leak in.
unexport PYTHONPATH
export PYTHONNOUSERSITE := 1

# Two processes of one thread each. Each begins with one half of the list, so that nearly all that a
# file makes once is made once, and takes from the other's half when it has nothing left.
PYTEST := -m pytest -n 2 --dist worksteal
FASHION ?= /usr/share/datasets/fashion-mnist

.PHONY: demo test lint types docs tutorials test-oldest study study-small format clean

demo: $(VENV)/.demo
	$(BIN)/captum-spectral demo --out demo

test: $(VENV)/.test
	$(BIN)/python $(PYTEST)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.dev
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

# Runs every notebook from top to bottom; an exception in a cell fails the target.
tutorials: $(VENV)/.dev
	$(BIN)/jupyter execute --timeout=900 tutorials/*.ipynb

# The oldest releases that pyproject.toml admits, in an environment of their own.
test-oldest: $(OLDEST)/.test
	$(OLDEST)/bin/python $(PYTEST)

# Networks and cells are kept in study/, so that the same command goes on.
study: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/torchrun --nproc-per-node=2 research/study.py --data $(FASHION)
	OMP_NUM_THREADS=1 $(BIN)/torchrun --nproc-per-node=2 -m captum_spectral study \
	  research/imagenet.toml --out study/imagenet

study-small: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python research/study.py --small --out study-small

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(OLDEST) docs/_build docs/tutorials demo study-small

$(VENV)/.demo $(VENV)/.test $(VENV)/.dev: $(VENV)/.%: pyproject.toml
	@echo "Installing into $(VENV); the first time takes a few minutes, torch is large."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

$(OLDEST)/.test: pyproject.toml tests/oldest.txt
	@echo "Installing the oldest supported releases into $(OLDEST)."
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --editable '.[test]' --constraint tests/oldest.txt
	@touch $@
