# Everything runs from .venv, which is made once, and again whenever pyproject.toml or constraints.txt changes.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
TORCH := torch==2.13.0+cpu

.DEFAULT_GOAL := help
.PHONY: help demo results test check lint hooks constraints clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## the whole loop on this machine: world, teacher, SFT, GRPO, evaluation, report
	$(BIN)/videoseeker demo

results: $(READY) ## every arm of the tool ablation over five seeds; writes docs/results.md
	$(BIN)/videoseeker ablate tools configs/demo.yaml
	cp runs/demo/results.md docs/results.md

# Two files at a time, each on one core: most of a slow test is the start of processes. More would take more memory.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --no-loadscope-reorder

check: lint ## lint, types, and every test that starts no process: for every save
	$(PYTEST) -m "not process"

test: $(READY) ## every test, the slow ones included: for every push
	$(PYTEST)

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

hooks: $(READY) ## have git check each commit with ruff and mypy
	$(BIN)/pre-commit install

constraints: ## write the versions of this .venv to constraints.txt, after its tests passed
	$(BIN)/pip freeze --exclude-editable --local | sed -E 's/\+cpu$$//' > constraints.txt

clean: ## remove .venv; runs are kept
	rm -rf .venv

# The CPU build of torch comes first: with it in place the resolver leaves the CUDA builds alone.
# constraints.txt holds the versions that were tried; pyproject.toml holds what should do as well.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install "$(TORCH)" || $(BIN)/pip install --index-url https://download.pytorch.org/whl/cpu "$(TORCH)"
	$(BIN)/pip install -c constraints.txt -e ".[cpu,dev]"
	touch $@
