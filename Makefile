# Two commands: `make train` and `make test`. Both make the virtual environment first, where it is missing.
PYTHON ?= python3

.PHONY: train test

train: .venv/ready
	.venv/bin/accelerate launch recipes/train.py $(ARGS)

test: .venv/ready
	.venv/bin/python -m pytest $(ARGS)

.venv/ready: setup.cfg pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@
