#!/usr/bin/env python3
"""Build wheel and sdist, install the wheel where nothing else is, and test it.

    python .ci/wheel.py [--python PYTHON] [--constraint FILE] [--lowest]
                        [--with REQUIREMENT ...] [-- options of pytest]

Nothing is needed but Python, with venv, and the packages' registry. The folder `dist/`
holds what was built.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Build, install, test."""
    options = parsed()
    with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
        work = Path(folder)
        wheel, sdist = build(work)
        python = environment(options.python, work / "bare")
        install(python, wheel, options)
        run(python, "-c", "import napari_unet; print(napari_unet.__file__)", cwd=work)
        run(python, "-m", "napari_unet.cli.main", "info", cwd=work)
        if options.pytest != ["none"]:
            with tarfile.open(sdist) as archive:
                archive.extractall(work / "sdist", filter="data")
            (source,) = (work / "sdist").iterdir()
            test(python, source, options.pytest)


def parsed() -> argparse.Namespace:
    """Return the options; what follows `--` is pytest's, `none` runs no test."""
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--constraint", type=Path)
    parser.add_argument("--lowest", action="store_true", help="lowest versions allowed")
    parser.add_argument("--extra", default="test", help="extras of the wheel")
    parser.add_argument("--with", dest="others", nargs="+", default=[], metavar="X")
    options = parser.parse_args(given[:cut])
    options.pytest = given[cut + 1 :]
    return options


def build(work: Path) -> tuple[Path, Path]:
    """Build both in an environment of their own and check what PyPI will show."""
    python = environment(sys.executable, work / "build")
    run(python, "-m", "pip", "install", "--quiet", "build", "twine")
    output = ROOT / "dist"
    shutil.rmtree(output, ignore_errors=True)
    run(python, "-m", "build", "--outdir", str(output), str(ROOT))
    wheel, sdist = next(output.glob("*.whl")), next(output.glob("*.tar.gz"))
    run(python, "-m", "twine", "check", "--strict", str(wheel), str(sdist))
    return wheel, sdist


def environment(python: str, folder: Path) -> str:
    """Make a virtual environment and return its Python."""
    run(python, "-m", "venv", str(folder))
    windows = os.name == "nt"
    return str(folder / ("Scripts/python.exe" if windows else "bin/python"))


def install(python: str, wheel: Path, options: argparse.Namespace) -> None:
    """Install the wheel as a person would, or with the lowest versions by uv."""
    what = [f"{wheel}[{options.extra}]", *options.others]
    if options.constraint:
        what += ["--constraint", str(options.constraint.resolve())]
    if options.lowest:
        run(python, "-m", "pip", "install", "--quiet", "uv")
        uv = ("-m", "uv", "pip", "install", "--python", python)
        run(python, *uv, "--resolution", "lowest-direct", *what)
    else:
        # nothing of a person's computer has to be built
        run(python, "-m", "pip", "install", "--prefer-binary", *what)


def test(python: str, source: Path, options: list[str]) -> None:
    """Run the tests as `make test` does; options with `-m` choose some of them."""
    if "-m" in options:
        run(python, "-m", "pytest", *options, cwd=source)
        return
    # Without a window manager a window on the screen may have no keyboard.
    memory = {"QT_QPA_PLATFORM": "offscreen"} if sys.platform == "linux" else {}
    others = ("-m", "pytest", "-m", "not viewer", *options)
    run(python, *others, cwd=source, environment=memory)
    run(python, "-m", "pytest", "-m", "viewer", cwd=source)


def run(
    *command: str, cwd: Path = ROOT, environment: dict[str, str] | None = None
) -> None:
    """Run a command; its failure ends everything."""
    print("+", *command, flush=True)
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(command, cwd=cwd, env=clean | (environment or {}), check=True)


if __name__ == "__main__":
    main()
