# `make bench` and `make test` are all a newcomer needs; CONTRIBUTING.md explains the rest.
PYTHON ?= python3
VENV ?= .venv
BASE ?= .venv-base
TOOLS ?= .venv-tools
# Bytecode is written when a module is first imported, and most never are: so also where the environment forbids it,
# as some containers do. Without it each of a thousand processes compiles what it imports: 7 s of processor time.
export PYTHONDONTWRITEBYTECODE =
INSTALL = bin/pip --quiet --disable-pip-version-check install --no-compile -c constraints.txt
RUN = $(VENV)/bin

.PHONY: audit bench sbom test collected lint proto benchmarks soak soak-drills soak-fuzz soak-kills soak-properties soak-replicas soak-ruler clean

bench: $(VENV)/.installed
	$(RUN)/shotclock bench --quick $(ARGS)

# Three files at a time on two cores, since tests also wait; all in one run, so that others compute meanwhile.
test:
	$(MAKE) --no-print-directory -j2 lint collected $(BASE)/.installed
	$(RUN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Imports every test once, beside the above: three workers would each compile what they find without bytecode.
collected: $(VENV)/.developed
	@found=$$($(RUN)/python -m pytest --collect-only -qq 2>&1) || { echo "$$found"; exit 1; }

lint: $(VENV)/.developed
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

# Regenerates the wire's messages; tests/unit/test_proto.py fails where this was forgotten.
proto: $(VENV)/.developed
	$(RUN)/python -m grpc_tools.protoc -Ishotclock/wire/v1=proto/shotclock/v1 --python_out=src --pyi_out=src \
		shotclock/wire/v1/shotclock.proto

benchmarks: $(VENV)/.developed
	$(VENV)/$(INSTALL) -e '.[dev,benchmarks]'
	$(RUN)/python benchmarks/write_page.py docs/benchmarks.md $(ARGS)

# Advisories on the pinned dependencies; fails where the service does not answer. Both tools have a separate environment.
audit: $(TOOLS)/.installed
	@PATH="$(TOOLS)/bin:$$PATH" $(TOOLS)/bin/python .ci/audit.py $(ARGS)

# What the base install consists of, in CycloneDX's format, validated against its schema.
sbom: $(TOOLS)/.installed $(BASE)/.installed
	$(TOOLS)/bin/python .ci/sbom.py $(BASE)/bin/python $(TOOLS)/bin/cyclonedx-py dist/sbom.json

# The default run, three workloads on three devices, load; emulated waits are accounted, not slept through.
soak: $(VENV)/.developed
	$(RUN)/python benchmarks/soak_bench.py --page docs/full-run.md $(ARGS)

# The real service killed 200 times under load, three ways; certificates rotated 200 times; 40 minutes.
soak-kills: $(VENV)/.developed
	$(RUN)/python benchmarks/soak_orchestrator.py --page docs/soak-kills.md $(ARGS)

# Three orchestrators on one PostgreSQL ledger: 200 killed, 20 stopped, 20 cut off, 20 restarts of the server.
soak-replicas: $(VENV)/.developed
	$(RUN)/python benchmarks/soak_replicas.py --page docs/soak-replicas.md $(ARGS)

# Every incident rehearsed on a real stack; half an hour; needs prometheus and prometheus-alertmanager.
soak-drills: $(VENV)/.developed
	$(RUN)/python benchmarks/soak_drills.py --page docs/soak-drills.md $(ARGS)

# New examples, a thousand a property, where CI draws the same hundred each time.
soak-properties: $(VENV)/.developed
	$(RUN)/python -m pytest -n 2 --hypothesis-profile=explore $$(grep -lr "^from hypothesis" tests/unit tests/contract)

# Everything that reads bytes from elsewhere, under libFuzzer; goes on from .fuzz; four hours by default.
soak-fuzz: $(VENV)/.developed
	$(VENV)/$(INSTALL) -e '.[dev,fuzz]'
	$(RUN)/python tests/soak_fuzz.py --page docs/soak-fuzz.md $(ARGS)

# The gate on real runs: equals, and planted delays, in turns; a quarter of an hour on an idle machine.
soak-ruler: $(VENV)/.developed
	$(RUN)/python benchmarks/soak_ruler.py --page docs/soak-ruler.md $(ARGS)

# torch comes first and alone: asked for by a range, pip would take the newest build with its GPU libraries.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "making the environment in $(VENV) (about two minutes, once)"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/$(INSTALL) torch
	$(VENV)/$(INSTALL) -e .
	@touch $@

# What a user has who asked for no extra; the docs' examples are tested in it.
$(BASE)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BASE)
	$(BASE)/$(INSTALL) torch
	$(BASE)/$(INSTALL) -e .
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	$(VENV)/$(INSTALL) -e '.[dev]'
	@touch $@

$(TOOLS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/$(INSTALL) 'cyclonedx-bom>=7.5' 'pip-audit>=2.10'
	@touch $@

clean:
	rm -rf $(VENV) $(BASE) $(TOOLS) build dist
