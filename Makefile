# `make demo` and `make test` do all of their set-up on a fresh Debian or Ubuntu machine.
# Tests that open a window do so on a screen in memory (Xvfb).

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# What was compiled once is kept, wherever Python is told otherwise: the tests start it
# hundreds of times.
export PYTHONDONTWRITEBYTECODE :=
DISTRIBUTION := $(shell sed -n 's/^DISTRIBUTION = "\(.*\)"/\1/p' src/napari_unet/__init__.py)
GITHUB := $(shell sed -n 's|^Source = "https://github.com/\(.*\)"|\1|p' pyproject.toml)
PAGES := $(subst /,.github.io/,$(GITHUB))
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
SCREEN := xvfb-run --auto-servernum --server-args="-screen 0 1366x768x24"
# What Qt and OpenGL need where there is no screen and no graphics card.
SCREEN_PACKAGES := xvfb xauth libgl1 libegl1 libglx-mesa0 libgl1-mesa-dri \
  libxkbcommon-x11-0 libdbus-1-3 libxcb-cursor0 libxcb-icccm4 libxcb-image0 \
  libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0

.PHONY: demo test test-busy lint benchmark speed interaction reliability screenshots \
  size weight wheel docs docs-whole docs-links rename address clean

demo: $(VENV)/.demo
	$(BIN)/napari-unet demo --output demo-output

# Two processes of one thread each: numba would otherwise raise torch's threads, too.
test: $(VENV)/.test $(VENV)/.screen
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen \
	  $(BUSY) $(BIN)/python -m pytest -m "not viewer" -n 2 --dist worksteal
	$(BUSY) $(SCREEN) $(BIN)/python -m pytest -m viewer

# The same beside four busy loops: no test may depend on speed.
test-busy: BUSY = $(BIN)/python tests/busy.py
test-busy: test

lint: $(VENV)/.test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmark: $(VENV)/.test
	$(BIN)/python -m benchmarks.accuracy

speed: $(VENV)/.test
	$(BIN)/pip install --constraint constraints.txt --editable '.[benchmark]'
	$(BIN)/python -m benchmarks.speed

interaction: $(VENV)/.test $(VENV)/.screen
	$(SCREEN) $(BIN)/python -m benchmarks.interaction

# As root, who may mount the small disks of its part disk; no window is opened.
reliability: $(VENV)/.test
	$(SUDO) $(BIN)/python -m benchmarks.reliability

screenshots: $(VENV)/.test $(VENV)/.screen
	$(SCREEN) $(BIN)/python -m benchmarks.interaction.screenshots

# Lines, circles of imports, what repeats, how long functions are.
size: | $(BIN)/python
	$(BIN)/python -m benchmarks.size

# Size and time of an installation in an environment of its own, and imports in it.
weight: | $(BIN)/python
	$(BIN)/python -m benchmarks.weight

# Wheel and sdist into dist/; the wheel, installed where nothing else is, passes the tests.
wheel: $(VENV)/.screen
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
	  $(SCREEN) $(PYTHON) .ci/wheel.py --constraint constraints.txt -- -n 2 --dist worksteal

# The pages into build/docs; any warning fails.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

# Pictures of the docks anew, and all tutorials with their own images and budgets.
docs-whole: $(VENV)/.docs $(VENV)/.screen screenshots docs
	NAPARI_UNET_WHOLE_TUTORIALS=1 $(BIN)/python -m pytest tests/test_docs.py

# Addresses of the outside world, for who is online.
docs-links: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -b linkcheck docs build/links

# make rename NAME=another-name: what the package is called on PyPI, everywhere.
rename:
	@[ -n "$(NAME)" ] || { echo "make rename NAME=another-name"; exit 1; }
	git grep -lz "$(DISTRIBUTION)" | xargs -0 sed -i 's/$(DISTRIBUTION)/$(NAME)/g; s/$(subst -,_,$(DISTRIBUTION))/$(subst -,_,$(NAME))/g'

# make address REPOSITORY=owner/name: where the repository is on GitHub, everywhere.
address:
	@echo "$(REPOSITORY)" | grep -qE '^[[:alnum:]-]+/[[:alnum:]._-]+$$' || { \
	  echo "make address REPOSITORY=owner/name"; exit 1; }
	git grep -lzE "$(GITHUB)|$(PAGES)" -- ':!*.md' | xargs -0 sed -i -E \
	  's#(github|githubusercontent)\.com/$(GITHUB)#\1.com/$(REPOSITORY)#g; s#$(PAGES)#$(subst /,.github.io/,$(REPOSITORY))#g'

clean:
	rm -rf $(VENV) demo-output benchmark-output build dist

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  $(SUDO) apt-get update && $(SUDO) apt-get install -y python3 python3-venv; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, or name it: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  $(SUDO) apt-get update && $(SUDO) apt-get install -y python3-venv; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.screen: | $(BIN)/python
	@if ! command -v xvfb-run >/dev/null || ! ldconfig -p | grep -q libxcb-cursor; then \
	  $(SUDO) apt-get update && \
	  $(SUDO) apt-get install -y --no-install-recommends $(SCREEN_PACKAGES); fi
	touch $@

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --constraint constraints.txt --editable .
	touch $@

$(VENV)/.docs: $(VENV)/.test
	$(BIN)/pip install --constraint constraints.txt --editable '.[test,lint,docs]'
	touch $@

# The package was called napari-unet once: both names would claim the same files.
$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip uninstall --quiet --yes napari-unet
	$(BIN)/pip install --constraint constraints.txt --editable '.[test,lint]'
	touch $@ $(VENV)/.demo
