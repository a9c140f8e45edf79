"""The worker as a process among others: its priority, its memory, its status."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import psutil

from napari_unet.core.messages import Status

if TYPE_CHECKING:
    from napari_unet.engine.worker.channel import Channel
    from napari_unet.engine.worker.inbox import JobInbox

_SECONDS = 1.0
# Steps of the scheduler below napari. What people wait for goes before training.
NETWORK_NICE, CPU_NICE = 10, 5
# Of 1000: high enough that the kernel takes the worker and not napari.
_OOM_SCORE = "500"
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def lower_priority(steps: int) -> None:
    """Let napari and other programs go first."""
    if sys.platform == "win32":
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        with suppress(OSError):
            os.nice(steps)


def offer_for_ending() -> None:
    """Have the system end this process first where memory runs out, not napari."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def memory_in_use() -> tuple[int, int]:
    """Return the memory of this process, and that of the machine or container."""
    total = int(psutil.virtual_memory().total)
    with suppress(OSError, ValueError):
        total = min(total, int(_CGROUP_LIMIT.read_text(encoding="ascii")))
    return int(psutil.Process().memory_info().rss), total


class Reporter:
    """Sends the status every second, and notices when napari is gone.

    Parameters
    ----------
    networks : bool
        Whether to report the device that networks compute on; torch must be loaded.
    """

    def __init__(self, channel: Channel, inbox: JobInbox, *, networks: bool) -> None:
        self._channel = channel
        self._desk = inbox
        self._networks = networks

    def start(self) -> None:
        """Begin to report."""
        Thread(target=self._report, daemon=True).start()

    def _report(self) -> None:
        # the connection tells this too, unless a child of napari holds it open
        while not self._desk.closing:
            if self._is_orphan():
                self._desk.abandon()
                return
            self._channel.send(self._status())
            self._desk.sleep(_SECONDS)

    def _is_orphan(self) -> bool:
        if sys.platform == "win32":
            return not psutil.pid_exists(self._channel.parent)
        return os.getppid() != self._channel.parent

    def _status(self) -> Status:
        if self._networks:
            from napari_unet.engine.worker.device_status import device_status

            return device_status()
        return Status(0, "cpu", "", *memory_in_use())
