"""How large an installation is and how long it takes: `make weight`.

The package is installed into an environment of its own, as a person does it; packages
that pip has in its cache are not fetched again: their time is that of unpacking.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]
# Smaller ones are summed up.
_SHOWN_MB = 15.0


def main() -> None:
    """Install and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.weight")
    parser.add_argument("--extra", default="", help="extras to install, such as all")
    parser.add_argument("pip", nargs="*", help="more for pip, such as a torch")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = environment(Path(folder))
        bare = sum(sizes(python).values())
        if options.pip:
            install(python, *options.pip)
        extra = f"[{options.extra}]" if options.extra else ""
        seconds = install(python, f"{ROOT}{extra}")
        table = sizes(python)
        begins = start_seconds(python)
    print(f"| {'package':28} |    MB |\n|{'-' * 30}|------:|")
    for name, size in sorted(table.items(), key=lambda row: -row[1]):
        if size >= _SHOWN_MB:
            print(f"| {name:28} | {size:5.0f} |")
    rest = [size for size in table.values() if size < _SHOWN_MB]
    print(f"| {f'{len(rest)} smaller ones':28} | {sum(rest):5.0f} |")
    print(f"\n{len(table)} packages, {sum(table.values()) - bare:.0f} MB.")
    print(f"Installed in {seconds:.0f} s; `napari-unet --help` takes {begins:.2f} s.")


def environment(folder: Path) -> str:
    """Make an empty virtual environment and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def install(python: str, *what: str) -> float:
    """Install by pip; return the seconds."""
    began = perf_counter()
    command = [python, "-m", "pip", "install", "--quiet", *what]
    subprocess.run(command, check=True)
    return perf_counter() - began


def sizes(python: str) -> dict[str, float]:
    """Return the size of each package's files in an environment, in MB."""
    code = (
        "from importlib.metadata import distributions\n"
        "for d in distributions():\n"
        "    files = (f.locate() for f in d.files or ())\n"
        "    print(d.name, sum(f.stat().st_size for f in files if f.is_file()))\n"
    )
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True
    )
    rows = (line.split() for line in done.stdout.splitlines())
    return {name: int(size) / 1e6 for name, size in rows}


def start_seconds(python: str) -> float:
    """Return how long the command line takes to say what it can; the best of three."""
    command = [python, "-m", "napari_unet.cli.main", "--help"]
    seconds = []
    for _ in range(3):
        began = perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
