# Every target sets itself up: it makes $(VENV) and installs what it needs; where nothing changed that takes no time.

PYTHON ?= python3
JAX ?=
LOWEST ?=
VENV ?= .venv$(JAX:%=-jax-%)$(LOWEST:%=-lowest)
ARGS ?=
PRESET ?= tiny

needs = setup.cfg setup.py pyproject.toml requirements.txt
versions = $(JAX:%='jax==%') $(LOWEST:%=--constraint $(VENV)/lowest.txt)
other = name another Python: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12

# What every row of every table promises, the searches, and runs as they are stored: what another JAX, or other types, could break.
contracts = tests/attention/contract_test.py tests/encoders/contract_test.py tests/model/search tests/model/model_test.py tests/model/model_draws_test.py tests/data/tasks_test.py \
	tests/config/formats_test.py

# Tests of the package alone, a folder a room: neither peers, faults and timings, nor pages.
rooms = $(wildcard $(patsubst attention_jax/%/,tests/%,$(wildcard attention_jax/*/))) tests/experiments

# A file goes to one process; in the order of conftest.py, where xdist's own would leave files of few tests, the longest ones, to the end.
side_by_side = -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help bottleneck study real smoke verdict replicates results gallery notebooks docs docs-links test test-long test-contracts test-peers test-launches coverage faults fuzz bench gpu gpu-bundle characteristics slurm evidence lint format wheel release-check clean interpreter

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s%s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Variables: PYTHON=$(PYTHON)  VENV=$(VENV)  JAX= a version of it  LOWEST=1 the lowest of all  ARGS= further arguments, e.g. make test ARGS="-k attention"'

bottleneck: $(VENV)/installed  ## the seed claim on synthetic data: table, verdict, figure, report
	$(VENV)/bin/python -m experiments.run --experiment=bottleneck --preset=tiny $(ARGS)

verdict: $(VENV)/installed  ## the same by the whole protocol: rates measured here, a longer ladder; under an hour on 2 cores, goes on where it stopped
	$(VENV)/bin/python -m experiments.run --experiment=bottleneck --preset=verdict --choose_rates --workdir=runs/verdict $(ARGS)

study: $(VENV)/installed  ## every part of the study, PRESET=tiny (90 minutes on 2 cores) or small (about 18 hours); goes on where it stopped
	$(VENV)/bin/python -m experiments.run --experiment=study --preset=$(PRESET) --workdir=runs/study_$(PRESET) $(ARGS)

real: $(VENV)/installed  ## every experiment on real data, PRESET=tiny or small; goes on where it stopped; ARGS=--data_dir=folder, else it downloads what has an address
	$(VENV)/bin/python -m experiments.run --experiment=all-real --preset=$(PRESET) --workdir=runs/real_$(PRESET) $(ARGS)

# Sizes, lengths, rates and budgets as small as they can be, the same for all, so that runs which differ in nothing else are one. What runs
# so shortly is compiled without optimisation, in less than half the time.
few = training.updates=10 training.learning_rates=0.01 training.warmup=2 training.chunk=5 training.batch_size=8 data.eval_examples=64 \
	data.longest=6 data.eval_lengths=5,6 model.vector_size=8 model.hidden_size=16 model.cell=gru model.direction=both
# experiment/arms, and a setting of its own: echo is tested at one length.
pairs = anatomy/summary,additive bottleneck/summary,additive capacity/summary,additive echo/summary,additive/data.eval_lengths=6 \
	modern/summary,additive reversal/summary,additive trainability/summary,additive extrapolation/summary,stepwise \
	similarity/additive,dot soft_hard/soft,reinforce
smoke: export XLA_FLAGS = --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true
smoke: $(VENV)/installed  ## ten updates of two arms of every part of the study, to its tables and figures: three minutes
	rm -rf build/smoke && mkdir -p build/smoke
	printf '%s\n' $(pairs) | xargs -P 2 -I PAIR sh -c 'IFS=/; pair=PAIR; set -- $$pair; $(VENV)/bin/python -m experiments.run --experiment=$$1 \
	--arms=$$2 --seeds=2 $(few:%=--set=%) $${3:+--set=$$3} --workdir=build/smoke $(ARGS) > build/smoke/$$1.log 2>&1 \
	&& echo $$1 || { cat build/smoke/$$1.log; exit 1; }'

# Other environments: make test JAX=0.11.2 makes .venv-jax-0.11.2; then ARGS=--pythons=.venv-jax-0.11.2/bin/python
replicates: $(VENV)/installed  ## make bottleneck under other rounding, devices, seeds: how often the verdict flips; goes on where it stopped
	$(VENV)/bin/python -m benchmarks.replicates $(ARGS)

results: $(VENV)/installed  ## every table and figure of README and docs anew, from the rows in docs/results
	$(VENV)/bin/python -m docs.make_results $(ARGS)

gallery: export XLA_FLAGS = --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true
gallery: $(VENV)/installed  ## a picture of every mechanism, docs/gallery.md: trains those that have none yet; ARGS=--again: all, a quarter of an hour
	$(VENV)/bin/python -m docs.make_gallery $(ARGS)

notebooks: $(VENV)/installed-dev  ## runs the notebooks of docs/notebooks, each in a few minutes; with their figures they are in build/notebooks
	$(VENV)/bin/python -m docs.notebooks $(ARGS)

docs: $(VENV)/installed-docs  ## the site in build/site, strictly: every example runs, every link leads somewhere, no API page is stale
	$(VENV)/bin/python -m pytest -q tests/docs_test.py tests/pages_test.py
	$(VENV)/bin/python -m sphinx -q -W --keep-going -b html -c docs . build/site

docs-links: $(VENV)/installed-docs  ## addresses of other sites in the pages: a line for each that is gone; needs a network, no part of CI
	$(VENV)/bin/python -m sphinx -q -b linkcheck -c docs . build/links

test: lint  ## ruff and pyright, then every test but the long ones
	$(VENV)/bin/python -m pytest $(side_by_side) -m "not long" $(ARGS)

test-long: $(VENV)/installed-dev  ## the long ones: whole runs, several processes, every combination
	$(VENV)/bin/python -m pytest $(side_by_side) -m long $(ARGS)

test-contracts: $(VENV)/installed-dev  ## a part of them, for other versions and types: JAX=0.11.2 (in .venv-jax-0.11.2), LOWEST=1, JAX_ENABLE_X64=1
	$(VENV)/bin/python -m pytest $(side_by_side) $(contracts) $(ARGS)

# PyTorch comes with CUDA, gigabytes of it, unless pip is told of an index that has it for CPUs alone: PIP_EXTRA_INDEX_URL.
test-peers: $(VENV)/installed-peers  ## tests against PyTorch, Keras and entmax; `make test` skips them where they are not installed
	PEERS=required $(VENV)/bin/python -m pytest tests/peers $(ARGS)

# JAX=0.11.2, of which the figures on file are, and VENV=.venv-launches: an environment of its own, where JAX finds no GPU that it has a plugin for.
# Without NVIDIA's libraries: nothing runs, XLA compiles for a card. Where the plugin cannot be installed the test says so and is skipped.
test-launches: $(VENV)/installed-dev  ## launches of an update on a GPU: no more than on file; needs no GPU, installs XLA's compiler for one
	-$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(foreach part,plugin pjrt,jax-cuda13-$(part)$(JAX:%===%))
	JAX_PLATFORMS=cpu $(VENV)/bin/python -m pytest -rs tests/launches_test.py $(ARGS)

# Lines that a test's own process ran; those of processes that it starts do not count. Floor and files: setup.cfg.
coverage: $(VENV)/installed-dev  ## lines of the package that its own tests run; fails below the floor in setup.cfg
	$(VENV)/bin/python -m pytest $(side_by_side) --cov --cov-report=term --cov-report=html:build/coverage $(rooms) $(ARGS)

# ARGS are those of the first; the others have their own: python -m tests.faults.soak --help
faults: $(VENV)/installed-dev  ## runs killed at 60 moments, a sweep of 200 by killed jobs, every system call refused: they end bit-identical; an hour
	$(VENV)/bin/python -m tests.faults.chains $(ARGS)
	$(VENV)/bin/python -m tests.faults.soak
	$(VENV)/bin/python -m tests.faults.refusals

# ARGS="--seconds=60": in all; ARGS="--target=zip": one target only
fuzz: $(VENV)/installed-fuzz  ## damaged files, guided by coverage (atheris): a line a target, inputs that break one in .cache/fuzz
	$(VENV)/bin/python -m fuzz.run $(ARGS)

bench: $(VENV)/installed-benchmarks  ## timings against PyTorch and joeynmt: a table, what moved since docs/performance, and runs/benchmarks.jsonl
	$(VENV)/bin/python -m benchmarks.run $(ARGS)

# Installs nothing: the environment that other targets made or, where there is none or PYTHON names one, that Python with what it has.
gpu_python = $(or $(if $(filter file,$(origin PYTHON)),$(wildcard $(VENV)/bin/python)),$(PYTHON))

gpu:  ## on a machine with a GPU, ten minutes: parity, resume, times, sweeps; PARTS=a,b SECONDS=240; ALLOW_CPU=1 rehearses; rows in runs/gpu
	@$(call new_enough,$(gpu_python)); $(gpu_python) -m benchmarks.cards $(PARTS:%=--parts=%) $(SECONDS:%=--seconds=%) $(ALLOW_CPU:%=--allow_cpu) $(ARGS)

gpu-bundle:  ## what a bare machine needs for it, in one archive: this tree and wheels for Python 3.12, gpu-bundle.tar.gz
	@$(gpu_python) -m benchmarks.cards.bundle $(ARGS)

characteristics: $(VENV)/installed  ## how often the verdict is right under planted truths: docs/characteristics.md; draws what is missing
	$(VENV)/bin/python -m benchmarks.characteristics $(ARGS)

slurm: $(VENV)/installed  ## a job array on a real Slurm of one node, preempted and requeued (Debian, root: installs slurm-wlm and munge)
	timeout --kill-after=120 1800 $(VENV)/bin/python jobs/local_slurm/prove.py

evidence: $(VENV)/installed-peers  ## every test, and docs/evidence.md from what they record
	rm -rf .cache/evidence
	CI=1 EVIDENCE=$(CURDIR)/.cache/evidence $(VENV)/bin/python -m pytest $(side_by_side) $(ARGS)
	$(VENV)/bin/python docs/make_evidence.py .cache/evidence

lint: $(VENV)/installed-dev  ## ruff: rules and format; pyright: types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

format: $(VENV)/installed-dev  ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

wheel: $(VENV)/installed-dev  ## source archive and wheel in dist/
	rm -rf dist
	$(VENV)/bin/python -m build

release-check: wheel  ## the wheel in a fresh environment, both commands, the citation, one version everywhere
	$(VENV)/bin/python -m docs.release dist/*.whl

clean:  ## remove what the targets above made, results (runs/) excepted
	rm -rf $(VENV) build dist *.egg-info .cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/installed: $(needs) | interpreter
	@$(install) --editable . $(versions)
	@touch $@

$(VENV)/installed-dev: $(needs) | interpreter
	@$(install) --editable '.[dev]' $(versions)
	@touch $(VENV)/installed $@

$(VENV)/installed-peers: $(needs) | interpreter
	@$(install) --editable '.[dev,peers]' $(versions)
	@touch $(VENV)/installed $(VENV)/installed-dev $@

$(VENV)/installed-docs: $(needs) | interpreter
	@$(install) --editable '.[dev,docs]' $(versions)
	@touch $(VENV)/installed $(VENV)/installed-dev $@

$(VENV)/installed-fuzz: $(needs) | interpreter
	@$(install) --editable '.[fuzz]' $(versions)
	@touch $(VENV)/installed $@

# joeynmt's own requirements pin old versions of nearly all it needs: it comes without them, and they as they are today.
$(VENV)/installed-benchmarks: $(VENV)/installed-peers
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check numpy pyyaml sacrebleu sentencepiece subword-nmt sacremoses \
		datasets matplotlib pandas packaging importlib_metadata tensorboard
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps joeynmt==2.3.0
	@touch $@

new_enough = $(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null \
	|| { echo "attention_jax needs Python 3.11 or newer, and $(1) says '$$($(1) --version 2>&1 | head -n 1)': $(other)" >&2; exit 1; }

define install
$(call new_enough,$(PYTHON)); \
$(PYTHON) -c 'import ensurepip' 2> /dev/null \
	|| { echo "$(PYTHON) cannot put pip into an environment: apt install python3-venv (Debian, Ubuntu), or $(other)" >&2; exit 1; }; \
echo 'Installing into $(VENV): once, about two minutes'; \
$(PYTHON) -m venv $(VENV) && sed -n 's/>=/==/p' requirements.txt > $(VENV)/lowest.txt && \
$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
endef

# A PYTHON that the caller names has to be the one that $(VENV) was made with.
interpreter:
ifneq ($(origin PYTHON),file)
	@test ! -x $(VENV)/bin/python || test "$$($(PYTHON) --version 2>&1)" = "$$($(VENV)/bin/python --version)" \
		|| { echo "$(VENV) holds $$($(VENV)/bin/python --version), not $(PYTHON): make clean, or keep both with VENV=.venv-other" >&2; exit 1; }
endif
