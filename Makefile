# `make demo` and `make test` do all set-up by themselves.
.DEFAULT_GOAL := help
PY := .venv/bin/python
WORKERS ?= 2
# What is loaded again and again is compiled once.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test test-all check fix bench soak image lock schemas manifests clients clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 12

setup: ## make .venv with the locked dependencies
	@scripts/bootstrap dev

demo: ## see the main job work: real proxy, real TLS, real client
	@scripts/bootstrap runtime
	@$(PY) -m proxy demo

# By file, because the tests of many a module share a sidecar, and go from state to state in their order.
test: setup ## every test but the long ones
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-all: setup ## every test
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile

check: setup ## lint, types, import rule
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/hadolint Dockerfile

fix: setup ## format and apply safe lint fixes
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format --quiet .

bench: setup ## measure against no proxy and plain mitmdump
	@$(PY) bench/run.py

soak: setup ## 200 clients of all kinds for 10 minutes; SOAK="--minutes 1 --clients 50" for less
	@$(PY) bench/soak.py $(SOAK)

image: ## build the container image; BASE=IMAGE@DIGEST, LOCAL_BASE=1 where no image registry is reached
	@scripts/image $(if $(BASE),--base $(BASE)) $(if $(LOCAL_BASE),--local-base) $(if $(TAG),--tag $(TAG))

schemas: setup ## regenerate docs/schema from the code
	@$(PY) scripts/generate_schemas.py

manifests: setup ## regenerate deploy/kubernetes from the Helm chart
	@$(PY) scripts/generate_manifests.py

clients: setup ## measure every client on this machine and rewrite docs/clients.md
	@$(PY) scripts/clients.py

lock: setup ## resolve requirements/*.txt again, with hashes
	@scripts/lock

clean: ## remove what the other targets made
	@rm -rf .venv .mypy_cache .ruff_cache .hypothesis .import_linter_cache node_modules dist
	@find tests -name node_modules -prune -exec rm -rf {} +
