"""The computer that trains or predicts: this one, or one that ssh reaches."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from psygnal import Signal

from napari_unet.core.remote_messages import RemoteRun
from napari_unet.io.ssh import parted

# Most names that are listed of ssh's configuration.
_MOST = 20


class ComputePlace:
    """The chosen computer; empty for this one.

    `where` is as for ssh, with the program's path behind a colon if it is needed;
    `queue` a job queue of that computer, such as slurm, empty for none.
    """

    changed = Signal()

    def __init__(self) -> None:
        self.where = self.queue = ""

    def choose(self, where: str, queue: str = "") -> None:
        """Choose a computer; ValueError if the name is not valid."""
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

    def new_run(self) -> RemoteRun | None:
        """Return the record of a run there; None for this computer."""
        if not self.where:
            return None
        return RemoteRun(where=self.where, job=uuid4().hex, queue=self.queue)


def known_hosts(config: Path | None = None) -> list[str]:
    """Return the hosts in the person's ssh configuration, in its order."""
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
