"""Virtual environments of peers, made once and kept, and how peers run in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.accuracy.peers.hand_over import ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.accuracy.peers.catalogue import Peer
    from benchmarks.accuracy.peers.hand_over import Given

CORES = 2
# What was installed, in a folder of an environment that is complete.
_INSTALLED = "installed.txt"
# The root of the repository, from where a peer finds its module.
_ROOT = Path(__file__).resolve().parents[3]
# A peer that hangs is ended: besides its budget it needs time to end and to predict.
_SPARE_SECONDS = 3600.0
_LOG = "log.txt"


def python_of(peer: Peer, folder: Path) -> Path:
    """Return the Python that runs a peer; make its environment if it is not there.

    Parameters
    ----------
    peer : Peer
    folder : Path
        Of all environments.

    Raises
    ------
    RuntimeError
        It cannot be installed, with the last that pip says.
    """
    if not peer.requirements:
        return Path(sys.executable)
    place = folder / peer.name
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = "\n".join(peer.requirements) + "\n"
    note = place / _INSTALLED
    if note.exists() and note.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {', '.join(peer.requirements)} into {place}", flush=True)
    _call([sys.executable, "-m", "venv", "--clear", str(place)])
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install"]
    _call([*pip, "--quiet", *peer.requirements])
    note.write_text(wanted, encoding="utf-8")
    return python


def run_peer(peer: Peer, python: Path, given: Given) -> None:
    """Let a peer learn and predict; what it writes is in the folder it is given.

    Raises
    ------
    RuntimeError
        It failed, with the last line that it wrote, or did not end.
    """
    folder = Path(given.output)
    # not resolved: the link of an environment to its Python is what makes it one
    command = [str(python.absolute()), "-m", _module(peer), str(given.write(folder))]
    _run(command, folder / _LOG, 60 * given.minutes + _SPARE_SECONDS)


def own_command(peer: Peer, folder: Path) -> str:
    """Return how a peer is run by its own Python."""
    return f"python -m {_module(peer)} {folder / ARGUMENTS}"


def _module(peer: Peer) -> str:
    return f"benchmarks.accuracy.peers.run_{peer.name}"


def _run(command: Sequence[str], log: Path, seconds: float) -> None:
    """Run by two threads, with nothing of ours in the way."""
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(CORES)
    )
    environment = {**os.environ, **threads, "PYTHONNOUSERSITE": "1"}
    environment.pop("PYTHONPATH", None)
    with log.open("w", encoding="utf-8") as told:
        try:
            done = subprocess.run(
                command,
                stdout=told,
                stderr=subprocess.STDOUT,
                cwd=_ROOT,
                env=environment,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"did not end within {seconds:.0f} s.") from error
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1] if lines else "it said nothing"
        raise RuntimeError(f"ended with status {done.returncode}: {last}")


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise RuntimeError(f"cannot be installed: {lines[-1]}")
