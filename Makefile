# `make train`, `make test`, `make lint` and `make fuzz`. All make the virtual environment first, if it is missing.
PYTHON ?= python3

N ?= 10000

.PHONY: train test lint fuzz

train: .venv/ready
	.venv/bin/accelerate launch recipes/train.py $(ARGS)

test: .venv/ready
	.venv/bin/python -m pytest $(ARGS)

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

fuzz: .venv/ready
	.venv/bin/python tests/fuzz --executions $(N) $(ARGS)

.venv/ready: setup.cfg pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	touch $@
