# Commands that do all set-up on a fresh machine with Python 3.11 or later and pip:
#   make train       trains CoaT Small on the generated street scenes and writes a report
#   make test        runs the tests
#   make benchmark   measures speed and memory against timm, smp, albumentations and ONNX Runtime, in a short version
PYTHON ?= python3
BIN := .venv/bin
BENCHMARKS := backbone memory training loading readers loop onnx large_images

.PHONY: train test benchmark

train: .venv/installed
	$(BIN)/python train.py backbone=coat_small task=seg

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

benchmark: .venv/installed-export
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-export: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[export]'
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
