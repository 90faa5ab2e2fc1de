# `make train`, `make test`, `make lint`, `make docs` and `make fuzz`. All make the virtual environment first, if it is missing.
PYTHON ?= python3

N ?= 10000

.PHONY: train test lint docs fuzz

train: .venv/ready
	.venv/bin/accelerate launch recipes/train.py $(ARGS)

test: .venv/ready
	.venv/bin/python -m pytest $(ARGS)

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

docs: .venv/ready
	.venv/bin/python -m sphinx -q -W --keep-going -c docs . build/docs
	@echo build/docs/docs/index.html

fuzz: .venv/ready
	.venv/bin/python tests/fuzz --executions $(N) $(ARGS)

.venv/ready: setup.cfg pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[test,lint,docs]'
	touch $@
