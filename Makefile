# The two commands are `make demo` and `make test`. Each makes what it needs in .venv, once; a second run starts at once.
#
#   make demo-simulated  the simulated day of a larger center, without PJSIP: what make demo shows where that can't be compiled
#   make media      the production build of the media layer (PJSIP, four minutes), for real calls
#   make test-media its tests, with sipp at the other end
#   make interop    the same flows with baresip, Kamailio, Asterisk and a web phone
#   make lint       ruff and mypy, part of `make test`
#   make bench      every benchmark once, quickly
#   make sanitize   our C and Cython built with ASan and UBSan, tests and hostile peers run over them
#   make fuzz       the parsers for a minute, steered by atheris where it installs
#   make dist       wheel and sdist in dist/
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest
CORE := $(wildcard src/_core/*.pyx src/_core/*.pxd src/_core/*.h)

.PHONY: demo demo-simulated test media test-media interop lint build bench sanitize fuzz dist clean
.DELETE_ON_ERROR:

# Over real SIP and RTP: compiles PJSIP the first time (minutes). DEMO="--lang zh" says it in Chinese.
demo: $(VENV)/.built $(VENV)/.served
	@ls bindings/pjsip/sip.*.so >/dev/null 2>&1 || \
		echo "This first time PJSIP is compiled: about four minutes on two cores. make demo-simulated needs none of it."
	@.ci/debian espeak-ng
	@if $(MAKE) --no-print-directory media; then \
		rm -rf build/demo && PATH="$(CURDIR)/build/debian/bin:$$PATH" $(BIN)/cordboard demo --sip --keep build/demo $(DEMO); \
	else \
		echo "PJSIP can't be compiled here, see above: this is a simulated day"; \
		$(BIN)/cordboard demo $(DEMO); \
	fi

demo-simulated: $(VENV)/.built
	$(BIN)/cordboard demo $(DEMO)

test: lint
	$(PYTEST) -n $(JOBS) --dist loadgroup --timeout 900 tests

lint: $(VENV)/.built $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/python setup.py -q --name >/dev/null  # links new files into build/tree, where mypy looks
	$(BIN)/mypy

media: $(VENV)/.built
	PYTHON=$(BIN)/python bindings/pjsip/make/build.sh $(PJSIP)

test-media: media $(VENV)/.tools
	.ci/sipp
	$(PYTEST) -n $(JOBS) --timeout 300 $(shell grep -l "production build is missing" tests/test_*.py)

interop: media $(VENV)/.tools
	.ci/sipp
	.ci/interop
	.ci/asterisk
	$(BIN)/python -m pip install -q aiortc==1.16.0 websockets==17.4 || echo "aiortc has no build for this Python: the web phone's flows skip"
	$(PYTEST) -n 0 --timeout 120 tests/interop/*flows.py

build: $(VENV)/.built

bench: $(VENV)/.built $(VENV)/.tools
	$(PYTEST) -o addopts= -q -p no:xdist --benchmark-enable --benchmark-min-rounds=3 --benchmark-max-time=0.3 \
		--benchmark-columns=min,median,rounds benchmarks

sanitize: $(VENV)/.built $(VENV)/.tools
	PYTHON=$(BIN)/python .ci/sanitize
	PYTHON=$(BIN)/python .ci/sanitize-media

fuzz: $(VENV)/.built $(VENV)/.tools
	@$(BIN)/python -m pip install -q "atheris==3.0.0" || echo "atheris has no build for this Python: fuzzing at random"
	$(BIN)/python -m tests.fuzz.parsers --seconds 60

dist: $(VENV)/.tools
	rm -rf dist && $(BIN)/python -m build --no-isolation --outdir dist .

clean:
	rm -rf build dist src/*.egg-info src/_core/*.so $(VENV)

$(VENV)/.made: requirements-build.txt
	VENV=$(VENV) .ci/setup
	touch $@

$(VENV)/.built: $(VENV)/.made setup.py pyproject.toml $(CORE)
	$(BIN)/python -m pip install -q --no-build-isolation --no-deps --editable .
	touch $@

$(VENV)/.served: $(VENV)/.made requirements-serve.txt
	$(BIN)/python -m pip install -q -r requirements-serve.txt
	touch $@

$(VENV)/.tools: $(VENV)/.made requirements-test.txt requirements-serve.txt
	.ci/postgres
	.ci/node
	.ci/debian
	$(BIN)/python -m pip install -q -r requirements-test.txt
	touch $@
