"""Where networks are trained: on this computer, or on one that ssh reaches."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from psygnal import Signal

from napari_unet.core.far_messages import FarRun
from napari_unet.io.ssh import parted

# Of the names in ssh's configuration.
_MOST = 20


class ComputePlace:
    """What is chosen; empty for this computer.

    Attributes
    ----------
    where : str
        As for ssh, with the program's path behind a colon if it is needed.
    queue : str
        Queue of that computer to go through, such as slurm; empty for none.
    """

    changed = Signal()

    def __init__(self) -> None:
        self.where = self.queue = ""

    def choose(self, where: str, queue: str = "") -> None:
        """Choose a computer; a ValueError says that it is none."""
        where, queue = where.strip(), queue.strip()
        if where:
            parted(where)
        if queue and queue.split()[0] != "slurm":
            raise ValueError(
                f"the queue is slurm, with options of sbatch; found {queue}."
            )
        if (where, queue) != (self.where, self.queue):
            self.where, self.queue = where, queue
            self.changed.emit()

    def new_run(self) -> FarRun | None:
        """Return what is to be written down of a run; None for this computer."""
        if not self.where:
            return None
        return FarRun(where=self.where, job=uuid4().hex, queue=self.queue)


def known_hosts(config: Path | None = None) -> list[str]:
    """Return the computers that the person's ssh has names for, in their order."""
    path = config or Path.home() / ".ssh" / "config"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found: dict[str, None] = {}
    for line in lines:
        word, _, rest = line.strip().replace("=", " ").partition(" ")
        if word.lower() == "host":
            names = (name for name in rest.split() if not set(name) & set("*?!"))
            found.update(dict.fromkeys(names))
    return list(found)[:_MOST]
