# make run     the chat on http://127.0.0.1:7860, set up first where needed (PORT=7861, MODEL=llama-3.2-1b)
# make demo    the whole loop in some minutes: people flag, a round teaches, the running chat changes
# make test    everything set up, linted and tested
# make setup   everything installed, nothing run
# make test-unsloth  training with Unsloth beside training with PEFT, in an environment of its own (.venv-unsloth);
#                make setup-unsloth only makes that
# make test-ray  experiments on a local cluster of Ray, which lies beside the rest (.venv-ray, 250 MB)
# make lint    ruff and mypy alone
# make docs    writes docs/help.md anew from `--help` of every verb
# make bench   every benchmark, each ending in one line of JSON (QUICK=1: at most a minute each)
# make hub     a Hub on this machine to try the loop against (HUB_PORT=8765)
# make rehearse  a model of Llama-3.2-1B's size from base to chat: time and memory of each act (12 GB of disk;
#                LLAMA_CPP=vendor/llama.cpp and LLAMA_QUANTIZE=llama-quantize to compare with, QUICK=1: a minute)
# make image   the Docker image `backtalk`, where a Docker engine runs
# make soak    200 rounds of kill -9 while flags are being saved; two hours of random turns, stops and swaps

PORT ?= 7860
MODEL ?=
QUICK ?=
HUB_PORT ?= 8765
LLAMA_CPP ?=
LLAMA_QUANTIZE ?=
# One more than there are cores: a quarter of a test's time it waits for a process or a browser.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
BIN := .venv/bin

.PHONY: run demo test setup test-unsloth setup-unsloth test-ray setup-ray lint docs bench hub soak image rehearse installed-app installed-test

run: installed-app
	@exec $(BIN)/backtalk chat --port $(PORT) $(if $(MODEL),--model $(MODEL))

demo: installed-test
	@exec $(BIN)/backtalk demo

test: lint
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup \
		--no-loadscope-reorder -o tmp_path_retention_policy=failed

setup: installed-test
	@echo "Everything is installed. Next: make run, or make test."

test-unsloth: setup-unsloth
	@.venv-unsloth/bin/python -m pytest tests/unsloth

setup-unsloth:
	@python=$$(scripts/find-python) && "$$python" -m scripts.install_unsloth

test-ray: setup-ray
	@PYTHONPATH=$(CURDIR)/.venv-ray OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/training/experiment/test_ray.py

setup-ray: installed-test .venv-ray/installed

.venv-ray/installed: constraints/ray.txt
	@rm -rf .venv-ray
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --no-deps --target .venv-ray -r $<
	@touch $@

lint: installed-test
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy --no-error-summary

docs: installed-test
	@$(BIN)/python -m scripts.write_help

bench: installed-test
	@for file in $$(grep -l __main__ bench/*.py); do $(BIN)/python $$file $(if $(QUICK),--quick) || exit 1; done

hub: installed-test
	@exec $(BIN)/python -m tests.hub --port $(HUB_PORT)

rehearse: installed-test
	@$(BIN)/python bench/rehearse.py $(if $(QUICK),--quick) $(if $(LLAMA_CPP),--llama-cpp $(LLAMA_CPP)) \
		$(if $(LLAMA_QUANTIZE),--llama-quantize $(LLAMA_QUANTIZE))

image:
	@docker info >/dev/null 2>&1 || { echo "No Docker engine answers here. Start one, or see how far the" \
		"Dockerfile goes without: .venv/bin/python bench/image.py" >&2; exit 1; }
	@docker build --tag backtalk .
	@docker image inspect backtalk --format 'backtalk: {{.Size}} bytes'

soak: installed-test
	@$(BIN)/python bench/kill.py
	@$(BIN)/python bench/visitors.py --parts soak

installed-app installed-test: installed-%:
	@python=$$(scripts/find-python) && "$$python" -m scripts.install $*
