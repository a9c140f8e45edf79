"""The option that names a cluster for predictions, such as `slurm:2-8`.

It is parsed without any package of clusters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from napari_unet.core.text import lacking

QUEUES = ("slurm", "pbs", "sge", "lsf", "oar", "htcondor")
WORDS = (
    "local[:N][,threads=T]",
    "cuda[:N]",
    "tcp://HOST:PORT",
    "tls://HOST:PORT",
    "file:PATH",
    f"{'|'.join(QUEUES)}[:MIN-MAX]",
    "srun",
    "python:MODULE:FUNCTION",
)
HELP = f"one of {', '.join(WORDS)}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The requested workers."""

    # "local", "cuda", "scheduler", "file", "srun", "python", or one of `QUEUES`
    kind: str
    # fewest and most workers; None for the default of the kind
    workers: tuple[int, int] | None = None
    threads: int = 1  # of each local worker
    # where the scheduler is, or the file that says so; MODULE:FUNCTION for "python"
    place: str = ""


def parse_cluster(text: str) -> Cluster:
    """Parse the name of a cluster.

    Raises
    ------
    ValueError
        It is not one of `WORDS`.
    """
    if re.fullmatch(r"(tcp|tls|ucx|ws|wss|inproc)://\S+", text):
        return Cluster("scheduler", place=text)
    if (named := re.fullmatch(r"file:(.+)", text)) is not None:
        return Cluster("file", place=named[1])
    if (named := re.fullmatch(r"python:([\w.]+:\w+)", text)) is not None:
        return Cluster("python", place=named[1])
    if text == "srun":
        return Cluster("srun")
    pattern = (
        rf"(local|cuda|{'|'.join(QUEUES)})(?::(\d+)(?:-(\d+))?)?(?:,threads=(\d+))?"
    )
    found = re.fullmatch(pattern, text)
    if found is not None:
        kind, fewest, most, threads = found.groups()
        here = kind in {"local", "cuda"}
        workers = (int(fewest), int(most or fewest)) if fewest else None
        fits = not (here and most) and (kind == "local" or threads is None)
        counts = [*(workers or ()), *([int(threads)] if threads else [])]
        if fits and all(counts) and (workers is None or workers[0] <= workers[1]):
            return Cluster(kind, workers, int(threads or 1))
    raise ValueError(f"a cluster is {HELP}; found {text!r}.")


def missing_package(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return an error about a package of clusters as one sentence with what to do."""
    return lacking("a cluster needs", error.name, "cluster")
