# Commands that do all set-up on a fresh machine with Python 3.11 or later and pip:
#   make train       trains CoaT Small on the generated street scenes and writes a report
#   make test        runs the tests
#   make tools       makes .venv-tools, with other people's tools, for the tests that read what they write
#   make benchmark   measures speed and memory against timm, smp, transformers and others, in a short version
PYTHON ?= python3
BIN := .venv/bin
BENCHMARKS := backbone memory training loading readers slides loop query onnx large_images

.PHONY: train test benchmark tools

train: .venv/installed
	$(BIN)/python train.py backbone=coat_small task=seg

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

benchmark: .venv/installed-benchmark
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

tools: .venv-tools/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-benchmark: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[export,geo,hub,query,slides]'
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Other people's tools, for the tests marked `tools`. Packages that are in .venv are found there and not installed twice.
SITE := import sysconfig; print(sysconfig.get_path("purelib"))
.venv-tools/installed: tests/tools/requirements.txt .venv/installed-dev
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/python -m pip install --quiet --no-deps --requirement tests/tools/requirements.txt
	$(BIN)/python -c '$(SITE)' > "$$(.venv-tools/bin/python -c '$(SITE)')/coatseg.pth"
	touch $@
