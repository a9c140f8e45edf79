# `make demo` and `make test` do all of their set-up on a fresh Debian or Ubuntu machine.
# Tests that open a window do so on a screen in memory (Xvfb).

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
SCREEN := xvfb-run --auto-servernum --server-args="-screen 0 1366x768x24"
# What Qt and OpenGL need where there is no screen and no graphics card.
SCREEN_PACKAGES := xvfb xauth libgl1 libegl1 libglx-mesa0 libgl1-mesa-dri \
  libxkbcommon-x11-0 libdbus-1-3 libxcb-cursor0 libxcb-icccm4 libxcb-image0 \
  libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0

.PHONY: demo test test-busy lint benchmark speed interaction reliability screenshots \
  size clean

demo: $(VENV)/.demo
	$(BIN)/napari-unet demo --output demo-output

# Two processes of one thread each: numba would otherwise raise torch's threads, too.
test: $(VENV)/.test $(VENV)/.screen
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen \
	  $(BIN)/python -m pytest -m "not viewer" -n 2 --dist loadfile
	$(SCREEN) $(BIN)/python -m pytest -m viewer

# The same beside four busy loops: no test may depend on speed.
test-busy: $(VENV)/.test $(VENV)/.screen
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen \
	  $(BIN)/python tests/busy.py $(BIN)/python -m pytest -m "not viewer" -n 2 --dist loadfile
	$(BIN)/python tests/busy.py $(SCREEN) $(BIN)/python -m pytest -m viewer

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

clean:
	rm -rf $(VENV) demo-output benchmark-output

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

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --constraint constraints.txt --editable '.[test,lint]'
	touch $@ $(VENV)/.demo
