"""Virtual environments of peers, made once and kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.accuracy.peers.catalogue import Peer

# What was installed, in a folder of an environment that is complete.
_INSTALLED = "installed.txt"


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


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise RuntimeError(f"cannot be installed: {lines[-1]}")
